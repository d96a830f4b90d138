"""Beta schedules: the weight of the KL term as a pure function of the optimizer updates made.

There is no state to save, so a resumed run goes on exactly. The one weight that answers to the run,
the controller of a target rate, is in `rate_control.py`.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hf_seqvae.objectives.checks import check_length, check_share, check_step, check_weight
from hf_seqvae.objectives.rate_control import TargetRate

Schedule = Callable[[int], float]


@dataclass(frozen=True)
class ConstantSchedule:
    """The same weight at every step (beta-VAE where it is not 1).

    Source of a weight below 1 for text: He et al., arXiv 1901.05534, table 1.
    """

    value: float = 1.0

    def __post_init__(self) -> None:
        """Check the weight."""
        check_weight("value", self.value)

    def __call__(self, step: int) -> float:
        """The weight after `step` optimizer updates."""
        check_step(step)
        return float(self.value)


@dataclass(frozen=True)
class LinearSchedule:
    """`start` until step `delay`, then a line that reaches `end` at step `delay + num_steps`.

    Source: He et al., arXiv 1901.05534.
    """

    start: float
    end: float
    num_steps: int
    delay: int = 0

    def __post_init__(self) -> None:
        """Check the weights and the lengths."""
        check_weight("start", self.start)
        check_weight("end", self.end)
        check_length("num_steps", self.num_steps, minimum=1)
        check_length("delay", self.delay, minimum=0)

    def __call__(self, step: int) -> float:
        """The weight after `step` optimizer updates."""
        check_step(step)
        return ramp(self.start, self.end, (step - self.delay) / self.num_steps)


@dataclass(frozen=True)
class SigmoidSchedule:
    """A logistic curve from `start` to `end` over `num_steps`, steepest in the middle.

    Source: Bowman et al., arXiv 1511.06349 (figure 2).
    Departure: their curve only nears its ends; this one is stretched to meet `start` at step 0 and
    `end` at `num_steps` exactly.

    Args:
        start, end: weights.
        num_steps: updates between them.
        steepness: the logistic function is read from -steepness / 2 to steepness / 2.
    """

    start: float
    end: float
    num_steps: int
    steepness: float = 12.0

    def __post_init__(self) -> None:
        """Check the weights, the length and the steepness."""
        check_weight("start", self.start)
        check_weight("end", self.end)
        check_length("num_steps", self.num_steps, minimum=1)
        if not (math.isfinite(self.steepness) and 0.0 < self.steepness <= 1000.0):
            raise ValueError(f"steepness must be in (0, 1000], got {self.steepness!r}.")

    def __call__(self, step: int) -> float:
        """The weight after `step` optimizer updates."""
        check_step(step)
        fraction = step / self.num_steps
        # tanh(x / 2) is the logistic function on (-1, 1)
        height = math.tanh((fraction - 0.5) * self.steepness / 2) / math.tanh(self.steepness / 4)
        inside = 0.0 < fraction < 1.0
        return ramp(self.start, self.end, (1.0 + height) / 2 if inside else fraction)


@dataclass(frozen=True)
class CyclicalSchedule:
    """`num_cycles` equal cycles over `num_steps`, each a line from `start` to `end` and then `end`.

    After `num_steps` it stays at `end`.

    The line takes the first `ramp_fraction` of a cycle (M and R of Fu et al., arXiv 1903.10145, who
    use M=4, R=0.5).
    Departure: where M does not divide `num_steps`, the paper rounds the length of a cycle up and
    cuts the last cycle short; here all cycles have the same, perhaps fractional, length.
    """

    num_steps: int
    num_cycles: int = 4
    ramp_fraction: float = 0.5
    start: float = 0.0
    end: float = 1.0

    def __post_init__(self) -> None:
        """Check the weights, the lengths and the fraction."""
        _check_cycles(self)
        check_share("ramp_fraction", self.ramp_fraction, above=0.0)

    def __call__(self, step: int) -> float:
        """The weight after `step` optimizer updates."""
        return ramp(self.start, self.end, _place_in_cycle(self, step) / self.ramp_fraction)


@dataclass(frozen=True)
class CyclicalZeroSchedule:
    """Cycles that rest at `start` first: an autoencoder phase in each, then a line, then `end`.

    The rest takes the first `zero_fraction` of a cycle and the line the next `ramp_fraction`.
    Source: Li et al. (Optimus), arXiv 2004.04092, who train one cycle with 0.5 and 0.25.
    """

    num_steps: int
    num_cycles: int = 4
    zero_fraction: float = 0.5
    ramp_fraction: float = 0.25
    start: float = 0.0
    end: float = 1.0

    def __post_init__(self) -> None:
        """Check the weights, the lengths and the fractions."""
        _check_cycles(self)
        check_share("zero_fraction", self.zero_fraction, above=0.0)
        check_share("ramp_fraction", self.ramp_fraction, above=0.0)
        if self.zero_fraction + self.ramp_fraction > 1.0:
            raise ValueError(
                "zero_fraction and ramp_fraction are shares of one cycle and add up to 1 at most, "
                f"got {self.zero_fraction} and {self.ramp_fraction}."
            )

    def __call__(self, step: int) -> float:
        """The weight after `step` optimizer updates."""
        climbed = _place_in_cycle(self, step) - self.zero_fraction
        return ramp(self.start, self.end, climbed / self.ramp_fraction)


SCHEDULES: dict[str, type] = {
    "constant": ConstantSchedule,
    "linear": LinearSchedule,
    "sigmoid": SigmoidSchedule,
    "cyclical": CyclicalSchedule,
    "cyclical_zero": CyclicalZeroSchedule,
    "target_rate": TargetRate,
}


def build_schedule(name: str, **values: Any) -> Schedule:
    """The schedule of that name in SCHEDULES, with its own values."""
    if name not in SCHEDULES:
        raise ValueError(f"schedule must be one of {sorted(SCHEDULES)}, got {name!r}.")
    return SCHEDULES[name](**values)


def ramp(start: float, end: float, fraction: float) -> float:
    """The point at `fraction` of the line from `start` to `end`; exactly an end outside [0, 1]."""
    if fraction <= 0.0:
        return float(start)
    if fraction >= 1.0:
        return float(end)
    return start + (end - start) * fraction


def _check_cycles(schedule: CyclicalSchedule | CyclicalZeroSchedule) -> None:
    check_weight("start", schedule.start)
    check_weight("end", schedule.end)
    check_length("num_cycles", schedule.num_cycles, minimum=1)
    check_length("num_steps", schedule.num_steps, minimum=schedule.num_cycles)


def _place_in_cycle(schedule: CyclicalSchedule | CyclicalZeroSchedule, step: int) -> float:
    """How far the cycle has come, in [0, 1); 1 after the last one."""
    check_step(step)
    if step >= schedule.num_steps:
        return 1.0
    # tau = frac(step * M / num_steps), by integers: the start of every cycle is exact
    return (step * schedule.num_cycles) % schedule.num_steps / schedule.num_steps
