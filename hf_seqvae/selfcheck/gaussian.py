"""The Gaussian data of the checks: thirty directions, twelve latents, and a linear VAE on them."""

import math

import torch
from torch import Tensor

from hf_seqvae.oracles import (
    LinearVAEConfig,
    LinearVAEModel,
    LinearVAEOptimum,
    linear_vae_optimum,
)

LATENT_SIZE = 12
# far from every water level that is checked, so that no count of active units hangs on a digit
EIGENVALUES = (8.0, 5.5, 3.2, 2.3, 1.7, 1.3, 0.85, 0.7, 0.58, 0.4, 0.3, 0.2) + tuple(
    0.08 * 0.9**place for place in range(18)
)
SIZE = len(EIGENVALUES)
# (sigma2, beta) -> active units: all, some and none of the twelve
CASES = {
    (0.5, 1.0): 9,
    (0.5, 2.0): 6,
    (0.1, 1.0): 12,
    (1.1, 1.0): 6,
    (4.0, 1.0): 2,
    (10.0, 1.0): 0,
    (0.5, 0.5): 11,
}
SIGMA2 = 0.5  # where a check needs one


def mean() -> Tensor:
    """The mean of the data, (D,)."""
    return torch.linspace(-1.0, 1.0, SIZE, dtype=torch.float64)


def _root() -> Tensor:
    """Square root of the covariance: principal axes times standard deviations, (D, D)."""
    generator = torch.Generator().manual_seed(0)
    axes, _ = torch.linalg.qr(torch.randn(SIZE, SIZE, generator=generator, dtype=torch.float64))
    return axes * torch.tensor(EIGENVALUES, dtype=torch.float64).sqrt()


def covariance() -> Tensor:
    """(D, D), float64."""
    root = _root()
    return root @ root.T


def design() -> Tensor:
    """2 D vectors whose mean and covariance are exactly those of the data, (2 D, D), float64.

    A closed form, and so training on one, sees no more of a data set than these two.
    """
    half = _root().T * math.sqrt(SIZE)
    return mean() + torch.cat([half, -half])


def vectors(count: int, *, seed: int = 1) -> Tensor:
    """Independent draws from the data's distribution, (N, D), float64."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(count, SIZE, generator=generator, dtype=torch.float64)
    return mean() + noise @ _root().T


def batch_of(rows: Tensor) -> dict[str, Tensor]:
    """Vectors as a batch that is its own target."""
    return {"input_values": rows, "labels": rows}


def optimum(sigma2: float = SIGMA2, kl_weight: float = 1.0) -> LinearVAEOptimum:
    """The best linear VAE of `LATENT_SIZE` latents."""
    return linear_vae_optimum(covariance(), LATENT_SIZE, sigma2, kl_weight)


def fresh_model(sigma2: float = SIGMA2, **config: object) -> LinearVAEModel:
    """An untrained linear VAE of these sizes; its loss counts vectors."""
    values = {"input_size": SIZE, "latent_size": LATENT_SIZE, "sigma2": sigma2}
    return LinearVAEModel(LinearVAEConfig(**values, loss_normalization="sequence", **config))  # pyright: ignore[reportArgumentType]


def best_model(
    sigma2: float = SIGMA2, kl_weight: float = 1.0, *, widened: float = 1.0
) -> LinearVAEModel:
    """A linear VAE at its optimum, in float64 and `eval()`.

    Args:
        sigma2: variance of the observation noise.
        kl_weight: beta.
        widened: factor on the posterior's variances, which makes q wrong on purpose.
    """
    model = fresh_model(sigma2).double().eval()
    model.load_optimum(optimum(sigma2, kl_weight), mean())
    with torch.no_grad():
        model.posterior_logvar.add_(math.log(widened))
    return model
