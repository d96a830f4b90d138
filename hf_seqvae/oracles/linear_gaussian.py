"""What is known exactly of linear Gaussian models: likelihood, and the optimum of the linear VAE.

Sources: the likelihood and the optimum at beta 1, Tipping and Bishop, "Probabilistic principal
component analysis", 1999; the optimum for any beta, Wang and Ziyin, arXiv 2205.04009.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

ACTIVE_VARIANCE = 0.01  # threshold of `metrics.active_units`


def ppca_log_likelihood(
    inputs: Tensor, weights: Tensor, sigma2: float, mean: Tensor | None = None
) -> Tensor:
    """log p(x) in nats of inputs (N, D) under N(mean, W W^T + sigma2 I), in float64: (N,).

    Args:
        inputs: x, (N, D).
        weights: W, (D, Z).
        sigma2: variance of the observation noise.
        mean: (D,); None for zero.
    """
    if inputs.dim() != 2 or weights.dim() != 2 or inputs.shape[1] != weights.shape[0]:
        raise ValueError(
            f"inputs must be (N, D) and weights (D, Z), got {tuple(inputs.shape)} and "
            f"{tuple(weights.shape)}."
        )
    _check_positive("sigma2", sigma2)
    inputs, weights = inputs.double(), weights.double()
    size = weights.shape[0]
    cov = weights @ weights.T + sigma2 * torch.eye(size, dtype=torch.float64, device=weights.device)
    factor = torch.linalg.cholesky(cov)  # (D, D)
    centered = inputs if mean is None else inputs - mean.double()
    whitened = torch.linalg.solve_triangular(factor, centered.T, upper=False)  # (D, N)
    log_determinant = 2.0 * factor.diagonal().log().sum()
    return -0.5 * (whitened.square().sum(0) + log_determinant + size * math.log(2.0 * math.pi))


@dataclass(frozen=True)
class LinearVAEOptimum:
    """The global optimum of a linear VAE on data of one covariance, for KL weight beta.

    It is unique but for rotations: this one has the principal axes as latent dimensions, the
    largest first. Collapsed dimensions have zero weights and the prior as posterior.

    Attributes:
        decoder_weights: W, (D, Z).
        encoder_weights: V, (Z, D).
        posterior_variance: the diagonal of D, (Z,): beta sigma2 / lambda_i, or 1 where collapsed.
        rates: KL of each dimension averaged over the data, in nats, (Z,).
        active_units: dimensions whose posterior mean has variance above 0.01.
        elbo: nats a vector, at KL weight 1 whatever was optimised. At beta 1 it is the mean
            log-likelihood.
        water_level: beta sigma2; directions whose eigenvalue lies below it collapse.
        eigenvalues: of the covariance, from the largest, (D,).
        sigma2: variance of the observation noise.
    """

    decoder_weights: Tensor
    encoder_weights: Tensor
    posterior_variance: Tensor
    rates: Tensor
    active_units: int
    elbo: float
    water_level: float
    eigenvalues: Tensor
    sigma2: float

    @property
    def rate(self) -> float:
        """KL over all dimensions, and the mutual information of Gaussian data, in nats."""
        return float(self.rates.sum())


def linear_vae_optimum(
    cov: Tensor, latent_size: int, sigma2: float, kl_weight: float = 1.0
) -> LinearVAEOptimum:
    """The optimum on data with covariance `cov` (D, D), in float64.

    With eigenvalues lambda_i and water level w = beta sigma2: decoder singular values
    sqrt(lambda_i - w) where lambda_i > w, else 0; rates 1/2 ln(lambda_i / w), else 0.

    Args:
        cov: covariance of the data, divided by N.
        latent_size: Z, at most D.
        sigma2: variance of the observation noise.
        kl_weight: beta, positive: at 0 the rates are infinite.
    """
    _check_positive("sigma2", sigma2)
    _check_positive("kl_weight", kl_weight)
    if cov.dim() != 2 or cov.shape[0] != cov.shape[1] or not torch.allclose(cov, cov.T):
        raise ValueError(f"cov must be a symmetric (D, D) matrix, got {tuple(cov.shape)}.")
    size = len(cov)
    if not 1 <= latent_size <= size:
        raise ValueError(f"latent_size must be in 1..{size} (D), got {latent_size}.")
    ascending, axes = torch.linalg.eigh(cov.double())
    eigenvalues, axes = ascending.flip(0), axes.flip(1)
    rounding = size * torch.finfo(cov.dtype).eps  # of fewer vectors than dimensions some are zero
    if eigenvalues[-1] < -max(1e-9, rounding) * eigenvalues[0].abs():
        raise ValueError(
            f"cov has the negative eigenvalue {float(eigenvalues[-1]):.3g}: it is no covariance."
        )
    level = kl_weight * sigma2
    top, axes = eigenvalues[:latent_size], axes[:, :latent_size]
    variance = torch.where(top > level, level / top, 1.0)  # (Z,)
    singular = (top - level).clamp(min=0.0).sqrt()  # (Z,)
    rates = -0.5 * variance.log()
    # what reconstruction leaves of each direction: the level, or all of it where it is collapsed
    used = int((top > level).sum())
    left = used * level + float(eigenvalues[used:].sum())
    nll = 0.5 * (size * math.log(2.0 * math.pi * sigma2) + left / sigma2)
    return LinearVAEOptimum(
        decoder_weights=axes * singular,
        encoder_weights=(axes * (singular / top.clamp(min=level))).T,
        posterior_variance=variance,
        rates=rates,
        active_units=int((top > level / (1.0 - ACTIVE_VARIANCE)).sum()),
        elbo=-nll - float(rates.sum()),
        water_level=level,
        eigenvalues=eigenvalues,
        sigma2=sigma2,
    )


def _check_positive(name: str, value: float) -> None:
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"{name} must be finite and positive, got {value}.")
