"""How far latents are used: KL by dimension, mutual information, active units, swap gap."""

import math
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from hf_seqvae.metrics.likelihood import LatentVariableModel, reconstruction_nll
from hf_seqvae.model.posterior import kl_to_standard_normal

# pairs of sentences held at once by `pointwise_mutual_information`: 8 MiB in float64
_PAIRS = 1 << 20


def kl_per_dimension(mean: Tensor, logvar: Tensor) -> Tensor:
    """KL(q(z_j|x) || N(0, 1)) averaged over sentences (N, Z), in nats: (Z,)."""
    return kl_to_standard_normal(mean.double(), logvar.double()).mean(0)


def active_units(mean: Tensor, *, threshold: float = 0.01) -> int:
    """Number of dimensions in which the posterior means (N, Z) have at least `threshold` variance.

    The variance is the unbiased one. Source: Burda, Grosse and Salakhutdinov, arXiv 1509.00519.
    """
    if mean.dim() != 2:
        raise ValueError(f"mean must be (N, Z), got {tuple(mean.shape)}.")
    if len(mean) < 2:
        raise ValueError(f"a variance over sentences needs 2 or more, got {len(mean)}.")
    return int((mean.double().var(0, correction=1) >= threshold).sum())


def mutual_information(mean: Tensor, logvar: Tensor, latents: Tensor) -> Tensor:
    """Mutual information between sentence and latent under q, in nats; at most ln N.

    The mean of `pointwise_mutual_information`, where the arguments are explained.
    """
    return pointwise_mutual_information(mean, logvar, latents).mean()


def pointwise_mutual_information(
    mean: Tensor, logvar: Tensor, latents: Tensor, *, max_pairs: int = _PAIRS
) -> Tensor:
    """log q(z_i|x_i) - log (1/N) sum_j q(z_i|x_j) of each sentence, in nats, float64: (N,).

    The aggregate posterior runs over all N sentences, not over a batch, and both terms are taken at
    the same z, so that no value exceeds ln N and a fully collapsed posterior gives 0 without noise.
    Departure from the usual estimator (He et al., arXiv 1901.05534), which takes the first term in
    closed form.

    Args:
        mean: posterior means, (N, Z).
        logvar: logarithms of the posterior variances, (N, Z).
        latents: samples z_i from q(z|x_i), (N, Z), or (S, N, Z), which are averaged over S.
        max_pairs: pairs (i, j) held at once; the (N, N, Z) differences never are.
    """
    if mean.dim() != 2 or mean.shape != logvar.shape:
        raise ValueError(
            "mean and logvar must both be (N, Z), "
            f"got {tuple(mean.shape)} and {tuple(logvar.shape)}."
        )
    if latents.dim() == 2:
        latents = latents.unsqueeze(0)
    if latents.dim() != 3 or latents.shape[1:] != mean.shape:
        raise ValueError(
            f"latents must be (N, Z) or (S, N, Z) with (N, Z) = {tuple(mean.shape)}, "
            f"got {tuple(latents.shape)}."
        )
    count = len(mean)
    if count < 2:
        raise ValueError(f"mutual information needs 2 or more sentences, got {count}.")
    # moving all by the average mean leaves distances as they are and lets the squares round less
    center = mean.double().mean(0)
    mean, logvar, latents = mean.double() - center, logvar.double(), latents.double() - center
    precision = torch.exp(-logvar)  # (N, Z)
    constant = (precision * mean.square()).sum(1, keepdim=True)  # (N, 1)
    # ||z_i - mean_j||^2 under precision_j, multiplied out, is one product of matrices
    right = torch.cat([precision, -2 * precision * mean, constant], dim=1).T  # (2 Z + 1, N)
    log_volume = logvar.sum(1)  # (N,)

    rows = max(1, max_pairs // count)
    information = torch.zeros_like(log_volume)
    for sample in latents:
        left = torch.cat([sample.square(), sample, torch.ones_like(sample[:, :1])], dim=1)
        for start in range(0, count, rows):
            own = slice(start, start + rows)
            distance = left[own] @ right  # (rows, N)
            log_density = distance.add_(log_volume).mul_(-0.5)  # the constant of 2 pi cancels
            mixture = torch.logsumexp(log_density, dim=1) - math.log(count)
            # pair (i, i) is one and the same number in both terms, which is what holds ln N
            diagonal = log_density[:, own].diagonal()
            information[own] += diagonal - mixture
    return information / len(latents)


def exchange_partners(count: int, *, seed: int) -> Tensor:
    """For each of `count` sentences another one, by shifting a seeded permutation: (count,) int64.

    No sentence is its own partner and each is the partner of exactly one other.
    """
    if count < 2:
        raise ValueError(f"exchanging latents needs 2 or more sentences, got {count}.")
    order = np.random.default_rng(seed).permutation(count)
    partners = np.empty(count, dtype=np.int64)
    partners[order] = np.roll(order, -1)
    return torch.from_numpy(partners)


def swap_gap(
    model: LatentVariableModel,
    batch: Mapping[str, Tensor],
    *,
    exchanged: Tensor,
    own_nll: Tensor,
) -> Tensor:
    """Nats each sentence loses when it is decoded from another sentence's latents: (B,).

    Zero for a decoder that ignores z. No bound on the mutual information: a decoder that trusts z
    is misled by a wrong one, and loses more than z told it.

    Args:
        model: the model.
        batch: the sentences, (B, ...).
        exchanged: latents (S, B, Z) sampled for other sentences (see `exchange_partners`).
        own_nll: the sentences' `reconstruction_nll` at latents of their own, (B,).
    """
    return reconstruction_nll(model, batch, exchanged) - own_nll
