"""Means over seeds, paired differences over sentences, rank correlations over runs (numpy)."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

RESAMPLES = 10_000
LEVEL = 0.95
MIN_POINTS = 8  # of a rank correlation with an interval: below, the bootstrap's is far too narrow
_AT_ONCE = 100  # resamples: what memory grows with


class Interval(NamedTuple):
    """An estimate with the interval that holds it at `LEVEL`; None where there is none."""

    value: float
    low: float | None
    high: float | None


class Spread(NamedTuple):
    """A mean over n seeds with its standard deviation (n - 1); None for one seed."""

    mean: float
    deviation: float | None
    n: int


def spread(values: Sequence[float]) -> Spread:
    """Mean and standard deviation over seeds, of one value or more."""
    array = np.asarray(values, dtype=np.float64)
    deviation = float(array.std(ddof=1)) if len(array) > 1 else None
    return Spread(float(array.mean()), deviation, len(array))


def paired_difference(
    own: Sequence[np.ndarray],
    baseline: Sequence[np.ndarray],
    *,
    seed: int = 0,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
) -> Interval:
    """Mean over sentences of own less baseline, with its bootstrap interval over sentences.

    Differences are taken sentence by sentence within a seed, averaged over the seeds, and
    sentences are drawn again: the interval is of other sentences, not of other seeds.

    Args:
        own, baseline: nats of each sentence (N,), one array a seed, in the same order of seeds.
        seed: of the resampling.
        level: share of the resamples inside the interval.
        resamples: how many.

    Returns:
        Without an interval where there is one sentence.
    """
    if len(own) != len(baseline) or not own:
        raise ValueError(
            f"seeds are compared in pairs, one or more, got {len(own)} and {len(baseline)}."
        )
    pairs = zip(own, baseline, strict=True)
    differences = np.mean([np.asarray(a) - np.asarray(b) for a, b in pairs], axis=0)
    random, count = np.random.default_rng(seed), len(differences)
    if count == 1:
        return Interval(float(differences[0]), None, None)
    means = [
        differences[random.integers(count, size=(min(_AT_ONCE, resamples - start), count))].mean(1)
        for start in range(0, resamples, _AT_ONCE)
    ]
    low, high = _percentiles(np.concatenate(means), level)
    return Interval(float(differences.mean()), low, high)


def ranks(values: Sequence[float]) -> np.ndarray:
    """Ranks from 1 on, (n,); equal values share the mean of theirs."""
    array = np.asarray(values, dtype=np.float64)
    below = (array[:, None] > array).sum(1)
    equal = (array[:, None] == array).sum(1)
    return below + (equal + 1) / 2


def rank_correlation(x: Sequence[float], y: Sequence[float]) -> float | None:
    """Spearman's rank correlation; None below 4 points, or where one side is constant."""
    if len(x) != len(y):
        raise ValueError(f"a correlation needs pairs, got {len(x)} and {len(y)} values.")
    if len(x) < 4 or len(set(x)) == 1 or len(set(y)) == 1:
        return None
    a, b = ranks(x) - (len(x) + 1) / 2, ranks(y) - (len(y) + 1) / 2
    return float(a @ b / np.sqrt((a @ a) * (b @ b)))


def rank_correlation_interval(
    x: Sequence[float],
    y: Sequence[float],
    *,
    seed: int = 0,
    level: float = LEVEL,
    resamples: int = 1_000,
) -> Interval | None:
    """Spearman's rank correlation with its bootstrap interval over points; None as there.

    Below `MIN_POINTS` points it has no interval: that of four or five independent ones leaves out
    0 far more often than `level` says, and may have no width. Resamples where it is undefined (one
    point drawn again and again) are left out.
    """
    value = rank_correlation(x, y)
    if value is None:
        return None
    if len(x) < MIN_POINTS:
        return Interval(value, None, None)
    random, a, b = np.random.default_rng(seed), np.asarray(x), np.asarray(y)
    drawn = [random.integers(len(a), size=len(a)) for _ in range(resamples)]
    found = [rank_correlation(a[rows].tolist(), b[rows].tolist()) for rows in drawn]
    low, high = _percentiles(np.asarray([one for one in found if one is not None]), level)
    return Interval(value, low, high)


def _percentiles(values: np.ndarray, level: float) -> tuple[float, float]:
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
