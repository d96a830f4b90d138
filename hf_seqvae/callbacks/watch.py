"""The judge of a training: figures of its validations in, at most one warning of collapse out.

At first every model looks collapsed (no unit active, a KL of 0.1), so figures are judged only once
beta has come to 0.9 of its final value for good, from the second validation on, without recovery
since the one before, and (but for a KL of next to nothing) not while the words themselves are still
being learnt; or before that, when the KL falls over three validations while beta rises and heads
for nothing. One warning, with the figure and the cure.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from hf_seqvae.diagnosis.remedies import remedies_for
from hf_seqvae.diagnosis.rules import COLLAPSED, HEALTHY, LIMITS, Judgement, Measured, judge

Schedule = Callable[[int], float]

SETTLED = 0.9  # share of beta's final value from which on figures are judged
FALLS = 3  # validations over which the KL must fall while beta rises
HEADING = 2 * LIMITS.useful_kl  # nats; training takes more away once beta has come to its end
RECOVERY = 1.1  # a KL or MI that grows by this factor is on its way up
NOISE = LIMITS.paid_kl / 10  # nats; a KL below it may grow by any factor and is still nothing
LEARNING = 0.98  # a reconstruction loss that falls by this factor is not at its end yet
_POINTS = 10_000  # at which a schedule is looked at
_FAR = 10**9  # a step after the end of any schedule


@dataclass(frozen=True)
class Observation:
    """The figures of one validation.

    Attributes:
        step: optimizer updates made.
        beta: KL weight of the last of them.
        kl: nats a sentence.
        mutual_information, active_units, reconstruction_nll: None where they were not measured.
    """

    step: int
    beta: float
    kl: float
    mutual_information: float | None = None
    active_units: int | None = None
    reconstruction_nll: float | None = None


class CollapseWatch:
    """The judge: observations in, in the order of their steps; at most one warning out.

    Args:
        final_beta: the KL weight that training ends with.
        settled_from: the step from which beta never again falls below 0.9 of it.
        num_sentences: of a validation; without it the mutual information is not judged.
        setup: of `diagnosis.known_setup`, for a cure that the run does not have yet.
    """

    def __init__(
        self,
        final_beta: float = 1.0,
        *,
        settled_from: int = 0,
        num_sentences: int | None = None,
        setup: Mapping[str, Any] | None = None,
    ) -> None:
        self.final_beta = final_beta
        self.settled_from = settled_from
        self.num_sentences = num_sentences
        self.setup = dict(setup or {})
        self.warned = False
        self._seen: list[Observation] = []

    @classmethod
    def of_schedule(
        cls, beta: Schedule, num_steps: int | None = None, **options: Any
    ) -> "CollapseWatch":
        """The watch over a run of `num_steps` updates (None: unknown) under a schedule of beta."""
        final, settled_from = settling(beta, num_steps)
        return cls(final, settled_from=settled_from, **options)

    def observe(self, observation: Observation) -> str | None:
        """The warning, where this validation gives cause and none was given before."""
        if not math.isfinite(observation.kl):
            return None  # the loop itself ends a run that diverged
        self._seen.append(observation)
        if self.warned:
            return None
        found = self._settled_low() or self._heading_for_nothing()
        if found is None:
            return None
        self.warned = True
        return self._message(found)

    def _settled_low(self) -> "_Alarm | None":
        """Beta has come to its end, and z looks bad and no better than a validation ago."""
        if len(self._seen) < 2:
            return None
        before, now = self._seen[-2:]
        if not self._is_settled(now) or before.step == 0:
            return None
        judgement = self._judge(now)
        if judgement.verdict == HEALTHY or _recovers(before, now):
            return None
        if judgement.verdict != COLLAPSED and _still_learns(before, now):
            return None
        figure = f"{judgement.rule} at beta {now.beta:.2g}"
        return _Alarm(judgement.verdict, figure, judgement)

    def _heading_for_nothing(self) -> "_Alarm | None":
        """The KL fell over three validations while beta rose, and would go on to next to nothing.

        It has at least halved, and the slowest of the falls, drawn on to the final beta with log KL
        as a line in beta, ends low.
        """
        window = self._seen[-FALLS - 1 :]
        if len(window) <= FALLS:
            return None
        slopes = []
        for before, now in pairwise(window):
            if now.beta <= before.beta or not 0 < now.kl < before.kl:
                return None
            slopes.append(math.log(now.kl / before.kl) / (now.beta - before.beta))
        first, last = window[0], window[-1]
        expected = last.kl * math.exp(max(slopes) * max(0.0, self.final_beta - last.beta))
        if expected >= HEADING or last.kl > first.kl / 2:
            return None
        figure = (
            f"KL fell from {first.kl:.2f} to {last.kl:.2f} nats a sentence over {FALLS} "
            f"validations while beta rose from {first.beta:.2g} to {last.beta:.2g}"
        )
        return _Alarm("about to collapse", figure, Judgement(COLLAPSED, figure))

    def _is_settled(self, observation: Observation) -> bool:
        return (
            observation.step >= self.settled_from and observation.beta >= SETTLED * self.final_beta
        )

    def _judge(self, observation: Observation) -> Judgement:
        return judge(
            Measured(
                kl=observation.kl,
                mutual_information=observation.mutual_information,
                num_sentences=self.num_sentences,
                active_units=observation.active_units,
                latent_size=self.setup.get("model", {}).get("latent_size"),
            )
        )

    def _message(self, alarm: "_Alarm") -> str:
        cures = remedies_for(alarm.judgement, self.setup)
        cure = f" Try {cures[0].name}: {cures[0].line}." if cures else ""
        return (
            f"step {self._seen[-1].step}: the latent looks {alarm.look}: {alarm.figure}.{cure} "
            "More: hf-seqvae diagnose."
        )


@dataclass(frozen=True)
class _Alarm:
    """How the latent looks, the figure, and the judgement whose remedies apply."""

    look: str
    figure: str
    judgement: Judgement


def settling(beta: Schedule, num_steps: int | None = None) -> tuple[float, int]:
    """Beta's final value, and the first step from which it stays at 0.9 of that or above.

    Args:
        beta: the schedule.
        num_steps: of the run; None where unknown: then the value long after the end of the
            schedule is its last, and the step is 0.
    """
    if num_steps is None:
        return beta(_FAR), 0
    last = max(num_steps - 1, 0)
    final = beta(last)
    stride = max(1, num_steps // _POINTS)
    for step in range(last, -1, -stride):
        if beta(step) < SETTLED * final:
            return final, min(step + 1, last)
    return final, 0


def observation_in(record: Mapping[str, Any], prefix: str, beta: Schedule) -> Observation:
    """The figures of a record, with the beta of the last update before it."""
    units = record.get(f"{prefix}active_units")
    return Observation(
        step=record["step"],
        beta=beta(max(record["step"] - 1, 0)),
        kl=record[f"{prefix}kl"],
        mutual_information=record.get(f"{prefix}mutual_information"),
        active_units=None if units is None else int(units),
        reconstruction_nll=record.get(f"{prefix}reconstruction_nll"),
    )


def _still_learns(before: Observation, now: Observation) -> bool:
    """Whether the words themselves are still being learnt: what z is good for comes after."""
    if before.reconstruction_nll is None or now.reconstruction_nll is None:
        return False
    return now.reconstruction_nll < LEARNING * before.reconstruction_nll


def _recovers(before: Observation, now: Observation) -> bool:
    """Whether KL or MI is on its way up, above the noise around zero."""
    if now.kl > max(RECOVERY * before.kl, NOISE):
        return True
    if before.mutual_information is None or now.mutual_information is None:
        return False
    return now.mutual_information > max(RECOVERY * before.mutual_information, LIMITS.paid_kl)
