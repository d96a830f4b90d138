"""LinearVAEModel: its terms against closed forms, its contract, its bad input."""

import math

import pytest
import torch
from huggingface_hub.errors import StrictDataclassError
from torch.distributions import MultivariateNormal, Normal, kl_divergence
from torch.testing import assert_close

from hf_seqvae.metrics import (
    LatentVariableModel,
    active_units,
    iw_nll,
    kl_per_dimension,
    row_noise,
    sampled_elbo_terms,
)
from hf_seqvae.oracles import (
    LinearVAEConfig,
    LinearVAEModel,
    VectorCollator,
    linear_vae_optimum,
    ppca_log_likelihood,
)

CASES = [(0.1, 1.0), (0.5, 1.0), (1.1, 1.0), (4.0, 1.0), (10.0, 1.0), (0.5, 2.0), (0.5, 0.5)]


def points(eigenvalues=(8.0, 3.0, 1.7, 0.9, 0.3, 0.1), seed=0):
    """2 D points in float64 with mean 0 and these eigenvalues, exactly; and their covariance."""
    generator = torch.Generator().manual_seed(seed)
    size = len(eigenvalues)
    axes, _ = torch.linalg.qr(torch.randn(size, size, generator=generator, dtype=torch.float64))
    half = axes * torch.tensor(eigenvalues, dtype=torch.float64).mul(size).sqrt()  # columns
    rows = torch.cat([half.T, -half.T])
    return rows, rows.T @ rows / len(rows)


def model(*, seed=0, **config):
    """Random weights in float64: nothing is at an optimum."""
    made = LinearVAEModel(LinearVAEConfig(**{"input_size": 6, "latent_size": 3} | config)).double()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in made.parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.copy_(0.5 * noise)
    return made


def both(inputs):
    return {"input_values": inputs, "labels": inputs}


def test_log_likelihood_and_kl_agree_with_torch_distributions():
    made, (inputs, _) = model(sigma2=0.7), points()
    latents = torch.randn(2, 12, 3, generator=torch.Generator().manual_seed(1)).double()
    mean = latents @ made.decoder.weight.T + made.mean
    expected = Normal(mean, math.sqrt(0.7)).log_prob(inputs).sum(-1)
    assert_close(made.log_likelihood(both(inputs), latents), expected)
    q = made.posterior(both(inputs))
    assert_close(q.mean, (inputs - made.mean) @ made.encoder.weight.T)
    normal = Normal(q.mean, (0.5 * q.logvar).exp())
    assert_close(q.kl(), kl_divergence(normal, Normal(torch.zeros(3).double(), 1.0)))
    standard = MultivariateNormal(torch.zeros(3).double(), torch.eye(3).double())
    assert_close(made.prior().log_prob(latents), standard.log_prob(latents))


def test_the_expected_reconstruction_is_the_mean_over_many_samples():
    made, (inputs, _) = model(sigma2=2.0), points()
    noise = row_noise(range(12), 40_000, 3, seed=0)
    with torch.no_grad():
        log_likelihood = made.log_likelihood(
            both(inputs),
            made.posterior(both(inputs)).mean + (0.5 * made.posterior_logvar).exp() * noise,
        )
        expected = -made.expected_reconstruction_nll(both(inputs))
    error = log_likelihood.std(0) / math.sqrt(40_000)
    assert ((log_likelihood.mean(0) - expected).abs() < 4 * error).all()


@pytest.mark.parametrize(("sigma2", "kl_weight"), CASES)
def test_a_loaded_optimum_has_its_elbo_and_rates_to_a_hundred_millionth(sigma2, kl_weight):
    inputs, cov = points()
    found = linear_vae_optimum(cov, 3, sigma2, kl_weight)
    made = LinearVAEModel(LinearVAEConfig(input_size=6, latent_size=3, sigma2=sigma2)).double()
    shift = torch.arange(6.0)
    made.load_optimum(found, mean=shift)
    batch = both(inputs + shift)
    with torch.no_grad():
        q = made.posterior(batch)
        elbo = -(made.expected_reconstruction_nll(batch) + q.kl().sum(1)).mean()
    assert abs(float(elbo) - found.elbo) <= 1e-8
    assert (kl_per_dimension(q.mean, q.logvar) - found.rates).abs().max() <= 1e-8
    assert active_units(q.mean) == found.active_units
    if kl_weight == 1.0:
        exact = ppca_log_likelihood(inputs + shift, made.decoder.weight.detach(), sigma2, shift)
        assert abs(float(exact.mean()) - found.elbo) <= 1e-8


def test_with_the_exact_posterior_one_importance_sample_is_the_exact_likelihood():
    """p(x, z) / q(z|x) is p(x) whatever z: there is no noise to average."""
    inputs, cov = points()
    made = LinearVAEModel(LinearVAEConfig(input_size=6, latent_size=3, sigma2=0.5)).double()
    made.load_optimum(linear_vae_optimum(cov, 3, 0.5))
    with torch.no_grad():
        exact = -ppca_log_likelihood(inputs, made.decoder.weight, 0.5)
        assert_close(iw_nll(made, both(inputs), 1), exact)


def test_eval_decodes_from_the_mean_and_train_from_a_sample():
    made, (inputs, _) = model(), points()
    made.eval()
    output = made(**both(inputs))
    assert torch.equal(output.latents, output.posterior_mean)
    nll, kl = sampled_elbo_terms(made, both(inputs), noise=torch.zeros(1, 12, 3))
    assert_close(output.reconstruction_nll, nll)
    assert_close(output.kl.sum(1), kl)
    assert not torch.equal(made(**both(inputs), sample_posterior=True).latents, output.latents)
    made.train()
    assert not torch.equal(made(**both(inputs)).latents, output.latents)
    assert torch.equal(made(**both(inputs), sample_posterior=False).latents, output.latents)


def test_an_analytic_elbo_is_the_same_in_every_mode_and_draws_nothing():
    made, (inputs, _) = model(analytic_elbo=True), points()
    state = torch.get_rng_state()
    terms = [made.train(mode)(**both(inputs)).reconstruction_nll for mode in (True, False)]
    assert torch.equal(*terms)
    assert torch.equal(state, torch.get_rng_state())
    assert_close(terms[0], made.expected_reconstruction_nll(both(inputs)))


@pytest.mark.parametrize(("normalization", "items"), [("token", 12 * 6), ("sequence", 12)])
def test_the_loss_is_the_negative_elbo_at_the_kl_weight(normalization, items):
    made = model(kl_weight=0.3, loss_normalization=normalization).eval()
    inputs, _ = points()
    output = made(**both(inputs))
    total = output.reconstruction_nll.sum() + 0.3 * output.kl.sum()
    assert_close(output.loss, total / items)
    assert_close(made(**both(inputs), num_items_in_batch=10).loss, total / 10)
    heavier = output.reconstruction_nll.sum() + 2.0 * output.kl.sum()
    assert_close(made(**both(inputs), kl_weight=2.0).loss, heavier / items)
    assert output.num_tokens.tolist() == [6] * 12


def test_numbers_that_are_not_scored_weigh_nothing():
    made, (inputs, _) = model().eval(), points()
    labels = inputs.clone()
    labels[0] = -100.0
    labels[1, 2:] = -100.0
    output = made(input_values=inputs, labels=labels)
    assert output.num_tokens.tolist() == [0, 2, *[6] * 10]
    assert float(output.reconstruction_nll[0].detach()) == 0.0
    mean = output.latents @ made.decoder.weight.T + made.mean
    expected = -Normal(mean[1, :2], 1.0).log_prob(inputs[1, :2]).sum()
    assert_close(output.reconstruction_nll[1], expected)
    kept = output.reconstruction_nll[1:].sum() + output.kl[1:].sum()
    assert_close(output.loss, kept / (2 + 60))


def test_latents_in_place_of_inputs_are_scored_without_a_loss():
    made, (inputs, _) = model(), points()
    latents = torch.ones(12, 3, dtype=torch.float64)
    output = made(latents=latents, labels=inputs)
    expected = -made.log_likelihood(both(inputs), latents[None])[0]
    assert_close(output.reconstruction_nll, expected)
    assert output.loss is None
    assert output.kl is None


def test_the_estimators_protocol_is_kept():
    assert isinstance(model(), LatentVariableModel)


@pytest.mark.parametrize("learn_sigma2", [False, True])
def test_saved_and_loaded_it_is_the_same_model(tmp_path, learn_sigma2):
    made = model(sigma2=0.7, learn_sigma2=learn_sigma2, kl_weight=0.3, analytic_elbo=True)
    made.save_pretrained(tmp_path)
    loaded = LinearVAEModel.from_pretrained(tmp_path)
    assert loaded.dtype == torch.float64
    kept, before = loaded.config.to_diff_dict(), made.config.to_diff_dict()
    assert {name: kept[name] for name in before} == before
    batch = both(points()[0])
    assert torch.equal(loaded(**batch).loss, made(**batch).loss)
    assert loaded.sigma2 == made.sigma2
    assert ("log_sigma2" in loaded.state_dict()) == learn_sigma2


def test_fresh_weights_start_away_from_the_saddle_at_the_prior():
    made = LinearVAEModel(LinearVAEConfig(sigma2=0.7, learn_sigma2=True))
    assert float(made.sigma2.detach()) == pytest.approx(0.7)
    assert made.decoder.weight.abs().mean() > 0.05
    assert made.posterior_logvar.tolist() == [0.0] * 12
    assert made.mean.tolist() == [0.0] * 30


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("input_size", 0, "input_size must be at least 1"),
        ("latent_size", 31, "latent_size must be at most input_size"),
        ("sigma2", 0.0, "sigma2 must be finite and positive"),
        ("kl_weight", -1.0, "kl_weight must be finite and not negative"),
        ("kl_weight", math.inf, "kl_weight must be finite and not negative"),
        ("loss_normalization", "batch", "loss_normalization"),
        ("latent_size", "12", "latent_size"),
    ],
)
def test_a_wrong_config_is_refused_by_name(field, value, message):
    with pytest.raises(StrictDataclassError, match=message):
        LinearVAEConfig(**{field: value})


def test_bad_input_is_refused():
    made, (inputs, cov) = model(), points()
    with pytest.raises(ValueError, match="either input_values or latents"):
        made(labels=inputs)
    with pytest.raises(ValueError, match="nothing to score"):
        made(latents=torch.ones(12, 3))
    with pytest.raises(ValueError, match=r"latents must be \(S, 12, 3\)"):
        made.log_likelihood(both(inputs), torch.ones(12, 3))
    with pytest.raises(ValueError, match="optimum is that of sigma2=0.5"):
        made.load_optimum(linear_vae_optimum(cov, 3, 0.5))
    with pytest.raises(ValueError, match=r"W of \(6, 2\)"):
        made.load_optimum(linear_vae_optimum(cov, 2, 1.0))


def test_rows_are_collated_to_the_default_dtype():
    rows = [{"input_values": [1.0, 2.0], "labels": [3.0, 4.0], "length": 2}] * 2
    batch = VectorCollator()(rows)
    assert sorted(batch) == ["input_values", "labels"]
    assert batch["labels"].tolist() == [[3.0, 4.0], [3.0, 4.0]]
    assert batch["labels"].dtype == torch.float32
