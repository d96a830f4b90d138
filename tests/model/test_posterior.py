"""The posterior against torch.distributions, and its KL where float32 has nothing left."""

import math

import pytest
import torch
from torch._dynamo.testing import CompileCounter
from torch.distributions import Independent, Normal, kl_divergence
from torch.testing import assert_close

from hf_seqvae.model.posterior import (
    DiagonalGaussian,
    GaussianPosterior,
    kl_to_standard_normal,
)
from hf_seqvae.model.posterior_families import POSTERIORS


def case(seed=0, shape=(5, 3)):
    generator = torch.Generator().manual_seed(seed)
    draw = lambda: torch.randn(shape, generator=generator, dtype=torch.float64)  # noqa: E731
    return draw(), 2.0 * draw()


def oracle(mu, logvar):
    return Independent(Normal(mu, (0.5 * logvar).exp()), 1)


def test_kl_agrees_with_torch_distributions_dimension_by_dimension():
    mu, logvar = case()
    expected = kl_divergence(
        Normal(mu, (0.5 * logvar).exp()), Normal(torch.zeros_like(mu), torch.ones_like(mu))
    )
    assert_close(kl_to_standard_normal(mu, logvar), expected)
    assert_close(DiagonalGaussian(mu, logvar).kl(), expected)
    assert_close(kl_to_standard_normal(mu.float(), logvar.float()), expected.float())


def test_kl_of_a_nearly_collapsed_dimension_survives_float32():
    logvar = torch.tensor([1e-4, -1e-4])
    expected = logvar.double().square() / 4  # the Taylor series of (e^x - 1 - x) / 2
    kl = kl_to_standard_normal(torch.zeros(2), logvar)
    assert (kl > 0).all()
    # expm1 keeps 1e-4 itself to a part in 1e7, so the difference to a part in 1e3
    assert_close(kl.double(), expected, rtol=5e-3, atol=0.0)
    textbook = 0.5 * (logvar.exp() - 1.0 - logvar)
    assert ((textbook.double() - expected).abs() > 0.5 * expected).all()


def test_kl_of_bf16_parameters_is_computed_in_float32():
    mu = torch.tensor([0.125], dtype=torch.bfloat16)
    kl = kl_to_standard_normal(mu, torch.zeros(1, dtype=torch.bfloat16))
    assert kl.dtype == torch.float32
    assert kl.item() == 0.125**2 / 2


def test_kl_of_the_prior_is_exactly_zero():
    assert not kl_to_standard_normal(torch.zeros(4), torch.zeros(4)).any()


def test_draws_are_compiled_once_for_every_number_of_rows():
    """torch.randn(generator=None) is an error in a graph of changing sizes (torch 2.13)."""
    counts = CompileCounter()
    draw = lambda mu, logvar: DiagonalGaussian(mu, logvar).rsample(2)  # noqa: E731
    compiled = torch.compile(draw, backend=counts, fullgraph=True, dynamic=True)
    for rows in (4, 3, 7):
        values = case(shape=(rows, 3))
        torch.manual_seed(0)
        found = compiled(*values)
        torch.manual_seed(0)
        assert_close(found, draw(*values))
    assert counts.frame_count == 1


def test_log_prob_agrees_with_torch_distributions():
    mu, logvar = case()
    z = torch.randn(7, 5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    assert_close(DiagonalGaussian(mu, logvar).log_prob(z), oracle(mu, logvar).log_prob(z))
    assert DiagonalGaussian(mu, logvar).log_prob(z).shape == (7, 5)


def test_log_prob_of_the_prior_is_that_of_a_standard_normal():
    zeros = torch.zeros(3)
    z = torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(0))
    expected = -0.5 * z.square().sum(-1) - 1.5 * math.log(2 * math.pi)
    assert_close(DiagonalGaussian(zeros, zeros).log_prob(z), expected)


@pytest.mark.parametrize("num_samples", [1, 2, 7, 33])
def test_rsample_draws_exactly_as_many_as_asked(num_samples):
    mu, logvar = case()
    assert DiagonalGaussian(mu, logvar).rsample(num_samples).shape == (num_samples, 5, 3)
    prior = DiagonalGaussian(torch.zeros(3), torch.zeros(3))
    assert prior.rsample(num_samples).shape == (num_samples, 3)


def test_rsample_has_the_moments_of_the_distribution():
    mu, logvar = torch.tensor([[0.5, -2.0]]), torch.tensor([[-1.0, 1.0]])
    samples = DiagonalGaussian(mu, logvar).rsample(
        40_000, generator=torch.Generator().manual_seed(0)
    )
    std = (0.5 * logvar).exp()
    assert_close(samples.mean(0), mu, atol=4 * std.max().item() / 200, rtol=0.0)
    assert_close(samples.var(0).log(), logvar, atol=4 * math.sqrt(2 / 40_000), rtol=0.0)


def test_rsample_is_the_mean_plus_noise_times_the_standard_deviation():
    mu, logvar = (value.requires_grad_() for value in case())
    generator = torch.Generator().manual_seed(3)
    samples = DiagonalGaussian(mu, logvar).rsample(2, generator=generator)
    noise = torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    assert_close(samples, mu + (0.5 * logvar).exp() * noise)
    samples.sum().backward()
    assert_close(mu.grad, torch.full_like(mu, 2.0))
    assert_close(logvar.grad, 0.5 * (0.5 * logvar).exp().detach() * noise.sum(0))


def test_rsample_of_one_seed_is_one_sample():
    q = DiagonalGaussian(*case())
    first, second = (q.rsample(2, generator=torch.Generator().manual_seed(5)) for _ in range(2))
    assert torch.equal(first, second)


@pytest.mark.parametrize("num_samples", [0, -1])
def test_no_samples_are_refused(num_samples):
    with pytest.raises(ValueError, match=f"num_samples must be at least 1, got {num_samples}"):
        DiagonalGaussian(*case()).rsample(num_samples)


def test_the_head_is_one_bias_free_map_to_mu_then_logvar():
    torch.manual_seed(0)
    head = GaussianPosterior(6, 3)
    assert [name for name, _ in head.named_parameters()] == ["projection.weight"]
    pooled = torch.randn(2, 6, generator=torch.Generator().manual_seed(0))
    both = pooled @ head.projection.weight.T
    assert_close(head(pooled).mean, both[:, :3])
    assert_close(head(pooled).logvar, both[:, 3:])


def test_the_distribution_of_a_bf16_head_is_float32():
    q = GaussianPosterior(6, 3).bfloat16()(torch.ones(2, 6, dtype=torch.bfloat16))
    assert q.mean.dtype == q.logvar.dtype == q.rsample(1).dtype == torch.float32


@pytest.mark.parametrize("kind", POSTERIORS)
def test_every_head_computes_in_float32_also_under_bf16(kind):
    """Means 1e-4 apart at 1 are one number in bf16."""
    options = {"batch_norm_gamma": 0.5} if kind == "batch_norm_gaussian" else {}
    options |= {"committed_rate": 2.0} if kind == "committed_rate_gaussian" else {}
    torch.manual_seed(0)
    head = POSTERIORS[kind](4, 3, **options)
    pooled = 1.0 + 1e-4 * torch.randn(6, 4)
    expected = head(pooled)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = head(pooled)
    assert found.mean.dtype == torch.float32
    assert torch.equal(found.mean, expected.mean) and torch.equal(found.logvar, expected.logvar)
