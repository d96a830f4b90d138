"""Checks of dispersion: each statistic against all pairs and the eigenvalues themselves."""

from collections.abc import Iterator

import torch
from torch import Tensor

from hf_seqvae.metrics import (
    dispersion_of_sums,
    feature_sums,
    mean_pairwise_cosine,
    participation_ratio,
    relative_variance,
    spectrum,
    total_variance,
    winning_steps,
)
from hf_seqvae.selfcheck.comparison import Comparison, same


def dispersion(full: bool) -> Iterator[Comparison]:
    """Linear-time statistics against loops over pairs, tokens and coordinates."""
    generator = torch.Generator().manual_seed(0)
    rows = 0.5 + torch.randn(60, 5, generator=generator, dtype=torch.float64)
    expected = _by_pairs(rows)
    for name, statistic in (
        ("total variance", total_variance),
        ("relative variance", relative_variance),
        ("mean pairwise cosine", mean_pairwise_cosine),
    ):
        yield same(name, statistic(rows), expected[name], tolerance=1e-9)
    centred = rows - rows.mean(0)
    values = torch.linalg.eigvalsh(centred.T @ centred / 60)
    ratio = values.sum().square() / values.square().sum()
    yield same("participation ratio", participation_ratio(rows), ratio, tolerance=1e-9)
    # fewer features than coordinates: the smaller product of matrices is another one
    few = rows[:4]
    values = torch.linalg.eigvalsh((few - few.mean(0)).T @ (few - few.mean(0)) / 4)
    ratio = values.sum().square() / values.square().sum()
    yield same("participation ratio, 4 features", participation_ratio(few), ratio, tolerance=1e-9)
    yield same("largest eigenvalue, 4 features", spectrum(few)[0], values[-1], tolerance=1e-9)

    hidden = torch.randn(6, 5, 4, generator=generator)
    lengths = torch.tensor([5, 1, 3, 2, 4, 5])
    mask = torch.arange(5) < lengths[:, None]
    states = torch.cat([hidden[n, :length] for n, length in enumerate(lengths)])
    expected = _by_pairs(states.double())
    found = dispersion_of_sums(feature_sums(hidden, mask))
    for name, estimate in (
        ("total variance", found.variance),
        ("relative variance", found.relative_variance),
        ("mean pairwise cosine", found.mean_cosine),
    ):
        yield same(f"{name}, padded", estimate, expected[name], tolerance=1e-5)
    winners = [
        [max(range(int(length)), key=lambda t, n=n, h=h: float(hidden[n, t, h])) for h in range(4)]
        for n, length in enumerate(lengths)
    ]
    wrong = (winning_steps(hidden, mask) != torch.tensor(winners)).sum()
    yield same("wrong winners of max pooling", wrong, 0)


def _by_pairs(rows: Tensor) -> dict[str, float]:
    """The three statistics of features (N, H) by loops over pairs."""
    count = len(rows)
    squares = cosines = 0.0
    for i in range(count):
        for j in range(count):
            squares += float((rows[i] - rows[j]).square().sum())
            if i != j:
                cosines += float(rows[i] @ rows[j] / (rows[i].norm() * rows[j].norm()))
    variance = squares / (2 * count**2)
    power = sum(float(row @ row) for row in rows) / count
    return {
        "total variance": variance,
        "relative variance": variance / power,
        "mean pairwise cosine": cosines / (count * (count - 1)),
    }
