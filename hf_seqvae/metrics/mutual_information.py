"""Mutual information of sentence and latent under q, against the aggregate of all or of a batch."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

# pairs of sentences held at once: 8 MiB in float64
_PAIRS = 1 << 20


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
    latents = _samples(mean, logvar, latents)
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


def minibatch_mutual_information(
    mean: Tensor, logvar: Tensor, latents: Tensor, *, batch_size: int = 32
) -> Tensor:
    """Mutual information within consecutive batches of N sentences, in nats, per sentence: (N,).

    The same estimator with the aggregate posterior of a batch in place of the whole data set: at
    most ln `batch_size`, which is what He et al. (arXiv 1901.05534) report with 32. Sentences of a
    last batch of one have no other to be told from, and give 0.

    Args:
        mean: posterior means, (N, Z).
        logvar: logarithms of the posterior variances, (N, Z).
        latents: (N, Z) or (S, N, Z).
        batch_size: sentences of a batch, at least 2.
    """
    if batch_size < 2:
        raise ValueError(f"a batch must hold 2 or more sentences, got batch_size={batch_size}.")
    latents = _samples(mean, logvar, latents)
    parts = []
    for start in range(0, len(mean), batch_size):
        rows = slice(start, start + batch_size)
        if len(mean[rows]) == 1:
            parts.append(torch.zeros(1, dtype=torch.float64, device=mean.device))
            continue
        parts.append(pointwise_mutual_information(mean[rows], logvar[rows], latents[:, rows]))
    return torch.cat(parts)


def minibatch_cap(count: int, batch_size: int = 32) -> float:
    """The most that `minibatch_mutual_information` of N sentences can be, in nats.

    ln `batch_size`, or less where the last batch is smaller: the mean of the logarithms of the
    sizes of the sentences' batches.
    """
    whole, rest = divmod(count, batch_size)
    total = whole * batch_size * math.log(batch_size) + (rest * math.log(rest) if rest else 0.0)
    return total / count


def closed_form_mutual_information(
    mean: Tensor, logvar: Tensor, latents: Tensor, *, batches: Sequence[Tensor] | None = None
) -> float:
    """The mean of `pointwise_closed_form_information`, where the arguments are explained."""
    pointwise = pointwise_closed_form_information(mean, logvar, latents, batches=batches)
    return float(pointwise.mean())


def pointwise_closed_form_information(
    mean: Tensor, logvar: Tensor, latents: Tensor, *, batches: Sequence[Tensor] | None = None
) -> Tensor:
    """Mutual information as the literature computes it, in nats, batch after batch: (n,).

    E_q log q(z|x) in closed form, less log q(z) at one sample a sentence: noisy, so that it may
    fall below 0 and exceed its own cap ln N. He et al. (arXiv 1901.05534) take batches and weigh
    them by size, Li et al. (arXiv 1909.00868) and Li et al. (arXiv 2004.04092) the whole set.

    Args:
        mean: posterior means, (N, Z).
        logvar: logarithms of the posterior variances, (N, Z).
        latents: one sample a sentence, (N, Z).
        batches: rows (n,) whose mixture each q(z) is; None for all N.
    """
    latents = _samples(mean, logvar, latents)
    if len(latents) != 1:
        raise ValueError(f"the literature takes one sample a sentence, got {len(latents)}.")
    parts = []
    for rows in [torch.arange(len(mean))] if batches is None else batches:
        mu, lv, z = mean[rows].double(), logvar[rows].double(), latents[0, rows].double()
        # E log q(z|x) less log q(z|x) at the sample, both without the constant of 2 pi
        expected = -0.5 * (1 + lv).sum(1)
        sampled = -0.5 * ((z - mu).square() * torch.exp(-lv) + lv).sum(1)
        information = expected - sampled
        if len(mu) > 1:
            information = information + pointwise_mutual_information(mu, lv, z)
        parts.append(information)
    return torch.cat(parts)


def _samples(mean: Tensor, logvar: Tensor, latents: Tensor) -> Tensor:
    """Latents (N, Z) or (S, N, Z) as (S, N, Z), of posteriors that they fit."""
    if mean.dim() != 2 or mean.shape != logvar.shape or not len(mean):
        raise ValueError(
            "mean and logvar must both be (N, Z) of at least one sentence, "
            f"got {tuple(mean.shape)} and {tuple(logvar.shape)}."
        )
    if latents.dim() == 2:
        latents = latents.unsqueeze(0)
    if latents.dim() != 3 or latents.shape[1:] != mean.shape or not len(latents):
        raise ValueError(
            f"latents must be (N, Z) or (S, N, Z) with (N, Z) = {tuple(mean.shape)}, "
            f"got {tuple(latents.shape)}."
        )
    return latents
