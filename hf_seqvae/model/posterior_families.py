"""Posterior families: the heads that keep q(z|x) off the prior, and the table of all heads."""

import math
from collections.abc import Callable

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from .posterior import DiagonalGaussian, GaussianPosterior, project

# rates a latent dimension that a variance cap reaches in float32, which ends at exp(-87)
SMALLEST_RATE, LARGEST_RATE = 1e-6, 40.0


class FixedScaleBatchNorm(nn.Module):
    """Values (B, Z) -> mean `bias` and standard deviation `gamma` over the batch, by dimension.

    `gamma` is a number that nothing trains, `bias` a parameter. In eval() the running statistics
    stand in for those of the batch: means over the first batches, then with the weight `momentum`
    for the newest, so that they are of the right size from the first batch on.
    """

    eps = 1e-12  # variances of 5e-9 occur, beside which the usual 1e-5 would be everything
    momentum = 0.1

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(self, size: int, gamma: float):
        super().__init__()
        self.gamma = gamma
        self.bias = nn.Parameter(torch.zeros(size))
        self.register_buffer("running_mean", torch.zeros(size))
        self.register_buffer("running_var", torch.ones(size))
        self.register_buffer("num_batches_tracked", torch.zeros((), dtype=torch.long))

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "FixedScaleBatchNorm":
        """As torch's, but that half() and to(dtype) leave the statistics in float32.

        In float16 a variance below 6e-8 is 0.
        """
        kept = {name: getattr(self, name) for name in ("running_mean", "running_var")}
        super()._apply(fn, recurse)
        for name, before in kept.items():
            after = getattr(self, name)
            if after.dtype in (torch.float16, torch.bfloat16):
                setattr(self, name, before.float().to(after.device))
        return self

    def forward(self, values: Tensor) -> Tensor:
        """(B, Z) -> (B, Z), in the dtype of `values`."""
        if self.training:
            _check_batch(len(values))
            var, mean = torch.var_mean(values, dim=0, correction=0)
            with torch.no_grad():
                unbiased = var * len(values) / (len(values) - 1)
                self.num_batches_tracked += 1
                weight = (1.0 / self.num_batches_tracked).clamp(min=self.momentum)
                for kept, new in ((self.running_mean, mean), (self.running_var, unbiased)):
                    kept.lerp_(new.to(kept.dtype), weight.to(kept.dtype))
        else:
            mean, var = self.running_mean.to(values.dtype), self.running_var.to(values.dtype)
        scale = self.gamma * torch.rsqrt(var + self.eps)
        return (values - mean) * scale + self.bias.to(values.dtype)


def _check_batch(num_rows: int) -> None:
    """A batch in training has more rows than one, and all of them are in this process."""
    if num_rows < 2:
        raise ValueError(
            f"batch_norm_gaussian needs two or more texts a training batch, got {num_rows}: one "
            "alone has no spread. Choose a batch size that leaves no single text at an epoch's "
            "end, or drop the last batch."
        )
    if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
        raise ValueError(
            "batch_norm_gaussian trains in one process, since its statistics are those of the "
            f"whole batch, got {dist.get_world_size()} processes. Train in one, or choose another "
            "posterior."
        )


class BatchNormGaussianPosterior(nn.Module):
    """The posterior head whose means are batch-normalised; log variances as in "gaussian".

    In training the KL, as its mean over the batch, is at least 1/2 sum_j gamma^2 v_j / (v_j + eps)
    with v_j the variance of dimension j of the projected means over the batch: gamma^2 Z / 2 while
    they spread at all. In eval() no floor is claimed, the KL is measured. Every row that is encoded
    counts in the statistics, also one without labels: the encoder does not see them. A row's
    posterior depends on its batch, so micro-batches are another step than their whole batch, and
    several processes are refused.

    Source: Zhu et al. (BN-VAE), arXiv 2004.12585. Departure: eps 1e-12, since He et al.'s
    initialisation gives variances near 5e-9.

    Args:
        pooled_size: H.
        latent_size: Z.
        batch_norm_gamma: the standard deviation of each mean over the batch; literature 0.5 to 0.9.
    """

    options = ("batch_norm_gamma",)
    uses_batch_statistics = True

    def __init__(self, pooled_size: int, latent_size: int, *, batch_norm_gamma: float):
        super().__init__()
        self.projection = nn.Linear(pooled_size, 2 * latent_size, bias=False)
        self.batch_norm = FixedScaleBatchNorm(latent_size, batch_norm_gamma)

    def forward(self, pooled: Tensor) -> DiagonalGaussian:
        """Pooled features (B, H) -> DiagonalGaussian over (B, Z)."""
        mu, logvar = project(self.projection, pooled)
        return DiagonalGaussian(self.batch_norm(mu), logvar)


def log_variance_cap(rate: float) -> float:
    """ln s, where s < 1 is the variance at which N(0, s) is `rate` nats from N(0, 1).

    Solves 1/2 (s - 1 - ln s) = rate by bisection; no smaller variance has a smaller KL.

    Raises:
        ValueError: a rate outside of what float32 holds.
    """
    if not SMALLEST_RATE <= rate <= LARGEST_RATE:
        raise ValueError(
            f"the rate of a latent dimension must be in [{SMALLEST_RATE}, {LARGEST_RATE}] nats, "
            f"got {rate}."
        )
    low, high = -(2.0 * rate + 1.0), 0.0  # the KL is above `rate` at low and 0 at high
    for _ in range(100):
        middle = 0.5 * (low + high)
        if 0.5 * (math.expm1(middle) - middle) < rate:
            high = middle
        else:
            low = middle
    return low


class CommittedRatePosterior(nn.Module):
    """The posterior head whose variances stay under a cap, so that KL >= `committed_rate`.

    logvar = ln s - softplus(raw), with s from `log_variance_cap` of committed_rate / Z. The KL of
    every sentence is at least `committed_rate` nats, whatever the parameters and the mode.

    Source: Razavi et al. (delta-VAE), arXiv 1901.03416: their committed rate, for one z a sentence
    against N(0, I) in place of a sequence of latents against an autoregressive prior.

    Args:
        pooled_size: H.
        latent_size: Z.
        committed_rate: delta, nats a sentence.
    """

    options = ("committed_rate",)
    uses_batch_statistics = False

    def __init__(self, pooled_size: int, latent_size: int, *, committed_rate: float):
        super().__init__()
        self.projection = nn.Linear(pooled_size, 2 * latent_size, bias=False)
        self.log_variance_cap = log_variance_cap(committed_rate / latent_size)

    def forward(self, pooled: Tensor) -> DiagonalGaussian:
        """Pooled features (B, H) -> DiagonalGaussian over (B, Z)."""
        mu, raw = project(self.projection, pooled)
        return DiagonalGaussian(mu, self.log_variance_cap - F.softplus(raw))


POSTERIORS = {
    "gaussian": GaussianPosterior,
    "batch_norm_gaussian": BatchNormGaussianPosterior,
    "committed_rate_gaussian": CommittedRatePosterior,
}


def check_options(posterior: str, latent_size: int, options: dict[str, float | None]) -> None:
    """Raises where an option of a posterior is missing, out of range, or another's."""
    needed = POSTERIORS[posterior].options
    for name, value in options.items():
        owner = next(kind for kind, head in POSTERIORS.items() if name in head.options)
        if value is not None and name not in needed:
            raise ValueError(
                f"{name} is read by posterior {owner!r} alone, got {value} beside {posterior!r}. "
                f"Set posterior={owner!r}, or leave {name} out."
            )
        if value is None and name in needed:
            raise ValueError(f"posterior {posterior!r} needs {name}. Set it, in nats a sentence.")
    gamma, rate = options["batch_norm_gamma"], options["committed_rate"]
    if gamma is not None and not 0.0 < gamma < math.inf:
        raise ValueError(
            f"batch_norm_gamma must be finite and positive, got {gamma}. The literature's are 0.5 "
            "to 0.9."
        )
    if rate is not None and not SMALLEST_RATE <= rate / latent_size <= LARGEST_RATE:
        raise ValueError(
            f"committed_rate must be in [{SMALLEST_RATE * latent_size:g}, "
            f"{LARGEST_RATE * latent_size:g}] nats a sentence at latent_size {latent_size}, where "
            f"float32 holds the variance it asks for, got {rate}. Choose a rate in between, or "
            "posterior='gaussian' for no committed rate."
        )
