"""Likelihood terms against a linear Gaussian model, where p(x) and p(z|x) are exact."""

import math

import pytest
import torch
from torch.distributions import MultivariateNormal
from torch.testing import assert_close

from hf_seqvae.metrics import (
    mean_and_standard_error,
    row_noise,
    sample_with_noise,
    sampled_elbo_terms,
    token_perplexity,
    word_perplexity,
)
from hf_seqvae.model.posterior import DiagonalGaussian


class LinearGaussian:
    """x = W z + b + s e with orthogonal columns of W: p(x) and p(z|x) in closed form."""

    def __init__(self, widen: float = 0.0):
        self.weight = torch.tensor(
            [[2.0, 0.0], [0.0, 0.5], [1.0, 0.0], [0.0, -1.0]], dtype=torch.float64
        )
        self.bias = torch.tensor([0.3, -1.0, 0.0, 2.0], dtype=torch.float64)
        self.variance = 0.49
        self.widen = widen  # added to the exact posterior's log variance

    def posterior(self, batch):
        x = batch["x"]
        precision = 1 + self.weight.square().sum(0) / self.variance
        mean = (x - self.bias) @ self.weight / self.variance / precision
        return DiagonalGaussian(mean, -precision.log().expand_as(mean) + self.widen)

    def prior(self):
        zeros = torch.zeros(2, dtype=torch.float64)
        return DiagonalGaussian(zeros, zeros)

    def log_likelihood(self, batch, latents):
        square = (batch["x"] - latents @ self.weight.T - self.bias).square().sum(-1)
        return -0.5 * (square / self.variance + 4 * math.log(2 * math.pi * self.variance))

    def evidence(self, batch):
        covariance = self.weight @ self.weight.T + self.variance * torch.eye(4, dtype=torch.float64)
        return MultivariateNormal(self.bias, covariance).log_prob(batch["x"])


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(0)
    return {"x": 2 * torch.randn(5, 4, generator=generator, dtype=torch.float64)}


def sigma_points(rows: int) -> torch.Tensor:
    """Noise over which the average of any quadratic is its expectation, (4, rows, 2)."""
    axes = math.sqrt(2) * torch.eye(2, dtype=torch.float64)
    return torch.cat([axes, -axes]).unsqueeze(1).expand(4, rows, 2)


def test_evidence_ratio_has_no_variance_under_the_exact_posterior(batch):
    model = LinearGaussian()
    posterior = model.posterior(batch)
    latents = sample_with_noise(posterior, row_noise(range(5), 7, 2, seed=3))
    ratio = model.log_likelihood(batch, latents) + model.prior().log_prob(latents)
    ratio = ratio - posterior.log_prob(latents)  # (7, 5)
    assert_close(ratio, model.evidence(batch).expand(7, 5), rtol=0, atol=1e-9)


def test_elbo_of_the_exact_posterior_is_the_evidence(batch):
    model = LinearGaussian()
    nll, kl = sampled_elbo_terms(model, batch, noise=sigma_points(5))
    assert_close(nll + kl, -model.evidence(batch), rtol=0, atol=1e-9)


def test_elbo_of_a_wrong_posterior_misses_the_evidence_by_their_divergence(batch):
    model, exact = LinearGaussian(widen=0.8), LinearGaussian()
    nll, kl = sampled_elbo_terms(model, batch, noise=sigma_points(5))
    q, p = model.posterior(batch), exact.posterior(batch)
    divergence = torch.distributions.kl_divergence(
        torch.distributions.Normal(q.mean, (0.5 * q.logvar).exp()),
        torch.distributions.Normal(p.mean, (0.5 * p.logvar).exp()),
    ).sum(1)
    assert_close(nll + kl + model.evidence(batch), divergence, rtol=0, atol=1e-9)


def test_elbo_terms_average_exactly_the_noise_they_are_given(batch):
    model = LinearGaussian()
    noise = row_noise(range(5), 3, 2, seed=0)
    each = [sampled_elbo_terms(model, batch, noise=noise[s : s + 1])[0] for s in range(3)]
    assert_close(sampled_elbo_terms(model, batch, noise=noise)[0], torch.stack(each).mean(0))


def test_elbo_terms_draw_num_samples_from_the_generator(batch):
    model = LinearGaussian()
    nll, _ = sampled_elbo_terms(
        model, batch, num_samples=3, generator=torch.Generator().manual_seed(5)
    )
    latents = model.posterior(batch).rsample(3, generator=torch.Generator().manual_seed(5))
    assert_close(nll, -model.log_likelihood(batch, latents).mean(0))


def test_elbo_terms_refuse_noise_beside_a_number_of_samples(batch):
    with pytest.raises(ValueError, match="noise already fixes the samples"):
        sampled_elbo_terms(LinearGaussian(), batch, noise=sigma_points(5), num_samples=4)


def test_noise_of_another_shape_is_refused(batch):
    with pytest.raises(ValueError, match=r"noise must be \(S, 5, 2\), got \(1, 4, 2\)"):
        sampled_elbo_terms(LinearGaussian(), batch, noise=torch.zeros(1, 4, 2))


def test_row_noise_depends_on_seed_and_row_alone():
    noise = row_noise(range(6), 4, 3, seed=11)
    assert torch.equal(row_noise([4, 1], 4, 3, seed=11), noise[:, [4, 1]])
    assert torch.equal(row_noise(range(6), 2, 3, seed=11), noise[:2])
    assert not torch.isclose(row_noise(range(6), 4, 3, seed=12), noise).any()


def test_row_noise_is_standard_normal_and_unrelated_between_rows_seeds_and_samples():
    noise = row_noise(range(2000), 2, 8, seed=0)
    assert noise.mean().abs() < 4 / math.sqrt(noise.numel())
    assert (noise.var() - 1).abs() < 4 * math.sqrt(2 / noise.numel())
    for other in (noise[0, 1:], row_noise(range(1, 2000), 1, 8, seed=1)[0], noise[1, :-1]):
        product = noise[0, :-1] * other
        assert product.mean().abs() < 4 / math.sqrt(product.numel())


@pytest.mark.parametrize("wrong", [{"seed": -1}, {"num_samples": 0}])
def test_row_noise_refuses_a_negative_seed_and_no_sample(wrong):
    settings = {"num_samples": 1, "seed": 0} | wrong
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} must be"):
        row_noise([0], settings["num_samples"], 2, seed=settings["seed"])


def test_standard_error_is_the_unbiased_one():
    mean, error = mean_and_standard_error(torch.tensor([1.0, 2.0, 6.0]))
    assert mean == 3.0
    assert error == pytest.approx(math.sqrt((4 + 1 + 9) / 2 / 3))


def test_one_value_has_a_mean_and_no_standard_error():
    assert mean_and_standard_error(torch.tensor([4.0])) == (4.0, None)


def test_mean_of_nothing_is_refused():
    with pytest.raises(ValueError, match="no values"):
        mean_and_standard_error(torch.tensor([]))


@pytest.mark.parametrize("perplexity", [word_perplexity, token_perplexity])
def test_perplexity_of_the_uniform_distribution_is_the_size_of_the_vocabulary(perplexity):
    assert perplexity(17 * math.log(50), 17) == pytest.approx(50)


def test_perplexity_beyond_every_float_is_infinite():
    assert token_perplexity(1e6, 2) == math.inf


def test_perplexity_of_no_words_is_refused():
    with pytest.raises(ValueError, match="at least one predicted unit"):
        word_perplexity(1.0, 0)
