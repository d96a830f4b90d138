"""Mutual information: against mixtures of torch.distributions, and where it is known exactly."""

import math

import pytest
import torch
from metrics_standins import random_posteriors
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal
from torch.testing import assert_close

from hf_seqvae.metrics import (
    closed_form_mutual_information,
    kl_per_dimension,
    minibatch_cap,
    minibatch_mutual_information,
    mutual_information,
    pointwise_mutual_information,
)
from hf_seqvae.metrics.mutual_information import pointwise_closed_form_information


def posteriors(mean, logvar):
    return Independent(Normal(mean.double(), (0.5 * logvar.double()).exp()), 1)


def aggregate(mean, logvar):
    """q(z), the even mixture of N posteriors."""
    weights = torch.zeros(len(mean), dtype=torch.float64)
    return MixtureSameFamily(Categorical(logits=weights), posteriors(mean, logvar))


def information_by_mixture(mean, logvar, latents):
    """log q(z_i|x_i) - log q(z_i) of each sentence at samples (S, N, Z), averaged over S: (N,)."""
    own = posteriors(mean, logvar).log_prob(latents)
    return (own - aggregate(mean, logvar).log_prob(latents)).mean(0)


def information_by_loops(mean, logvar, latents):
    """Mean over s, i of log q(z_i|x_i) - log 1/N sum_j q(z_i|x_j), one pair at a time."""
    total = 0.0
    for sample in latents:
        for i, z in enumerate(sample):
            densities = [
                Normal(mean[j], (0.5 * logvar[j]).exp()).log_prob(z).sum() for j in range(len(mean))
            ]
            mixture = torch.logsumexp(torch.stack(densities), 0) - math.log(len(mean))
            total += float(densities[i] - mixture)
    return total / latents.shape[0] / latents.shape[1]


# against the aggregate of all


@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_mutual_information_agrees_with_a_double_loop(offset):
    mean, logvar, latents = random_posteriors(9, 3, samples=2, offset=offset)
    expected = information_by_loops(mean, logvar, latents)
    assert float(mutual_information(mean, logvar, latents)) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("samples", [1, 3])
def test_each_sentences_information_agrees_with_a_mixture_distribution(samples):
    mean, logvar, latents = random_posteriors(60, 4, samples=samples)
    found = pointwise_mutual_information(mean, logvar, latents)
    assert_close(found, information_by_mixture(mean, logvar, latents), rtol=0, atol=1e-10)
    assert_close(mutual_information(mean, logvar, latents), found.mean())


def test_one_sample_may_come_without_its_axis():
    mean, logvar, latents = random_posteriors(7, 2)
    bare = pointwise_mutual_information(mean, logvar, latents[0])
    assert torch.equal(bare, pointwise_mutual_information(mean, logvar, latents))


@pytest.mark.parametrize("max_pairs", [1, 9, 30, 10_000])
def test_mutual_information_does_not_depend_on_the_pairs_held_at_once(max_pairs):
    mean, logvar, latents = random_posteriors(9, 3)
    whole = pointwise_mutual_information(mean, logvar, latents)
    parts = pointwise_mutual_information(mean, logvar, latents, max_pairs=max_pairs)
    assert_close(parts, whole, rtol=0, atol=1e-12)


def test_mutual_information_of_equal_posteriors_is_zero_without_noise():
    _, _, latents = random_posteriors(40, 4)
    mean = torch.full((40, 4), 0.7)
    logvar = torch.tensor([0.3, -2.0, 0.0, 1.0]).expand(40, 4)
    information = pointwise_mutual_information(mean, logvar, latents[0])
    assert_close(information, torch.zeros(40, dtype=torch.float64), rtol=0, atol=1e-12)


def test_mutual_information_counts_well_separated_groups():
    _, _, latents = random_posteriors(12, 2, seed=1)
    groups = torch.arange(12) % 3
    mean = torch.stack([100.0 * groups, torch.zeros(12)], dim=1)
    z = mean + 0.1 * (latents[0] - latents[0].mean())
    information = mutual_information(mean, torch.full((12, 2), -2.0), z)
    assert float(information) == pytest.approx(math.log(3), abs=1e-9)


@pytest.mark.parametrize("logvar", [-2.0, -12.0, -30.0])
def test_mutual_information_reaches_ln_n_and_never_passes_it(logvar):
    generator = torch.Generator().manual_seed(0)
    mean = 100 * torch.randn(50, 3, generator=generator)
    z = mean + math.exp(0.5 * logvar) * torch.randn(50, 3, generator=generator)
    information = pointwise_mutual_information(mean, torch.full((50, 3), logvar), z)
    assert (information <= math.log(50) + 1e-12).all()
    assert float(information.mean()) == pytest.approx(math.log(50), abs=1e-3)


def test_mutual_information_is_below_the_mean_kl():
    # E KL(q(z|x) || p) = MI + KL(q(z) || p)
    mean, logvar, latents = random_posteriors(300, 2, samples=4)
    assert mutual_information(mean, logvar, latents) < kl_per_dimension(mean, logvar).sum()


def test_mutual_information_of_a_gaussian_channel_is_half_a_log_of_signal_to_noise():
    # z = mean + noise with means N(0, s^2): 0.5 ln(1 + s^2 / v) nats a dimension
    generator = torch.Generator().manual_seed(0)
    mean = 0.5 * torch.randn(1500, 2, generator=generator, dtype=torch.float64)
    variance = torch.tensor([0.5, 2.0], dtype=torch.float64)
    noise = torch.randn(4, 1500, 2, generator=generator, dtype=torch.float64)
    latents = mean + variance.sqrt() * noise
    expected = 0.5 * float(torch.log1p(0.25 / variance).sum())
    found = float(mutual_information(mean, variance.log().expand(1500, 2), latents))
    assert found == pytest.approx(expected, rel=0.1)


# within batches


def test_within_batches_it_is_the_estimate_of_each_batch():
    mean, logvar, latents = random_posteriors(11, 3, samples=2)
    found = minibatch_mutual_information(mean, logvar, latents, batch_size=4)
    parts = [
        information_by_mixture(mean[rows], logvar[rows], latents[:, rows])
        for rows in (slice(0, 4), slice(4, 8), slice(8, 11))
    ]
    assert_close(found, torch.cat(parts), rtol=0, atol=1e-10)


def test_within_one_batch_of_all_it_is_the_estimate_over_all():
    mean, logvar, latents = random_posteriors(11, 3)
    found = minibatch_mutual_information(mean, logvar, latents[0], batch_size=32)
    assert torch.equal(found, pointwise_mutual_information(mean, logvar, latents))


@pytest.mark.parametrize(("count", "last"), [(12, 4), (11, 3), (9, 1)])
def test_within_batches_it_is_at_most_the_log_of_each_ones_size(count, last):
    mean = 1000.0 * torch.arange(count)[:, None].expand(count, 2)
    found = minibatch_mutual_information(mean, torch.zeros(count, 2), mean, batch_size=4)
    sizes = [4] * (count - last) + [last] * last
    expected = torch.tensor(sizes, dtype=torch.float64).log()
    assert_close(found, expected, rtol=0, atol=1e-12)


# as the literature has it


def literature(mean, logvar, z):
    """E_q log q(z|x) by its entropy, less log q(z) at one sample, of a set of sentences."""
    return -posteriors(mean, logvar).entropy() - aggregate(mean, logvar).log_prob(z)


def test_the_literatures_estimate_is_its_formula_over_all():
    mean, logvar, (z,) = random_posteriors(20, 3)
    expected = literature(mean, logvar, z)
    found = pointwise_closed_form_information(mean, logvar, z)
    assert_close(found, expected, rtol=0, atol=1e-10)
    whole = closed_form_mutual_information(mean, logvar, z)
    assert whole == pytest.approx(float(expected.mean()))


def test_the_literatures_estimate_weighs_batches_by_their_size():
    mean, logvar, (z,) = random_posteriors(20, 3)
    order = torch.randperm(20, generator=torch.Generator().manual_seed(0))
    batches = order.split([9, 8, 2, 1])
    each = [literature(mean[rows], logvar[rows], z[rows]) for rows in batches]
    found = pointwise_closed_form_information(mean, logvar, z, batches=batches)
    assert_close(found, torch.cat(each), rtol=0, atol=1e-10)  # in the order of the batches
    whole = closed_form_mutual_information(mean, logvar, z, batches=batches)
    assert whole == pytest.approx(float(torch.cat(each).mean()))


def test_the_literatures_estimate_exceeds_its_cap_and_falls_below_zero_by_chance():
    mean = 1000.0 * torch.arange(8)[:, None].expand(8, 3)
    logvar, low, high = torch.zeros(8, 3), mean, mean + 2.0
    # samples nearer to their means than expected look less certain than their entropy says
    above, below = (
        closed_form_mutual_information(mean, logvar, z) - math.log(8) for z in (high, low)
    )
    assert above == pytest.approx(1.5 * (4 - 1))
    assert below == pytest.approx(-1.5)
    same = torch.zeros(8, 3)
    assert closed_form_mutual_information(same, logvar, same) == pytest.approx(-1.5)
    assert float(mutual_information(mean, logvar, high)) == pytest.approx(math.log(8))
    assert float(mutual_information(same, logvar, same)) == 0.0


def test_both_estimates_agree_on_average():
    mean, logvar, latents = random_posteriors(400, 3, samples=8)
    ours = [float(mutual_information(mean, logvar, z)) for z in latents]
    theirs = [closed_form_mutual_information(mean, logvar, z) for z in latents]
    difference = torch.tensor(theirs) - torch.tensor(ours)
    assert difference.mean().abs() < 4 * difference.std() / math.sqrt(8)
    assert torch.tensor(ours).std() < torch.tensor(theirs).std()


# bad input

ESTIMATES = [
    pointwise_mutual_information,
    mutual_information,
    minibatch_mutual_information,
    closed_form_mutual_information,
]


@pytest.mark.parametrize("estimate", ESTIMATES[:2])
def test_mutual_information_of_one_sentence_is_refused(estimate):
    with pytest.raises(ValueError, match="2 or more sentences, got 1"):
        estimate(torch.zeros(1, 2), torch.zeros(1, 2), torch.zeros(1, 2))


@pytest.mark.parametrize("estimate", ESTIMATES)
def test_no_sentences_are_refused(estimate):
    with pytest.raises(ValueError, match=r"at least one sentence, got \(0, 2\)"):
        estimate(torch.zeros(0, 2), torch.zeros(0, 2), torch.zeros(0, 2))


@pytest.mark.parametrize("estimate", ESTIMATES)
def test_shapes_that_do_not_fit_are_refused(estimate):
    with pytest.raises(ValueError, match=r"latents must be .* got \(1, 4, 3\)"):
        estimate(torch.zeros(4, 2), torch.zeros(4, 2), torch.zeros(4, 3))
    with pytest.raises(ValueError, match=r"latents must be .* got \(1, 6, 2\)"):
        estimate(torch.zeros(4, 2), torch.zeros(4, 2), torch.zeros(6, 2))
    with pytest.raises(ValueError, match=r"mean and logvar must both be .* \(4, 2\) and \(4, 1\)"):
        estimate(torch.zeros(4, 2), torch.zeros(4, 1), torch.zeros(4, 2))


def test_a_batch_of_one_and_several_samples_for_the_literature_are_refused():
    zeros = torch.zeros(4, 2)
    with pytest.raises(ValueError, match="2 or more sentences, got batch_size=1"):
        minibatch_mutual_information(zeros, zeros, zeros, batch_size=1)
    with pytest.raises(ValueError, match="one sample a sentence, got 2"):
        closed_form_mutual_information(zeros, zeros, torch.zeros(2, 4, 2))


@pytest.mark.parametrize("estimate", ESTIMATES[:3])
def test_a_posterior_that_is_not_finite_gives_no_number(estimate):
    mean, logvar, latents = random_posteriors(5, 2)
    logvar[2, 0] = math.nan
    assert not torch.isfinite(estimate(mean, logvar, latents)).any()


@pytest.mark.parametrize("count", [2, 31, 32, 33, 36, 64, 95])
def test_minibatch_cap_is_reached_where_all_posteriors_are_apart(count):
    mean = 1e3 * torch.arange(count, dtype=torch.float64)[:, None]
    logvar = torch.zeros_like(mean)
    information = minibatch_mutual_information(mean, logvar, mean).mean()
    assert float(information) == pytest.approx(minibatch_cap(count))
