"""Dispersion: how widely features of different sentences spread, by three statistics linear in N.

They can disagree: a common offset leaves the variance alone but lowers the relative variance and
raises the cosine. Whoever prints one names which.
"""

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


def _checked(features: Tensor) -> Tensor:
    if features.dim() != 2:
        raise ValueError(f"features must be (N, H), got {tuple(features.shape)}.")
    if len(features) < 2:
        raise ValueError(f"dispersion compares sentences: it needs 2 or more, got {len(features)}.")
    return features.to(torch.float64)
