"""The sections of a recipe about what is optimised; contradictions inside them are refused."""

import dataclasses
from typing import Any, ClassVar

from hf_seqvae.objectives import (
    KL_TERMS,
    SCHEDULES,
    build_schedule,
    check_amounts,
    unknown_kl_term,
)
from hf_seqvae.recipe.fields import check_fields, option

_MANY_STEPS = 10**6  # of an epoch whose length nobody knows yet
# options of beta that each schedule reads
BETA_OPTIONS = {
    "constant": ("value",),
    "linear": ("start", "end", "num_epochs", "num_steps", "delay_epochs"),
    "sigmoid": ("start", "end", "num_epochs", "num_steps", "steepness"),
    "cyclical": ("start", "end", "num_epochs", "num_steps", "num_cycles", "ramp_fraction"),
    "cyclical_zero": (
        "start",
        "end",
        "num_epochs",
        "num_steps",
        "num_cycles",
        "zero_fraction",
        "ramp_fraction",
    ),
    "target_rate": (
        "rate",
        "proportional_gain",
        "integral_gain",
        "minimum",
        "maximum",
        "patience",
    ),
}


@dataclasses.dataclass(frozen=True)
class BetaRecipe:
    """The weight of the KL term over the updates of a run."""

    SECTION: ClassVar[str] = "objective.beta."
    schedule: str = option("constant", "how beta moves", choices=tuple(SCHEDULES))
    value: float | None = option(None, "constant: the weight", shown=1.0, minimum=0.0)
    start: float | None = option(
        None, "linear, sigmoid, cyclical: weight at the start", shown=0.0, minimum=0.0
    )
    end: float | None = option(
        None, "linear, sigmoid, cyclical: weight at the end", shown=1.0, minimum=0.0
    )
    num_epochs: float | None = option(
        None, "linear, sigmoid: length of the rise, cyclical: of all cycles; in epochs", above=0.0
    )
    num_steps: int | None = option(
        None, "the same in optimizer updates, in place of num_epochs", minimum=1
    )
    delay_epochs: float | None = option(
        None, "linear: epochs at start before it moves", shown=0.0, minimum=0.0
    )
    steepness: float | None = option(
        None, "sigmoid: width on which the logistic function is read", shown=12.0, above=0.0
    )
    num_cycles: int | None = option(
        None, "cyclical: cycles, M of arXiv 1903.10145", shown=4, minimum=1
    )
    ramp_fraction: float | None = option(
        None,
        "cyclical: share of a cycle that rises, R of arXiv 1903.10145; cyclical_zero: 0.25",
        shown=0.5,
        above=0.0,
    )
    zero_fraction: float | None = option(
        None, "cyclical_zero: share of a cycle that rests at start first", shown=0.5, above=0.0
    )
    rate: float | None = option(
        None, "target_rate: KL to hold, nats a sentence; beta answers to it", above=0.0
    )
    proportional_gain: float | None = option(
        None, "target_rate: P of arXiv 2004.05988", shown=0.01, minimum=0.0
    )
    integral_gain: float | None = option(
        None, "target_rate: I of arXiv 2004.05988", shown=0.0001, above=0.0
    )
    minimum: float | None = option(None, "target_rate: least beta", shown=0.0, minimum=0.0)
    maximum: float | None = option(None, "target_rate: most beta", shown=1.0, above=0.0)
    patience: int | None = option(
        None,
        "target_rate: updates at the least or most beta, the KL a tenth off and not moving, after "
        "which it is out of reach",
        shown=2000,
        minimum=1,
        neutral=True,
    )

    def __post_init__(self) -> None:
        """Check types, limits and that every value belongs to the schedule."""
        check_fields(self)
        read = BETA_OPTIONS[self.schedule]
        for item in dataclasses.fields(self):
            if item.name not in ("schedule", *read) and getattr(self, item.name) is not None:
                raise ValueError(
                    f"objective.beta.{item.name} is not read by the schedule {self.schedule!r}, "
                    "which reads "
                    f"{', '.join(read)}. Set it to null, or replace the whole of objective.beta."
                )
        if self.schedule == "target_rate" and self.rate is None:
            raise ValueError(
                "The schedule 'target_rate' needs objective.beta.rate, the KL to hold in nats a "
                "sentence."
            )
        if "num_steps" in read and (self.num_epochs is None) == (self.num_steps is None):
            raise ValueError(
                f"The schedule {self.schedule!r} needs one of objective.beta.num_epochs and "
                "objective.beta.num_steps, "
                f"got {self.num_epochs} and {self.num_steps}."
            )
        try:
            build_schedule(self.schedule, **schedule_values(self, _MANY_STEPS))
        except ValueError as error:
            raise ValueError(f"objective.beta: {error}") from error


def schedule_values(beta: BetaRecipe, steps_per_epoch: int | None) -> dict[str, Any]:
    """Arguments of the schedule class; what the recipe leaves out is that class's, or 0 -> 1.

    Args:
        beta: the section.
        steps_per_epoch: optimizer updates; needed where beta counts epochs.
    """
    read = BETA_OPTIONS[beta.schedule]
    values: dict[str, Any] = {
        name: getattr(beta, name) for name in read if getattr(beta, name) is not None
    }
    if "num_steps" not in read:
        return values
    values = {"start": 0.0, "end": 1.0} | values
    lengths = {"num_epochs": "num_steps", "delay_epochs": "delay"}
    for epochs, steps in lengths.items():
        length = values.pop(epochs, 0.0)
        if length and steps_per_epoch is None:
            raise ValueError(
                "objective.beta counts epochs, whose length is not known here: set num_steps "
                "instead."
            )
        if length:
            values[steps] = max(1, round(length * (steps_per_epoch or 0)))
    return values


@dataclasses.dataclass(frozen=True)
class ObjectiveRecipe:
    """What is optimised; tokens or sentences as the unit are the model's `loss_normalization`."""

    SECTION: ClassVar[str] = "objective."
    beta: BetaRecipe = option(BetaRecipe, "weight of the KL term")
    kl_term: str = option("plain", "how the KL enters the loss", words=tuple(KL_TERMS))
    free_bits: float = option(
        0.0,
        "threshold of the free-bits terms in nats: of a dimension, a sentence or the batch's mean, "
        "as kl_term's name says",
        minimum=0.0,
    )
    capacity: float = option(
        0.0, "nats a sentence that the capacity terms hold the KL to", minimum=0.0
    )
    mmd_weight: float = option(
        0.0,
        "weight of the MMD between the batch's latents and the prior: alpha + lambda - 1 of "
        "InfoVAE, beta being 1 - alpha (arXiv 1706.02262)",
        minimum=0.0,
    )

    def __post_init__(self) -> None:
        """Check types, limits and contradictions."""
        check_fields(self)
        if self.kl_term not in KL_TERMS:
            raise ValueError(f"objective.{unknown_kl_term(self.kl_term)}")
        try:
            check_amounts(self.kl_term, free_bits=self.free_bits, capacity=self.capacity)
        except ValueError as error:
            raise ValueError(f"objective.kl_term: {error}") from error
