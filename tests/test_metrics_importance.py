"""Importance-weighted likelihood: against exact p(x), and the same whatever is decoded at once."""

import math
from types import SimpleNamespace

import pytest
import torch
from metrics_standins import (
    LinearGaussian,
    Z,
    batch_of,
    observations,
    sequence_model,
    texts,
)
from torch.distributions import Normal, kl_divergence
from torch.testing import assert_close

from hf_seqvae.metrics import (
    ImportanceSums,
    importance_estimate,
    importance_from_log_weights,
    importance_log_weights,
    iw_nll,
    row_noise,
    sample_with_noise,
    sampled_elbo_terms,
)
from hf_seqvae.model.posterior import DiagonalGaussian


@pytest.fixture(scope="module")
def sequences():
    with torch.no_grad():
        yield sequence_model()


def wrong_posterior(model: LinearGaussian, batch, *, shift=0.3):
    """Off the exact posterior in mean as in width; wider, so that weights have a variance."""
    q = model.posterior(batch)
    return DiagonalGaussian(q.mean + shift, q.logvar + 0.4)


# whatever is decoded at once


@pytest.mark.parametrize("chunk", [1, 2, 3, 7, 8, 100])
def test_the_chunk_of_samples_changes_nothing(chunk):
    model, batch = LinearGaussian(widen=0.5), observations(6)
    whole, parts = (importance_estimate(model, batch, 7, size) for size in (None, chunk))
    assert_close(parts.nll, whole.nll, rtol=0, atol=1e-10)
    assert_close(parts.effective_sample_size, whole.effective_sample_size, rtol=0, atol=1e-10)


@pytest.mark.parametrize("chunk", [1, 3, 7, 100])
def test_the_chunk_changes_nothing_for_a_sequence_model(sequences, chunk):
    batch = batch_of(texts(5))
    whole, parts = iw_nll(sequences, batch, 7), iw_nll(sequences, batch, 7, chunk)
    assert_close(parts, whole, rtol=0, atol=1e-5)


def test_rows_alone_give_what_they_give_together_and_shuffled():
    model, batch = LinearGaussian(widen=0.5), observations(6)
    together = iw_nll(model, batch, 5, seed=3)
    order = [4, 0, 5, 2]
    shuffled = iw_nll(model, {"x": batch["x"][order]}, 5, 2, seed=3, rows=order)
    assert_close(shuffled, together[order], rtol=0, atol=1e-10)
    for row in range(6):
        alone = iw_nll(model, {"x": batch["x"][[row]]}, 5, seed=3, rows=[row])
        assert_close(alone[0], together[row], rtol=0, atol=1e-10)


def test_neither_batch_nor_padding_changes_a_sentence_of_a_sequence_model(sequences):
    sentences = texts(6)
    together = iw_nll(sequences, batch_of(sentences, extra=3), 9, 4)
    order = [5, 1, 3]
    shuffled = iw_nll(sequences, batch_of([sentences[i] for i in order]), 9, rows=order)
    assert_close(shuffled, together[order], rtol=0, atol=1e-5)
    for row, text in enumerate(sentences):
        alone = iw_nll(sequences, batch_of([text]), 9, 2, rows=[row])
        assert_close(alone[0], together[row], rtol=0, atol=1e-5)


def test_rows_are_numbered_by_their_place_unless_told(sequences):
    batch = batch_of(texts(3))
    named = iw_nll(sequences, batch, 2, rows=[0, 1, 2])
    assert torch.equal(iw_nll(sequences, batch, 2), named)
    assert not torch.isclose(iw_nll(sequences, batch, 2, rows=[3, 4, 5]), named).any()
    assert not torch.isclose(iw_nll(sequences, batch, 2, seed=1), named).any()


def test_a_posterior_that_is_known_is_not_encoded_again(sequences, monkeypatch):
    batch = batch_of(texts(3))
    expected, posterior = iw_nll(sequences, batch, 4), sequences.posterior(batch)
    monkeypatch.setattr(sequences, "posterior", None)
    assert torch.equal(iw_nll(sequences, batch, 4, posterior=posterior), expected)


def test_exactly_k_samples_are_decoded_at_most_a_chunk_at_once():
    class Counting(LinearGaussian):
        sizes = []

        def log_likelihood(self, batch, latents):
            self.sizes.append(len(latents))
            return super().log_likelihood(batch, latents)

    iw_nll(Counting(), observations(2), 8, 3)
    assert Counting.sizes == [3, 3, 2]


# what it is


def test_it_is_a_plain_loop_over_samples(sequences):
    sentences, num_samples = texts(4), 5
    found = iw_nll(sequences, batch_of(sentences), num_samples, 2, seed=11)
    for row, text in enumerate(sentences):
        batch = batch_of([text])
        q = sequences.posterior(batch)
        deviation = (0.5 * q.logvar).exp()
        weights = []
        for noise in row_noise([row], num_samples, Z, seed=11):
            z = q.mean + deviation * noise
            log_weight = float(sequences.log_likelihood(batch, z[None]))
            log_weight += float(Normal(0.0, 1.0).log_prob(z).sum())
            log_weight -= float(Normal(q.mean, deviation).log_prob(z).sum())
            weights.append(log_weight)
        largest = max(weights)
        total = sum(math.exp(weight - largest) for weight in weights)
        nll = -(largest + math.log(total / num_samples))
        assert float(found[row]) == pytest.approx(nll, abs=2e-5)


def test_one_sample_is_the_sampled_bound_with_its_divergence_sampled_too():
    model, batch = LinearGaussian(widen=0.5), observations(5)
    noise = row_noise(range(5), 1, 2, seed=0)
    nll, _ = sampled_elbo_terms(model, batch, noise=noise)
    q = model.posterior(batch)
    z = sample_with_noise(q, noise)
    sampled_kl = (q.log_prob(z) - model.prior().log_prob(z))[0]
    assert_close(iw_nll(model, batch, 1), nll + sampled_kl, rtol=0, atol=1e-10)


def test_log_weights_are_those_of_the_joint_under_torch_distributions():
    model, batch = LinearGaussian(), observations(5)
    q = wrong_posterior(model, batch)
    z = sample_with_noise(q, row_noise(range(5), 3, 2, seed=0))
    likelihood = Normal(z @ model.weight.T + model.bias, math.sqrt(model.variance))
    joint = likelihood.log_prob(batch["x"]).sum(-1) + Normal(0.0, 1.0).log_prob(z).sum(-1)
    expected = joint - Normal(q.mean, (0.5 * q.logvar).exp()).log_prob(z).sum(-1)
    found = importance_log_weights(model, q, z, model.log_likelihood(batch, z))
    assert_close(found, expected, rtol=0, atol=1e-10)


def test_log_weights_of_a_float32_model_have_their_densities_in_float64():
    generator = torch.Generator().manual_seed(0)
    mean, logvar = 0.4 * torch.randn(2, 5, 64, generator=generator)
    prior = DiagonalGaussian(torch.zeros(64), torch.zeros(64))
    q, model = DiagonalGaussian(mean, logvar), SimpleNamespace(prior=lambda: prior)
    z = sample_with_noise(q, row_noise(range(5), 20, 64, seed=0))
    wide = Normal(mean.double(), (0.5 * logvar.double()).exp()).log_prob(z.double())
    expected = (Normal(0.0, 1.0).log_prob(z.double()) - wide).sum(-1)
    found = importance_log_weights(model, q, z, torch.zeros(20, 5))
    # each density is about -90 nats, which float32 holds to 1e-5
    assert_close(found, expected, rtol=0, atol=2e-6)


def test_the_exact_posterior_gives_the_exact_answer_from_one_sample_and_wastes_none():
    model, batch = LinearGaussian(), observations(5)
    for num_samples in (1, 10):
        found = importance_estimate(model, batch, num_samples, 4)
        assert_close(found.nll, -model.evidence(batch), rtol=0, atol=1e-10)
        size = torch.full((5,), float(num_samples), dtype=torch.float64)
        assert_close(found.effective_sample_size, size, rtol=1e-10, atol=0)
    seeds = [iw_nll(model, batch, 1, seed=seed) for seed in range(3)]
    assert torch.stack(seeds).std(0).max() < 1e-10


@pytest.mark.parametrize("num_samples", [1, 3, 10])
def test_the_estimated_likelihood_is_unbiased_under_a_wrong_posterior(num_samples):
    model, batch = LinearGaussian(), observations(4000)
    q = wrong_posterior(model, batch)
    nll = iw_nll(model, batch, num_samples, 4, posterior=q)
    ratio = (-nll - model.evidence(batch)).exp()
    error = float(ratio.std() / math.sqrt(4000))
    assert error < 0.02
    assert abs(float(ratio.mean()) - 1) < 3 * error
    assert (nll + model.evidence(batch)).mean() > 5 * error  # the log of it is biased upwards


def test_it_falls_in_k_from_the_bound_towards_the_exact_answer():
    model, batch = LinearGaussian(), observations(2000)
    q, p = wrong_posterior(model, batch), model.posterior(batch)
    nlls = [iw_nll(model, batch, k, 16, posterior=q) for k in (1, 2, 4, 16, 64)]
    gaps = [nll + model.evidence(batch) for nll in nlls]  # (N,) each
    means = [float(gap.mean()) for gap in gaps]
    assert means == sorted(means, reverse=True)
    assert 0 < means[-1] < 0.05 * means[0]
    # at K = 1 the gap is log of exact over approximate posterior, whose mean is their divergence
    bound_gap = kl_divergence(*(Normal(d.mean, (0.5 * d.logvar).exp()) for d in (q, p))).sum(1)
    assert abs(means[0] - float(bound_gap.mean())) < 3 * float(gaps[0].std()) / math.sqrt(2000)


def test_more_samples_lower_a_sequence_models_mean(sequences):
    batch = batch_of(texts(200))
    means = [float(iw_nll(sequences, batch, k, 5).mean()) for k in (1, 5, 25)]
    assert means[0] > means[1] > means[2]


def test_the_first_samples_are_the_same_when_more_are_drawn():
    model, batch = LinearGaussian(widen=0.5), observations(3)
    noise = row_noise(range(3), 6, 2, seed=4)
    for k in (1, 4, 6):
        z = sample_with_noise(model.posterior(batch), noise[:k])
        weights = importance_log_weights(
            model, model.posterior(batch), z, model.log_likelihood(batch, z)
        )
        expected = math.log(k) - weights.logsumexp(0)
        assert_close(iw_nll(model, batch, k, 2, seed=4), expected, rtol=0, atol=1e-10)


# sums of weights


def test_sums_in_parts_are_those_of_all_at_once():
    weights = 30 * torch.randn(11, 4, generator=torch.Generator().manual_seed(0))
    sums = ImportanceSums()
    for part in weights.split([5, 1, 3, 2]):
        sums.add(part)
    whole = importance_from_log_weights(weights)
    assert sums.num_samples == 11
    assert_close(sums.estimate().nll, whole.nll, rtol=0, atol=1e-12)
    assert_close(sums.estimate().effective_sample_size, whole.effective_sample_size)


def test_the_estimate_of_weights_one_two_three_by_hand():
    found = importance_from_log_weights(torch.tensor([[1.0], [2.0], [3.0]]).double().log())
    assert float(found.nll) == pytest.approx(-math.log((1 + 2 + 3) / 3))
    assert float(found.effective_sample_size) == pytest.approx((1 + 2 + 3) ** 2 / (1 + 4 + 9))


@pytest.mark.parametrize("level", [-1e4, 1e4])
def test_extreme_weights_neither_underflow_nor_overflow(level):
    weights = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64).log().unsqueeze(1)
    near, far = importance_from_log_weights(weights), importance_from_log_weights(weights + level)
    assert float(far.nll) == pytest.approx(float(near.nll) - level, abs=1e-9)
    assert_close(far.effective_sample_size, near.effective_sample_size, rtol=1e-8, atol=0)


def test_one_sample_that_outweighs_all_leaves_an_effective_size_of_one():
    found = importance_from_log_weights(torch.tensor([[0.0], [-800.0], [-900.0], [-1e5]]))
    assert float(found.effective_sample_size) == 1.0
    assert float(found.nll) == pytest.approx(math.log(4))


def test_an_effective_sample_size_lies_between_one_and_k(sequences):
    size = importance_estimate(sequences, batch_of(texts(20)), 8).effective_sample_size
    assert (size > 1 - 1e-9).all()
    assert (size < 8 + 1e-9).all()


# bad input


@pytest.mark.parametrize("num_samples", [0, -1])
def test_no_sample_is_refused(num_samples):
    with pytest.raises(
        ValueError, match=rf"num_samples \(K\) must be 1 or more, got {num_samples}"
    ):
        iw_nll(LinearGaussian(), observations(2), num_samples)


@pytest.mark.parametrize("chunk", [0, -2])
def test_an_empty_chunk_is_refused(chunk):
    with pytest.raises(ValueError, match=f"chunk_size must be 1 or more, got {chunk}"):
        iw_nll(LinearGaussian(), observations(2), 3, chunk)


def test_no_weights_are_refused():
    with pytest.raises(ValueError, match="at least one sample, got none"):
        importance_from_log_weights(torch.zeros(0, 3))
    with pytest.raises(ValueError, match="at least one sample, got none"):
        ImportanceSums().estimate()


def test_rows_that_do_not_fit_the_batch_are_refused():
    with pytest.raises(ValueError, match=r"noise must be \(S, 2, 2\), got \(3, 1, 2\)"):
        iw_nll(LinearGaussian(), observations(2), 3, rows=[7])


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_logvar_that_is_not_finite_spoils_its_own_sentence_and_no_other(value):
    model, batch = LinearGaussian(), observations(3)
    q, exact = model.posterior(batch), -model.evidence(batch)
    logvar = q.logvar.clone()
    logvar[1, 0] = value
    found = iw_nll(model, batch, 4, 2, posterior=DiagonalGaussian(q.mean, logvar))
    assert not found[1].isfinite()
    assert_close(found[[0, 2]], exact[[0, 2]], rtol=0, atol=1e-10)
