"""Use of the latents: against loops, torch.distributions and cases whose answer is known."""

import math

import pytest
import torch
from torch.distributions import Normal, kl_divergence
from torch.testing import assert_close

from hf_seqvae.metrics import (
    active_units,
    exchange_partners,
    kl_per_dimension,
    mutual_information,
    pointwise_mutual_information,
    swap_gap,
)


def random_posteriors(count: int, size: int, *, seed: int = 0, samples: int = 1, offset=0.0):
    generator = torch.Generator().manual_seed(seed)
    mean = torch.randn(count, size, generator=generator, dtype=torch.float64) + offset
    logvar = torch.randn(count, size, generator=generator, dtype=torch.float64) - 1
    noise = torch.randn(samples, count, size, generator=generator, dtype=torch.float64)
    return mean, logvar, mean + (0.5 * logvar).exp() * noise


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


@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_mutual_information_agrees_with_a_double_loop(offset):
    mean, logvar, latents = random_posteriors(9, 3, samples=2, offset=offset)
    expected = information_by_loops(mean, logvar, latents)
    assert float(mutual_information(mean, logvar, latents)) == pytest.approx(expected, abs=1e-9)


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


def test_mutual_information_of_one_sentence_is_refused():
    with pytest.raises(ValueError, match="2 or more sentences, got 1"):
        mutual_information(torch.zeros(1, 2), torch.zeros(1, 2), torch.zeros(1, 2))


def test_latents_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"latents must be .* got \(1, 4, 3\)"):
        mutual_information(torch.zeros(4, 2), torch.zeros(4, 2), torch.zeros(4, 3))


def test_kl_per_dimension_agrees_with_torch_distributions():
    mean, logvar, _ = random_posteriors(6, 4)
    expected = kl_divergence(Normal(mean, (0.5 * logvar).exp()), Normal(0.0, 1.0)).mean(0)
    assert_close(kl_per_dimension(mean, logvar), expected)


def test_active_units_use_the_unbiased_variance_and_include_the_threshold():
    # two sentences at +-a: the unbiased variance is 2 a^2, the biased one a^2
    mean = torch.tensor([[0.08, 0.05, 0.0625], [-0.08, -0.05, -0.0625]], dtype=torch.float64)
    assert active_units(mean) == 1
    assert active_units(mean, threshold=2 * 0.0625**2) == 2


def test_active_units_of_one_sentence_are_refused():
    with pytest.raises(ValueError, match="2 or more, got 1"):
        active_units(torch.zeros(1, 3))


@pytest.mark.parametrize("count", [2, 3, 10, 101])
def test_exchange_gives_every_sentence_to_exactly_one_other(count):
    partners = exchange_partners(count, seed=0)
    assert sorted(partners.tolist()) == list(range(count))
    assert (partners != torch.arange(count)).all()
    assert torch.equal(partners, exchange_partners(count, seed=0))


def test_exchange_differs_with_the_seed_and_is_no_mere_shift():
    first, second = exchange_partners(100, seed=0), exchange_partners(100, seed=1)
    assert not torch.equal(first, second)
    assert len(((first - torch.arange(100)) % 100).unique()) > 20


def test_exchange_needs_two_sentences():
    with pytest.raises(ValueError, match="2 or more sentences, got 1"):
        exchange_partners(1, seed=0)


class Identity:
    """log p(x|z) = -|x - z|^2."""

    def log_likelihood(self, batch, latents):
        return -(batch["x"] - latents).square().sum(-1)


def test_swap_gap_is_what_the_exchanged_latents_cost():
    batch = {"x": torch.tensor([[0.0], [3.0]])}
    exchanged = torch.tensor([[[3.0], [0.0]], [[1.0], [3.0]]])  # (2, 2, 1)
    gap = swap_gap(Identity(), batch, exchanged=exchanged, own_nll=torch.tensor([1.0, 0.0]))
    assert gap.tolist() == [(9 + 1) / 2 - 1, 9 / 2]
