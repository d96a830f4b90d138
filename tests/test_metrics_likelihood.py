"""Terms of the bound, exact nll and the noise they stand on, where p(x) and p(z|x) are known."""

import math

import pytest
import torch
from metrics_standins import (
    LinearGaussian,
    batch_of,
    observations,
    random_posteriors,
    sequence_model,
    texts,
)
from torch.distributions import Normal, kl_divergence
from torch.testing import assert_close

from hf_seqvae.metrics import (
    LanguageModel,
    LatentVariableModel,
    RowNoise,
    SequenceModel,
    exact_nll,
    reconstruction_nll,
    row_noise,
    sample_with_noise,
    sampled_elbo_terms,
)
from hf_seqvae.model.modeling_lstm import SeqVAELSTMForCausalLM
from hf_seqvae.model.posterior import DiagonalGaussian
from hf_seqvae.oracles import LinearVAEConfig, LinearVAEModel


@pytest.fixture
def batch():
    return observations(5)


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
    divergence = kl_divergence(*(Normal(d.mean, (0.5 * d.logvar).exp()) for d in (q, p))).sum(1)
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


def test_reconstruction_averages_over_samples_and_has_no_kl_in_it(batch):
    model = LinearGaussian()
    latents = torch.stack([torch.zeros(5, 2), torch.ones(5, 2)]).double()
    scale = math.sqrt(model.variance)
    by_hand = [
        -Normal(z @ model.weight.T + model.bias, scale).log_prob(batch["x"]).sum(-1)
        for z in latents
    ]
    assert_close(reconstruction_nll(model, batch, latents), (by_hand[0] + by_hand[1]) / 2)


def test_elbo_terms_of_a_sequence_model_are_those_of_its_loss():
    model, batch = sequence_model(), batch_of(texts(5))
    with torch.no_grad():
        nll, kl = sampled_elbo_terms(model, batch, noise=torch.zeros(1, 5, 3))
        output = model(**batch)  # in eval mode z is the posterior mean, as where the noise is zero
    assert_close(nll, output.reconstruction_nll)
    assert_close(kl, output.kl.sum(1))


def test_elbo_terms_draw_one_sample_where_nothing_is_said(batch):
    model = LinearGaussian()
    nll, _ = sampled_elbo_terms(model, batch, generator=torch.Generator().manual_seed(5))
    latents = model.posterior(batch).rsample(1, generator=torch.Generator().manual_seed(5))
    assert_close(nll, -model.log_likelihood(batch, latents)[0])


def test_exact_nll_is_that_of_the_model_without_latents():
    class Coin:
        def log_prob(self, batch):
            return -batch["tosses"] * math.log(2)

    nll = exact_nll(Coin(), {"tosses": torch.tensor([1.0, 3.0])})
    assert_close(nll, torch.tensor([math.log(2), math.log(8)]))


# the protocols


def test_models_fit_the_protocol_that_is_theirs():
    sequence = sequence_model()
    language = SeqVAELSTMForCausalLM(
        type(sequence.config.decoder)(vocab_size=5, embedding_size=2, hidden_size=2)
    )
    linear = LinearVAEModel(LinearVAEConfig(input_size=3, latent_size=2))
    fits = {
        protocol.__name__: [
            isinstance(model, protocol) for model in (sequence, language, linear, LinearGaussian())
        ]
        for protocol in (LatentVariableModel, SequenceModel, LanguageModel)
    }
    assert fits == {
        "LatentVariableModel": [True, False, True, True],
        "SequenceModel": [True, False, False, False],
        "LanguageModel": [False, True, False, False],
    }


# noise


def test_noise_drawn_in_parts_is_the_noise_drawn_at_once():
    rows = [3, 0, 17]
    parts, whole = RowNoise(rows, 4, seed=2), RowNoise(rows, 4, seed=2).draw(5)
    assert torch.equal(torch.cat([parts.draw(2), parts.draw(3)]), whole)
    assert torch.equal(row_noise(rows, 5, 4, seed=2), whole)


def test_a_seed_and_a_row_are_no_interchangeable_keys():
    one_two, two_one = row_noise([2], 1, 8, seed=1), row_noise([1], 1, 8, seed=2)
    assert not torch.isclose(one_two, two_one).any()


def test_a_negative_row_is_refused():
    with pytest.raises(ValueError, match="rows must be 0 or more, got -2"):
        RowNoise([0, -2], 3, seed=0)


def test_samples_with_noise_have_the_posteriors_moments():
    mean, logvar, _ = random_posteriors(2, 3)
    noise = row_noise(range(2), 20_000, 3, seed=0)
    latents = sample_with_noise(DiagonalGaussian(mean, logvar), noise)
    deviation = (0.5 * logvar).exp()
    assert (((latents.mean(0) - mean) / deviation).abs() < 4 / 20_000**0.5).all()
    assert ((latents.std(0) / deviation - 1).abs() < 4 / 40_000**0.5).all()


def test_samples_have_the_posteriors_dtype():
    q = DiagonalGaussian(torch.zeros(2, 3), torch.zeros(2, 3))
    assert sample_with_noise(q, row_noise(range(2), 1, 3, seed=0)).dtype == torch.float32
    q = DiagonalGaussian(q.mean.double(), q.logvar.double())
    assert sample_with_noise(q, row_noise(range(2), 1, 3, seed=0)).dtype == torch.float64
