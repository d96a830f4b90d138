"""Likelihood: ELBO terms of each sentence from posterior samples, in nats, and perplexities."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor


class Posterior(Protocol):
    """What an estimator asks of q(z|x), and of p(z) without the batch axis."""

    @property
    def mean(self) -> Tensor:
        """Means, (B, Z)."""
        ...

    @property
    def logvar(self) -> Tensor:
        """Logarithms of the variances, (B, Z)."""
        ...

    def rsample(self, num_samples: int, *, generator: torch.Generator | None = None) -> Tensor:
        """Reparameterised samples, (S, B, Z)."""
        ...

    def log_prob(self, latents: Tensor) -> Tensor:
        """Log density of latents (..., B, Z), in nats, (..., B)."""
        ...

    def kl(self) -> Tensor:
        """KL to the prior per latent dimension, in nats, (B, Z)."""
        ...


class LatentVariableModel(Protocol):
    """What an estimator asks of a model; a linear Gaussian model with known answers fits it too."""

    def posterior(self, batch: Mapping[str, Tensor]) -> Any:
        """The q(z|x) of a batch: a `Posterior`."""
        ...

    def prior(self) -> Any:
        """The p(z): a `Posterior` with event shape (Z,)."""
        ...

    def log_likelihood(self, batch: Mapping[str, Tensor], latents: Tensor) -> Tensor:
        """log p(x|z) in nats, EOS included, for latents (S, B, Z): (S, B)."""
        ...


def row_noise(rows: Sequence[int], num_samples: int, latent_size: int, *, seed: int) -> Tensor:
    """Standard normal noise (S, rows, Z) in which each row's numbers depend on (seed, row) alone.

    A sentence that carries its row number meets the same noise in whatever batch, order or process
    it is evaluated, and its first samples stay the same when more are asked for.
    """
    if seed < 0:
        raise ValueError(f"seed must be 0 or more, got {seed}.")
    if num_samples < 1:
        raise ValueError(f"num_samples must be 1 or more, got {num_samples}.")
    noise = np.empty((num_samples, len(rows), latent_size), dtype=np.float32)
    # a counter-based generator takes (seed, row) as its key: neighbouring rows share no stream
    bits = np.random.Philox(key=np.zeros(2, dtype=np.uint64))
    normal = np.random.Generator(bits).standard_normal
    start = bits.state
    for column, row in enumerate(rows):
        start["state"]["key"][:] = seed, row
        bits.state = start  # also sets the counter back: five times faster than a new generator
        noise[:, column] = normal((num_samples, latent_size))
    return torch.from_numpy(noise)


def sample_with_noise(posterior: Posterior, noise: Tensor) -> Tensor:
    """Latents mean + exp(logvar / 2) * noise for noise (S, B, Z): (S, B, Z)."""
    mean, logvar = posterior.mean, posterior.logvar
    if noise.dim() != 3 or noise.shape[1:] != mean.shape:
        raise ValueError(
            f"noise must be (S, {mean.shape[0]}, {mean.shape[1]}), got {tuple(noise.shape)}: "
            "one standard normal vector for each sample and sentence."
        )
    return mean + torch.exp(0.5 * logvar) * noise.to(mean)


def reconstruction_nll(
    model: LatentVariableModel, batch: Mapping[str, Tensor], latents: Tensor
) -> Tensor:
    """-log p(x|z) of each sentence in nats, averaged over its S latents (S, B, Z): (B,)."""
    return -model.log_likelihood(batch, latents).mean(0)


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


def mean_and_standard_error(values: Tensor) -> tuple[Tensor, Tensor | None]:
    """Mean over the first axis and its standard error, in float64; no error for a single value."""
    count = len(values)
    if count == 0:
        raise ValueError("the mean of no values is undefined: give at least one sentence.")
    values = values.double()
    if count == 1:
        return values.mean(0), None
    return values.mean(0), values.std(0, correction=1) / math.sqrt(count)


def word_perplexity(total_nll: float, total_words_plus_eos: int) -> float:
    """exp(sum of nats / (words + one EOS a sentence)); a bound wherever the nats are one.

    The unit of the literature's figures: EOS is counted, BOS is not.
    """
    return _perplexity(total_nll, total_words_plus_eos)


def token_perplexity(total_nll: float, total_tokens: int) -> float:
    """exp(sum of nats / tokens), EOS among them; comparable between equal tokenizers only."""
    return _perplexity(total_nll, total_tokens)


def _perplexity(total_nll: float, count: int) -> float:
    if count < 1:
        raise ValueError(f"a perplexity needs at least one predicted unit, got {count}.")
    rate = total_nll / count  # nats per unit
    return math.exp(rate) if rate < math.log(np.finfo(np.float64).max) else math.inf
