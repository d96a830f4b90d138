"""Likelihood of each sentence in nats: sampled ELBO, importance-weighted NLL, exact NLL."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from hf_seqvae.metrics.noise import RowNoise, sample_with_noise
from hf_seqvae.metrics.protocol import LanguageModel, LatentVariableModel


def reconstruction_nll(
    model: LatentVariableModel, batch: Mapping[str, Tensor], latents: Tensor
) -> Tensor:
    """-log p(x|z) of each sentence in nats, averaged over its S latents (S, B, Z): (B,)."""
    return -model.log_likelihood(batch, latents).mean(0)


def exact_nll(model: LanguageModel, batch: Mapping[str, Tensor]) -> Tensor:
    """-log p(x) of each sentence in nats, EOS included, of a model without latents: (B,)."""
    return -model.log_prob(batch)


def sampled_elbo_terms(
    model: LatentVariableModel,
    batch: Mapping[str, Tensor],
    *,
    noise: Tensor | None = None,
    num_samples: int | None = None,
    generator: torch.Generator | None = None,
) -> tuple[Tensor, Tensor]:
    """The two terms of each sentence's -ELBO in nats: (nll (B,), kl (B,)), -ELBO = nll + kl.

    nll averages -log p(x|z) over S posterior samples; kl is the closed form.

    Args:
        model: the model.
        batch: what `model.posterior` and `model.log_likelihood` read.
        noise: standard normal (S, B, Z), which makes the result deterministic (see `row_noise`).
        num_samples: S where no noise is given; 1 if neither is.
        generator: where the samples come from if no noise is given.
    """
    if noise is not None and (num_samples is not None or generator is not None):
        raise ValueError(
            "noise already fixes the samples: give it without num_samples and generator."
        )
    posterior = model.posterior(batch)
    if noise is not None:
        latents = sample_with_noise(posterior, noise)  # (S, B, Z)
    else:
        latents = posterior.rsample(1 if num_samples is None else num_samples, generator=generator)
    return reconstruction_nll(model, batch, latents), posterior.kl().sum(-1)


@dataclass(frozen=True)
class ImportanceEstimate:
    """The importance-weighted estimate of K samples for each of B sentences.

    Attributes:
        nll: -log (1/K) sum_k w_k in nats, (B,): in expectation an upper bound on -log p(x) that
            falls in K.
        effective_sample_size: (sum w)^2 / sum w^2, 1 to K, (B,). Near 1, one sample decides and the
            bound is loose.
    """

    nll: Tensor
    effective_sample_size: Tensor


class ImportanceSums:
    """Sums of importance weights over the samples seen so far, K of them for each sentence."""

    def __init__(self) -> None:
        self.num_samples = 0
        self._total: Tensor | None = None  # log sum w, (B,)
        self._squares: Tensor | None = None  # log sum w^2, (B,)

    def add(self, log_weights: Tensor) -> None:
        """Adds samples by their log weights (S, B), in nats."""
        log_weights = _wide(log_weights)
        total, squares = log_weights.logsumexp(0), (2 * log_weights).logsumexp(0)
        if self._total is not None and self._squares is not None:
            total = torch.logaddexp(self._total, total)
            squares = torch.logaddexp(self._squares, squares)
        self._total, self._squares = total, squares
        self.num_samples += len(log_weights)

    def estimate(self) -> ImportanceEstimate:
        """The estimate of the samples so far."""
        if self._total is None or self._squares is None:
            raise ValueError("importance weighting needs at least one sample, got none.")
        return ImportanceEstimate(
            nll=math.log(self.num_samples) - self._total,
            effective_sample_size=torch.exp(2 * self._total - self._squares),
        )


def importance_from_log_weights(log_weights: Tensor) -> ImportanceEstimate:
    """The estimate of log weights (K, B), in nats."""
    sums = ImportanceSums()
    if len(log_weights):
        sums.add(log_weights)
    return sums.estimate()


def importance_log_weights(
    model: LatentVariableModel, posterior: Any, latents: Tensor, log_likelihood: Tensor
) -> Tensor:
    """log p(x|z) + log p(z) - log q(z|x) in nats, in float64: (S, B).

    Args:
        model: whose prior it is.
        posterior: q(z|x) of the batch.
        latents: samples of it, (S, B, Z).
        log_likelihood: log p(x|z) at them, (S, B).
    """
    latents = _wide(latents)  # two densities of tens of nats cancel here
    ratio = model.prior().log_prob(latents) - posterior.log_prob(latents)
    return _wide(log_likelihood) + ratio


def importance_estimate(
    model: LatentVariableModel,
    batch: Mapping[str, Tensor],
    num_samples: int,
    chunk_size: int | None = None,
    *,
    seed: int = 0,
    rows: Sequence[int] | None = None,
    posterior: Any = None,
) -> ImportanceEstimate:
    """-log (1/K) sum_k p(x, z_k) / q(z_k|x) of each sentence, and its effective sample size.

    Independent of chunk and batch: the noise is keyed by (seed, row), and log K is that of the
    samples drawn, also where chunks do not divide K. Source: Burda, Grosse and Salakhutdinov, arXiv
    1509.00519.

    Args:
        model: the model.
        batch: B sentences.
        num_samples: K, exactly.
        chunk_size: samples of a sentence decoded at once, so that B * chunk_size sequences are in
            memory; None for all K.
        seed: of the noise.
        rows: number of each sentence in its data set; default: its place in the batch.
        posterior: q(z|x) of the batch, where it is known already: nothing is encoded then.

    Returns:
        nll and effective_sample_size, (B,) in float64.
    """
    if num_samples < 1:
        raise ValueError(f"num_samples (K) must be 1 or more, got {num_samples}.")
    if chunk_size is not None and chunk_size < 1:
        raise ValueError(f"chunk_size must be 1 or more, got {chunk_size}.")
    if posterior is None:
        posterior = model.posterior(batch)
    count, latent_size = posterior.mean.shape
    noise = RowNoise(range(count) if rows is None else rows, latent_size, seed=seed)
    sums = ImportanceSums()
    while sums.num_samples < num_samples:
        left = num_samples - sums.num_samples
        latents = sample_with_noise(posterior, noise.draw(min(left, chunk_size or left)))
        likelihood = model.log_likelihood(batch, latents)
        sums.add(importance_log_weights(model, posterior, latents, likelihood))
    return sums.estimate()


def iw_nll(
    model: LatentVariableModel,
    batch: Mapping[str, Tensor],
    num_samples: int,
    chunk_size: int | None = None,
    *,
    seed: int = 0,
    rows: Sequence[int] | None = None,
    posterior: Any = None,
) -> Tensor:
    """The `nll` of `importance_estimate`, where the arguments are explained: (B,), nats."""
    return importance_estimate(
        model, batch, num_samples, chunk_size, seed=seed, rows=rows, posterior=posterior
    ).nll


def _wide(values: Tensor) -> Tensor:
    return values if values.device.type == "mps" else values.double()  # mps has no float64
