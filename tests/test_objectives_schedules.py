"""Sigmoid and zero-phase schedules at hand-computed steps; the controller of a target rate."""

import math
import random

import pytest

from hf_seqvae.objectives import CyclicalZeroSchedule, SigmoidSchedule, TargetRate


def test_sigmoid_meets_its_ends_exactly_and_its_middle_at_half():
    schedule = SigmoidSchedule(start=0.1, end=0.9, num_steps=10)
    assert [schedule(step) for step in (0, 10, 11, 10**9)] == [0.1, 0.9, 0.9, 0.9]
    assert schedule(5) == pytest.approx(0.5)


def test_sigmoid_is_a_stretched_logistic_curve():
    schedule = SigmoidSchedule(start=0.0, end=1.0, num_steps=100, steepness=8.0)

    def logistic(x):
        return 1.0 / (1.0 + math.exp(-x))

    low, high = logistic(-4.0), logistic(4.0)
    for step in (1, 20, 50, 73, 99):
        expected = (logistic((step / 100 - 0.5) * 8.0) - low) / (high - low)
        assert schedule(step) == pytest.approx(expected)


def test_sigmoid_rises_and_is_symmetric_and_flat_ends_mean_steep_middle():
    values = [SigmoidSchedule(0.0, 1.0, 20)(step) for step in range(21)]
    assert values == sorted(values)
    assert [1 - value for value in reversed(values)] == pytest.approx(values)
    assert values[1] < 1 / 20 < values[11] - values[10]


def test_cyclical_zero_rests_climbs_and_holds_in_every_cycle():
    schedule = CyclicalZeroSchedule(num_steps=16, num_cycles=2)  # of 8: 4 rest, 2 climb, 2 hold
    cycle = [0.0, 0.0, 0.0, 0.0, 0.0, 0.5, 1.0, 1.0]
    assert [schedule(step) for step in range(18)] == cycle * 2 + [1.0, 1.0]


def test_one_cyclical_zero_cycle_has_the_thirds_of_optimus():
    schedule = CyclicalZeroSchedule(num_steps=100, num_cycles=1)
    assert all(schedule(step) == 0.0 for step in range(51))
    assert schedule(62) == pytest.approx(0.48)
    assert all(schedule(step) == 1.0 for step in range(75, 200))


@pytest.mark.parametrize(
    ("build", "word"),
    [
        (lambda: SigmoidSchedule(0.0, -1.0, 5), "end"),
        (lambda: SigmoidSchedule(0.0, 1.0, 0), "num_steps"),
        (lambda: SigmoidSchedule(0.0, 1.0, 5, steepness=0.0), "steepness"),
        (lambda: SigmoidSchedule(0.0, 1.0, 5)(-1), "step"),
        (lambda: CyclicalZeroSchedule(num_steps=8, zero_fraction=0.0), "zero_fraction"),
        (lambda: CyclicalZeroSchedule(num_steps=8, zero_fraction=0.9), "add up to 1"),
        (lambda: CyclicalZeroSchedule(num_steps=8)(-1), "step"),
        (lambda: TargetRate(rate=0.0), "rate"),
        (lambda: TargetRate(rate=math.inf), "rate"),
        (lambda: TargetRate(rate=3.0, integral_gain=0.0), "integral_gain"),
        (lambda: TargetRate(rate=3.0, minimum=1.0), "minimum must be below maximum"),
        (lambda: TargetRate(rate=3.0, patience=0), "patience"),
        (lambda: TargetRate(rate=3.0)(-1), "step"),
    ],
)
def test_an_impossible_schedule_is_refused_by_name(build, word):
    with pytest.raises(ValueError, match=word):
        build()


# the controller


def simulate(controller, steps, *, most=12.0, lag=0.05):
    """A run whose KL drifts towards most * (1 - beta): the rate that its beta would hold."""
    kl, rates = 0.0, []
    for step in range(steps):
        kl += lag * (most * (1.0 - controller(step)) - kl)
        controller.observe(kl)
        rates.append(kl)
    return rates


@pytest.mark.parametrize("rate", [1.0, 5.0, 11.0])
def test_the_controller_holds_the_rate_it_was_asked_for(rate):
    controller = TargetRate(rate=rate, integral_gain=0.001)
    rates = simulate(controller, 6000)
    assert rates[-1000:] == pytest.approx([rate] * 1000, abs=0.02)
    assert controller(0) == pytest.approx(1.0 - rate / 12.0, abs=0.01)


def test_the_controller_is_the_formula_at_its_first_steps():
    controller = TargetRate(rate=3.0, proportional_gain=0.1, integral_gain=0.01, maximum=5.0)
    controller.observe(7.0)  # e = -4
    assert controller(1) == pytest.approx(0.1 / (1.0 + math.exp(-4.0)) + 0.01 * 4.0)
    controller.observe(2.0)  # e = 1
    assert controller(2) == pytest.approx(0.1 / (1.0 + math.exp(1.0)) + 0.01 * (4.0 - 1.0))


def test_the_controller_does_not_wind_up_while_beta_is_held_at_its_minimum():
    held = TargetRate(rate=5.0, proportional_gain=0.0, integral_gain=0.01)
    for kl in [0.0] * 1000:  # below the rate: beta wants to be negative
        held.observe(kl)
    held.observe(25.0)  # far above it: beta must rise at once
    assert held(0) == pytest.approx(0.01 * 20.0)


def test_a_resumed_controller_goes_on_as_if_never_stopped():
    whole, first = TargetRate(rate=4.0), TargetRate(rate=4.0)
    kls = [0.3 * step % 9 for step in range(60)]
    for kl in kls:
        whole.observe(kl)
    for kl in kls[:31]:
        first.observe(kl)
    resumed = TargetRate(rate=4.0)
    resumed.load_state_dict(first.state_dict())
    for kl in kls[31:]:
        resumed.observe(kl)
    assert resumed == whole


def test_a_rate_out_of_reach_is_an_error_that_says_what_is_in_reach():
    controller = TargetRate(rate=40.0, patience=300)
    with pytest.raises(ValueError, match=r"40 nats is out of reach.*KL is 1[12]\.\d+ nats"):
        simulate(controller, 2000)


def test_a_rate_below_what_the_posterior_keeps_is_an_error_too():
    controller = TargetRate(rate=1.0, patience=300, integral_gain=0.01)
    with pytest.raises(ValueError, match=r"1 nats is out of reach.*maximum 1\).*KL is 8.00 nats"):
        for _ in range(3000):
            controller.observe(8.0)


def test_a_noisy_kl_does_not_hide_that_the_rate_is_out_of_reach():
    noise = random.Random(0)
    controller = TargetRate(rate=5.0)
    with pytest.raises(ValueError, match="5 nats is out of reach"):
        for _ in range(20_000):
            controller.observe(max(0.0, noise.gauss(4.0, 0.7)))


@pytest.mark.parametrize("kl", [4.9, 4.52, 5.45])
def test_a_rate_held_to_a_tenth_is_never_out_of_reach(kl):
    controller = TargetRate(rate=5.0)
    for _ in range(30_000):
        controller.observe(kl)
    assert controller.missed() is None


def test_a_proportional_part_that_does_the_holding_is_no_limit():
    controller, kl = TargetRate(rate=5.0, proportional_gain=0.1), 0.0
    for step in range(30_000):
        kl += 0.05 * (6.01 * (1.0 - 4 * controller(step)) - kl)
        controller.observe(kl)
    assert 0 < controller(0) < 0.1 and controller.missed() is None


def test_noise_around_a_rate_that_is_held_is_no_error_and_nothing_is_missed():
    noise, controller, kl = random.Random(0), TargetRate(rate=5.0, integral_gain=0.001), 0.0
    for step in range(12_000):
        kl += 0.05 * (12.0 * (1.0 - controller(step)) - kl)
        controller.observe(max(0.0, kl + noise.gauss(0.0, 0.7)))
    assert controller.missed() is None


def test_a_run_that_ends_far_from_the_rate_says_so():
    controller = TargetRate(rate=500.0)
    assert controller.missed() is None  # nothing was seen yet
    for _ in range(150):
        controller.observe(3.2)
    said = str(controller.missed())
    assert "3.20 nats at the end of training and not the target rate of 500" in said
    assert "lower rate or a larger latent_size" in said and "gain" not in said  # beta is 0 already


def test_a_run_that_ends_above_a_rate_is_told_what_beta_can_still_do():
    controller = TargetRate(rate=1.0)
    for _ in range(150):
        controller.observe(3.2)
    assert 0 < controller(0) < 1 and "raise integral_gain" in str(controller.missed())
    controller = TargetRate(rate=1.0, maximum=0.01)
    for _ in range(150):
        controller.observe(3.2)
    assert controller(0) == 0.01 and "larger maximum" in str(controller.missed())


def test_a_rate_that_still_rises_at_the_smallest_beta_is_not_out_of_reach():
    controller = TargetRate(rate=11.0, patience=50)
    simulate(controller, 1200, lag=0.005)  # slower than the patience, but rising all the while


def test_a_rate_that_still_falls_at_the_largest_beta_is_not_out_of_reach():
    controller = TargetRate(rate=1.0, patience=300, integral_gain=0.01)
    for step in range(2000):
        controller.observe(8.0 * 0.999**step)  # to 1.08: a quarter less in each patience
    assert controller(2000) == 1.0
    with pytest.raises(ValueError, match="1 nats is out of reach.*no longer falls"):
        for _ in range(2000):
            controller.observe(1.15)
