"""The rules of the doctor: one verdict for any figures, and the right one for known models."""

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hf_seqvae.diagnosis import LIMITS, VERDICTS, Measured, judge

nats = st.floats(0.0, 60.0)
known = Measured(
    kl=4.0,
    mutual_information=3.5,
    num_sentences=2000,
    swap_gap=9.0,
    active_units=16,
    latent_size=16,
)


def changed(**figures) -> Measured:
    return dataclasses.replace(known, **figures)


@st.composite
def figures(draw):
    size = draw(st.integers(1, 64))
    return Measured(
        kl=draw(nats),
        mutual_information=draw(st.none() | st.floats(-1.0, 12.0)),
        num_sentences=draw(st.none() | st.integers(1, 100_000)),
        swap_gap=draw(st.none() | st.floats(-5.0, 80.0)),
        active_units=draw(st.none() | st.integers(0, size)),
        latent_size=size,
    )


def spoken_rules(m: Measured) -> dict[str, bool]:
    """The rules as they are said, each alone; an oracle for their order."""
    used, gap = m.used, m.swap_gap
    unused = used is not None and used < 0.25 and (gap is None or gap < 0.25 * m.kl)
    holds = m.kl if m.mutual_information is None else m.mutual_information
    deaf = gap is not None and gap < 0.25 * holds
    little = m.kl < 1.0
    wasted = used is not None and used < 0.5
    empty = m.active_units is not None and m.active_units < 0.25 * m.latent_size
    unpaid = m.kl < 0.1
    partly = little or wasted or empty
    return {
        "collapsed": unpaid,
        "paid but unused rate": not unpaid and unused,
        "latent ignored by decoder": not unpaid and not unused and deaf,
        "partly collapsed": not unpaid and not unused and not deaf and partly,
        "healthy": not unpaid and not unused and not deaf and not partly,
    }


@settings(max_examples=400, deadline=None)
@given(figures())
def test_any_figures_have_exactly_one_verdict(measured):
    holding = [verdict for verdict, holds in spoken_rules(measured).items() if holds]
    assert holding == [judge(measured).verdict]
    assert set(holding) <= set(VERDICTS)


@settings(max_examples=200, deadline=None)
@given(figures(), st.floats(-5.0, 80.0), st.floats(0.0, 80.0))
def test_no_decoder_is_called_deaf_for_losing_more_at_a_foreign_latent(measured, gap, more):
    deaf = ("latent ignored by decoder", "paid but unused rate")
    loud = judge(dataclasses.replace(measured, swap_gap=gap + more)).verdict
    soft = judge(dataclasses.replace(measured, swap_gap=gap)).verdict
    assert loud not in deaf or soft in deaf


# KL, MI, N, swap gap, active units, Z of models whose fate is known: training/results/, and the toy
# of 2 nats committed in 8 dimensions whose rate no decoder reads
@pytest.mark.parametrize(
    ("figures", "verdict"),
    [
        ((4.81, 4.22, 2000, 11.29, 16, 16), "healthy"),  # quickstart
        ((4.02, 3.05, 2000, 8.84, 16, 16), "healthy"),  # the same without annealing
        ((3.92, 2.27, 2000, 7.27, 16, 16), "healthy"),  # the same with the last state
        ((0.85, 0.81, 2000, 1.98, 9, 16), "partly collapsed"),  # the same without free bits
        ((0.50, 0.49, 5000, 1.23, 2, 32), "partly collapsed"),  # tatoeba_en, max pooling
        ((0.0224, 0.0215, 10_000, 0.0445, 0, 32), "collapsed"),  # yelp_short, max pooling
        ((2.04, 0.05, 2000, 0.08, 0, 8), "paid but unused rate"),  # 2 nats committed, unread
        ((6.0, 5.5, 2000, 0.1, 16, 16), "latent ignored by decoder"),
        ((1.42, 1.42, 10_000, 4.0, 2, 32), "partly collapsed"),  # 2 of 32 dimensions
    ],
)
def test_known_models_get_the_verdict_that_is_known_of_them(figures, verdict):
    names = ("kl", "mutual_information", "num_sentences", "swap_gap", "active_units", "latent_size")
    assert judge(Measured(**dict(zip(names, figures, strict=True)))).verdict == verdict


def test_without_mutual_information_only_the_swap_gap_tells_use_from_none():
    assert judge(changed(mutual_information=None, swap_gap=1.1)).verdict == "healthy"
    judgement = judge(changed(mutual_information=None, swap_gap=0.9))
    assert judgement.verdict == "latent ignored by decoder"
    assert "0.25 x KL = 1.00" in judgement.rule


def test_mutual_information_near_its_cap_does_not_make_a_large_rate_look_unused():
    # ln 100 = 4.6: the MI may be anything above 4, so a KL of 30 is not known to be wasted
    near = changed(kl=30.0, mutual_information=4.0, num_sentences=100, swap_gap=40.0)
    assert near.used is None
    assert judge(near).verdict == "healthy"
    far = dataclasses.replace(near, num_sentences=100_000)
    assert judge(far).verdict == "partly collapsed"


@pytest.mark.parametrize(
    ("below", "at", "verdict"),
    [
        ({"kl": LIMITS.paid_kl - 1e-9}, {"kl": LIMITS.paid_kl}, "collapsed"),
        ({"kl": LIMITS.useful_kl - 1e-9}, {"kl": LIMITS.useful_kl}, "partly collapsed"),
        ({"active_units": 3}, {"active_units": 4}, "partly collapsed"),
        ({"mutual_information": 1.999}, {"mutual_information": 2.0}, "partly collapsed"),
        ({"swap_gap": 0.874}, {"swap_gap": 0.875}, "latent ignored by decoder"),
        (
            {"mutual_information": 0.999, "swap_gap": 0.5},
            {"mutual_information": 1.0, "swap_gap": 0.5},
            "paid but unused rate",
        ),
    ],
)
def test_a_figure_on_its_limit_is_on_the_better_side(below, at, verdict):
    assert judge(changed(**below)).verdict == verdict
    assert judge(changed(**at)).verdict != verdict


def test_a_rule_says_its_figures_and_limits():
    assert judge(changed(kl=0.04)).rule == "KL 0.04 < 0.1 nats a sentence"
    assert "MI / KL = 0.88 >= 0.5" in judge(known).rule
    assert "swap gap 9.00 >= 0.25 x MI = 0.88 nats" in judge(known).rule
    assert judge(changed(active_units=3)).rule == "3 of 16 dimensions active, fewer than 25%"


@pytest.mark.parametrize("name", ["kl", "mutual_information", "swap_gap"])
def test_a_figure_that_is_not_finite_is_refused(name):
    with pytest.raises(ValueError, match=f"{name} must be finite"):
        changed(**{name: float("nan")})
