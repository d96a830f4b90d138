"""Dispersion: how widely features of different sentences spread, by three statistics linear in N.

They can disagree: a common offset leaves the variance alone but lowers the relative variance and
raises the cosine. Whoever prints one names which. Source of the idea: Long, Cao and Cheung, arXiv
1911.03976.
"""

from typing import NamedTuple

import torch
from torch import Tensor


def total_variance(features: Tensor) -> Tensor:
    """tr Cov of features (N, H), the covariance divided by N: sum_j Var(f_j).

    The mean squared distance between two different rows is 2 N / (N - 1) times this.
    """
    features = _checked(features)
    return (features - features.mean(0)).square().sum() / len(features)


def relative_variance(features: Tensor) -> Tensor:
    """tr Cov / E||f||^2 of features (N, H): scale free, in [0, 1], 1 where the mean is zero."""
    features = _checked(features)
    power = features.square().sum() / len(features)
    if power == 0:
        raise ValueError("relative variance is undefined where every feature is zero.")
    return (features - features.mean(0)).square().sum() / len(features) / power


def mean_pairwise_cosine(features: Tensor) -> Tensor:
    """Mean cosine between two different rows of features (N, H): lower is more dispersed.

    (||sum_i u_i||^2 - N) / (N (N - 1)) with u_i = f_i / ||f_i||, so that no pair is ever formed.
    """
    features = _checked(features)
    norms = features.norm(dim=1, keepdim=True)
    if (norms == 0).any():
        row = int((norms == 0).squeeze(1).nonzero()[0])
        raise ValueError(f"a cosine is undefined for a zero feature (row {row}).")
    count = len(features)
    return ((features / norms).sum(0).square().sum() - count) / (count * (count - 1))


def spectrum(features: Tensor) -> Tensor:
    """Eigenvalues of the covariance (divided by N) of features (N, H), largest first.

    min(N, H) of them; they add up to the total variance.
    """
    features = _checked(features)
    return torch.linalg.svdvals(features - features.mean(0)).square() / len(features)


def participation_ratio(features: Tensor) -> Tensor:
    """(sum of eigenvalues)^2 / sum of their squares, of the covariance of features (N, H).

    How many directions the features spread in: 1 on a line, H where all directions are alike.
    """
    features = _checked(features)
    if (features == features[0]).all():  # whose mean may round, so that the variance is not 0
        raise ValueError("the participation ratio is undefined where all features are equal.")
    centred = features - features.mean(0)
    # tr C and ||C||_F from the smaller of the two products of matrices, without eigenvalues
    product = centred.T @ centred if centred.shape[1] <= len(centred) else centred @ centred.T
    return product.trace().square() / product.square().sum()


class FeatureSums(NamedTuple):
    """Sums over the encoder states of each sentence, from which dispersion follows without them."""

    count: Tensor  # (N,) states
    total: Tensor  # (N, H) sum of f
    squares: Tensor  # (N,) sum of ||f||^2
    directions: Tensor  # (N, H) sum of f / ||f||


def feature_sums(hidden: Tensor, mask: Tensor) -> FeatureSums:
    """Sums over the real states of hidden (B, T, H) under a mask (B, T)."""
    real = mask.bool()
    hidden = hidden.float().masked_fill(~real[..., None], 0.0)
    norms = hidden.norm(dim=-1, keepdim=True)
    directions = (hidden / norms).masked_fill(~real[..., None], 0.0)
    return FeatureSums(
        count=real.sum(1),
        total=hidden.sum(1),
        squares=norms.squeeze(-1).square().sum(1),
        directions=directions.sum(1),
    )


class Dispersion(NamedTuple):
    """The three statistics of one set of features."""

    variance: float
    relative_variance: float
    mean_cosine: float


def dispersion_of_sums(sums: FeatureSums) -> Dispersion:
    """The three statistics over all states of all sentences, each state counting alike.

    Raises:
        ValueError: fewer than 2 states, or a state that is zero and so has no direction.
    """
    count = int(sums.count.sum())
    if count < 2:
        raise ValueError(f"dispersion compares features: it needs 2 or more, got {count}.")
    if not torch.isfinite(sums.directions).all():
        row = int((~torch.isfinite(sums.directions)).nonzero()[0, 0])
        raise ValueError(f"a cosine is undefined for a zero state (sentence {row}).")
    power = float(sums.squares.double().sum()) / count
    mean_power = float((sums.total.double().sum(0) / count).square().sum())
    variance = max(0.0, power - mean_power)  # equal states round to either side of 0
    cosine = float(sums.directions.double().sum(0).square().sum()) - count
    return Dispersion(variance, variance / power, cosine / (count * (count - 1)))


def winning_steps(hidden: Tensor, mask: Tensor, *, by_magnitude: bool = False) -> Tensor:
    """Which token gives each coordinate of max pooling, counted from the first real one: (B, H).

    The first of equals wins.

    Args:
        hidden: encoder states, (B, T, H).
        mask: 1 = counts in pooling, (B, T).
        by_magnitude: of abs_max pooling in place of max pooling.
    """
    real = mask.bool()
    values = hidden.abs() if by_magnitude else hidden
    place = values.masked_fill(~real[..., None], float("-inf")).argmax(dim=1)  # (B, H)
    return place - real.int().argmax(dim=1, keepdim=True)


def winner_counts(steps: Tensor, num_steps: int) -> Tensor:
    """How many coordinates each of P = `num_steps` tokens gives, of `winning_steps`: (B, P)."""
    counts = torch.zeros(len(steps), num_steps, dtype=torch.long, device=steps.device)
    return counts.scatter_add_(1, steps, torch.ones_like(steps))


def _checked(features: Tensor) -> Tensor:
    if features.dim() != 2:
        raise ValueError(f"features must be (N, H), got {tuple(features.shape)}.")
    if len(features) < 2:
        raise ValueError(f"dispersion compares sentences: it needs 2 or more, got {len(features)}.")
    return features.to(torch.float64)
