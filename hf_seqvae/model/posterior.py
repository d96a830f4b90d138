"""Posterior: pooled (B, H) -> q(z|x), a diagonal Gaussian with samples, density and KL in nats."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .linear_cross_entropy import is_plain_linear


def kl_to_standard_normal(mu: Tensor, logvar: Tensor) -> Tensor:
    """KL from N(mu, exp(logvar)) to N(0, 1) for each latent dimension, in nats.

    Args:
        mu: posterior means, (..., Z).
        logvar: posterior log variances, (..., Z).

    Returns:
        (..., Z) in float32 or wider, not summed: free bits and active units need the dimensions.
    """
    mu, logvar = at_least_float32(mu), at_least_float32(logvar)
    # expm1 keeps nearly collapsed dimensions: at logvar 1e-4 the textbook form is 0 in float32
    return 0.5 * (mu.square() + torch.expm1(logvar) - logvar)


def at_least_float32(value: Tensor) -> Tensor:
    """float64 as it is, anything else in float32."""
    return value if value.dtype == torch.float64 else value.float()


@dataclass(frozen=True)
class DiagonalGaussian:
    """N(mean, diag exp logvar) over latents; both are (B, Z), or (Z,) for the prior."""

    mean: Tensor
    logvar: Tensor

    def rsample(self, num_samples: int, *, generator: torch.Generator | None = None) -> Tensor:
        """Draws exactly `num_samples` latents by reparametrisation, (S, B, Z)."""
        if num_samples < 1:
            raise ValueError(f"num_samples must be at least 1, got {num_samples}.")
        # not torch.randn(generator=None): a compiled model could not take a second batch size
        noise = self.mean.new_empty(num_samples, *self.mean.shape).normal_(generator=generator)
        return self.mean + torch.exp(0.5 * self.logvar) * noise

    def log_prob(self, latents: Tensor) -> Tensor:
        """Log density of latents (..., B, Z), in nats, (..., B)."""
        squared = (latents - self.mean).square() * torch.exp(-self.logvar)
        return -0.5 * (squared + self.logvar + math.log(2.0 * math.pi)).sum(dim=-1)

    def kl(self) -> Tensor:
        """KL to the standard normal of each dimension, in nats, (B, Z)."""
        return kl_to_standard_normal(self.mean, self.logvar)


def project(projection: nn.Linear, pooled: Tensor) -> tuple[Tensor, Tensor]:
    """Pooled features (B, H) -> two halves (B, Z) in float32 or wider, also under autocast.

    In bf16 means that lie close together would round to one. A layer that is more than its weight
    (an adapter, a hook that brings an offloaded weight) is called, in the weight's own dtype.
    """
    pooled, weight = at_least_float32(pooled), projection.weight
    with torch.autocast(pooled.device.type, enabled=False):
        if is_plain_linear(projection):
            both = F.linear(pooled, weight.to(pooled.dtype))
        else:
            dtype = weight.dtype if weight.is_floating_point() else pooled.dtype
            both = at_least_float32(projection(pooled.to(dtype)))
    first, second = both.chunk(2, dim=-1)
    return first, second


class GaussianPosterior(nn.Module):
    """The posterior head: pooled (B, H) -> q(z|x), one bias-free linear map to (mu, logvar).

    Bias-free as in He et al., arXiv 1901.05534. The distribution is float32 whatever the backbone's
    dtype.
    """

    options: tuple[str, ...] = ()  # fields of SeqVAEConfig that the constructor takes
    uses_batch_statistics = False  # whether, in training, a row's posterior depends on the others

    def __init__(self, pooled_size: int, latent_size: int):
        super().__init__()
        self.projection = nn.Linear(pooled_size, 2 * latent_size, bias=False)

    def forward(self, pooled: Tensor) -> DiagonalGaussian:
        """Pooled features (B, H) -> DiagonalGaussian over (B, Z)."""
        mu, logvar = project(self.projection, pooled)
        return DiagonalGaussian(mu, logvar)
