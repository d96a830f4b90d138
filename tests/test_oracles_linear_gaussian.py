"""The closed forms of linear Gaussian models, against torch.distributions and gradients."""

import math

import pytest
import torch
from torch.distributions import LowRankMultivariateNormal
from torch.testing import assert_close

from hf_seqvae.oracles import linear_vae_optimum, ppca_log_likelihood

CASES = [(0.1, 1.0), (0.5, 1.0), (1.1, 1.0), (4.0, 1.0), (10.0, 1.0), (0.5, 2.0), (0.5, 0.5)]


def covariance(eigenvalues, seed=0):
    generator = torch.Generator().manual_seed(seed)
    size = len(eigenvalues)
    axes, _ = torch.linalg.qr(torch.randn(size, size, generator=generator, dtype=torch.float64))
    cov = axes @ torch.diag(torch.tensor(eigenvalues, dtype=torch.float64)) @ axes.T
    return (cov + cov.T) / 2


COV = covariance([8.0, 3.0, 1.7, 0.9, 0.3, 0.1])


def elbo(cov, weights, encoder, variance, sigma2, kl_weight):
    """E log p(x|z) - kl_weight KL of x ~ (0, cov), by the moments of x - Wz; no shared code."""
    size = len(cov)
    left = torch.eye(size, dtype=cov.dtype) - weights @ encoder
    residual = torch.trace(left @ cov @ left.T) + (weights.square() @ variance).sum()
    nll = 0.5 * (size * math.log(2 * math.pi * sigma2) + residual / sigma2)
    second = (encoder @ cov @ encoder.T).diagonal() + variance
    return -nll - kl_weight * 0.5 * (second - 1 - variance.log()).sum()


def test_likelihood_agrees_with_a_low_rank_normal():
    generator = torch.Generator().manual_seed(1)
    weights = torch.randn(6, 2, generator=generator, dtype=torch.float64)
    mean = torch.randn(6, generator=generator, dtype=torch.float64)
    inputs = torch.randn(9, 6, generator=generator, dtype=torch.float64)
    expected = LowRankMultivariateNormal(mean, weights, torch.full((6,), 0.7).double())
    assert_close(ppca_log_likelihood(inputs, weights, 0.7, mean), expected.log_prob(inputs))


@pytest.mark.parametrize(("sigma2", "kl_weight"), CASES)
def test_the_gradient_of_the_elbo_vanishes_at_the_optimum(sigma2, kl_weight):
    found = linear_vae_optimum(COV, 4, sigma2, kl_weight)
    parts = [found.decoder_weights, found.encoder_weights, found.posterior_variance]
    parts = [part.clone().requires_grad_() for part in parts]
    for gradient in torch.autograd.grad(elbo(COV, *parts, sigma2, kl_weight), parts):
        assert gradient.abs().max() < 1e-9


@pytest.mark.parametrize(("sigma2", "kl_weight"), CASES)
@pytest.mark.parametrize("seed", range(3))
def test_coordinate_ascent_from_anywhere_ends_at_the_optimum(sigma2, kl_weight, seed):
    found = linear_vae_optimum(COV, 4, sigma2, kl_weight)
    generator = torch.Generator().manual_seed(seed)
    weights = torch.randn(6, 4, generator=generator, dtype=torch.float64)
    level = kl_weight * sigma2
    for _ in range(300):  # the best q for W with a full covariance, then the best W for q
        precision = weights.T @ weights + level * torch.eye(4, dtype=torch.float64)
        encoder = torch.linalg.solve(precision, weights.T)
        second = encoder @ COV @ encoder.T + level * torch.linalg.inv(precision)
        weights = COV @ encoder.T @ torch.linalg.inv(second)
    axes, scales, _ = torch.linalg.svd(weights, full_matrices=False)
    precision = scales.square() + level  # turned so that the best q is a diagonal one
    q = ((axes * scales / precision).T, level / precision)
    reached = float(elbo(COV, axes * scales, *q, sigma2, kl_weight))
    parts = (found.decoder_weights, found.encoder_weights, found.posterior_variance)
    best = float(elbo(COV, *parts, sigma2, kl_weight))
    assert best - 1e-3 < reached <= best + 1e-9


@pytest.mark.parametrize(("sigma2", "kl_weight"), CASES)
def test_rate_and_elbo_are_those_of_its_own_weights(sigma2, kl_weight):
    found = linear_vae_optimum(COV, 4, sigma2, kl_weight)
    parts = (found.decoder_weights, found.encoder_weights, found.posterior_variance)
    assert found.elbo == pytest.approx(float(elbo(COV, *parts, sigma2, 1.0)), abs=1e-12)
    without_rate = float(elbo(COV, *parts, sigma2, 0.0))
    assert found.rate == pytest.approx(without_rate - found.elbo, abs=1e-12)
    assert found.water_level == kl_weight * sigma2


def test_at_beta_one_the_elbo_is_the_mean_log_likelihood():
    found = linear_vae_optimum(COV, 4, 0.5)
    # two points a direction have exactly this covariance
    root = torch.linalg.cholesky(COV) * math.sqrt(6)
    points = torch.cat([root.T, -root.T])
    exact = ppca_log_likelihood(points, found.decoder_weights, 0.5).mean()
    assert found.elbo == pytest.approx(float(exact), abs=1e-12)


@pytest.mark.parametrize(("sigma2", "active"), [(0.05, 4), (0.5, 4), (0.895, 3), (1.69, 2), (9, 0)])
def test_a_unit_is_active_where_its_mean_varies_by_a_hundredth(sigma2, active):
    """At 0.895 and 1.69 a direction lies above the water by less than that."""
    found = linear_vae_optimum(COV, 4, sigma2)
    assert found.active_units == active
    variance = (found.encoder_weights @ COV @ found.encoder_weights.T).diagonal()
    assert int((variance > 0.01).sum()) == active
    above = found.eigenvalues[:4] > sigma2
    assert_close(variance, torch.where(above, 1 - sigma2 / found.eigenvalues[:4], 0.0))


def test_a_covariance_of_fewer_vectors_than_dimensions_is_one_in_float32_too():
    for seed in range(5):
        data = torch.randn(20, 30, generator=torch.Generator().manual_seed(seed))
        found = linear_vae_optimum(torch.cov(data.T, correction=0), 5, 0.1)
        exact = linear_vae_optimum(torch.cov(data.double().T, correction=0), 5, 0.1)
        assert_close(found.eigenvalues, exact.eigenvalues, rtol=1e-5, atol=1e-5)


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="kl_weight must be finite and positive, got 0"):
        linear_vae_optimum(COV, 4, 1.0, 0.0)
    with pytest.raises(ValueError, match="sigma2 must be finite and positive, got -1"):
        linear_vae_optimum(COV, 4, -1.0)
    with pytest.raises(ValueError, match=r"latent_size must be in 1..6 \(D\), got 7"):
        linear_vae_optimum(COV, 7, 1.0)
    with pytest.raises(ValueError, match="symmetric"):
        linear_vae_optimum(torch.ones(2, 3), 1, 1.0)
    with pytest.raises(ValueError, match="negative eigenvalue"):
        linear_vae_optimum(torch.diag(torch.tensor([1.0, -1.0])), 1, 1.0)
    with pytest.raises(ValueError, match=r"got \(9, 6\) and \(5, 2\)"):
        ppca_log_likelihood(torch.ones(9, 6), torch.ones(5, 2), 1.0)
