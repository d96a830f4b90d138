"""Use of the latents: against tables by hand, torch.distributions and known answers."""

import math

import pytest
import torch
from metrics_standins import Z, batch_of, deaf, random_posteriors, sequence_model, texts
from torch.distributions import Normal, kl_divergence
from torch.testing import assert_close

from hf_seqvae.metrics import (
    active_units,
    collapse_curve,
    exchange_partners,
    kl_per_dimension,
    reconstruction_nll,
    swap_gap,
    used_fraction,
)


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


def test_swap_gap_of_a_decoder_that_ignores_its_latents_is_zero():
    model, batch = deaf(sequence_model()), batch_of(texts(4))
    with torch.no_grad():
        own, other = torch.randn(2, 3, 4, Z, generator=torch.Generator().manual_seed(0))
        gap = swap_gap(model, batch, exchanged=other, own_nll=reconstruction_nll(model, batch, own))
    assert_close(gap, torch.zeros(4), rtol=0, atol=1e-5)


# bad input: empty, undefined


def test_the_kl_of_no_sentences_is_refused():
    with pytest.raises(ValueError, match="no sentences is undefined"):
        kl_per_dimension(torch.zeros(0, 3), torch.zeros(0, 3))


def test_active_units_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"mean must be \(N, Z\), got \(4,\)"):
        active_units(torch.zeros(4))


# the share of the rate that is used


def test_used_fraction_is_information_over_rate_and_lies_between_zero_and_one():
    assert used_fraction(1.5, 6.0, 10_000) == (0.25, None)
    assert used_fraction(0.07, 0.06, 10_000) == (1.0, None)
    assert used_fraction(-0.01, 0.06, 10_000) == (0.0, None)


def test_used_fraction_is_undefined_below_a_twentieth_of_a_nat():
    assert used_fraction(0.025, 0.05, 1000) == (0.5, None)
    value, reason = used_fraction(0.025, math.nextafter(0.05, 0), 1000)
    assert value is None
    assert "KL is below 0.05" in reason


def test_used_fraction_is_undefined_within_a_nat_of_ln_n():
    border = math.log(1000) - 1
    assert used_fraction(border, 12.0, 1000) == (border / 12, None)
    value, reason = used_fraction(math.nextafter(border, 9), 12.0, 1000)
    assert value is None
    assert "MI is within 1 nat of ln N = 6.91" in reason
    assert "only the swap gap speaks" in reason


def test_used_fraction_of_one_sentence_is_undefined():
    assert used_fraction(0.0, 3.0, 1)[0] is None


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ((math.nan, 1.0, 9), "finite, got nan and 1.0"),
        ((0.5, math.nan, 9), "finite, got 0.5 and nan"),
        ((0.5, math.inf, 9), "finite, got 0.5 and inf"),
        ((0.5, 1.0, 0), "at least one sentence, got 0"),
    ],
)
def test_used_fraction_of_what_is_no_number_is_refused(values, message):
    with pytest.raises(ValueError, match=message):
        used_fraction(*values)


# collapsed dimensions


def test_collapse_by_a_table():
    # of five sentences: always 0; twice 1, else 0; always 1; 0 to 4
    kl = torch.tensor([[0, 0, 0, 0, 0], [1, 0, 0, 1, 0], [1, 1, 1, 1, 1], [0, 1, 2, 3, 4]]).T
    epsilons = [0.5, 1.0, 1.5, 3.5, 4.5]
    by_hand = {
        0.0: [1 / 4, 1 / 4, 3 / 4, 3 / 4, 1],
        0.2: [1 / 4, 1 / 4, 3 / 4, 1, 1],
        0.4: [1 / 2, 1 / 2, 3 / 4, 1, 1],
        0.8: [3 / 4, 3 / 4, 1, 1, 1],
    }
    for delta, shares in by_hand.items():
        assert collapse_curve(kl.double(), epsilons, delta=delta).tolist() == shares


def test_collapse_grows_with_epsilon_and_with_delta():
    mean, logvar, _ = random_posteriors(200, 16)
    kl = 0.5 * (mean.square() + logvar.exp() - 1 - logvar) * torch.linspace(0.01, 1, 16)
    epsilons = torch.logspace(-4, 1, 60).tolist()
    curves = torch.stack([collapse_curve(kl, epsilons, delta=d) for d in (0.0, 0.01, 0.1, 0.5)])
    assert (curves.diff(dim=1) >= 0).all()
    assert (curves.diff(dim=0) >= 0).all()
    assert curves[0, 0] == 0.0
    assert curves[-1, -1] == 1.0


def test_exactly_a_share_delta_of_the_sentences_may_exceed_epsilon():
    for count in (7, 100, 390):
        for hundredths in range(100):
            allowed = count * hundredths // 100
            kl = torch.zeros(count, 2)
            kl[:allowed, 0] = kl[: allowed + 1, 1] = 1.0
            share = collapse_curve(kl, [0.5], delta=hundredths / 100)
            assert share.tolist() == [0.5], (count, hundredths)


@pytest.mark.parametrize(
    ("kl", "delta", "message"),
    [
        (torch.zeros(0, 3), 0.1, r"at least one sentence, got \(0, 3\)"),
        (torch.zeros(3), 0.1, r"must be \(N, Z\) .*got \(3,\)"),
        (torch.zeros(2, 3), 1.0, r"delta must be in \[0, 1\), got 1.0"),
        (torch.zeros(2, 3), -0.1, r"delta must be in \[0, 1\), got -0.1"),
        (torch.tensor([[math.nan]]), 0.1, "must not be NaN"),
    ],
)
def test_collapse_of_bad_input_is_refused(kl, delta, message):
    with pytest.raises(ValueError, match=message):
        collapse_curve(kl, [0.1], delta=delta)
