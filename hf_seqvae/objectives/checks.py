"""Checks that schedules and objectives share, and what reads a whole batch at once."""

import math
from typing import NamedTuple


class BatchReader(NamedTuple):
    """A part of the loss that is no sum over sentences.

    Attributes:
        name: for messages.
        alone: its statistic cannot be gathered over processes.
    """

    name: str
    alone: bool

    def refuse_cut(self, *, num_micro_batches: int, num_processes: int) -> None:
        """Raises where the batch is cut, so that no part of it sees the whole."""
        if num_micro_batches > 1:
            raise ValueError(
                f"{self.name} reads the whole batch, which gradient accumulation cuts into "
                f"{num_micro_batches} pieces. Set gradient_accumulation_steps to 1."
            )
        if self.alone and num_processes > 1:
            raise ValueError(
                f"{self.name} reads the whole batch, of which each of {num_processes} processes "
                "has a share. Train on one process."
            )


def check_weight(name: str, value: float) -> None:
    """Raises unless `value` is a finite number of at least 0."""
    if not (math.isfinite(value) and value >= 0.0):
        raise ValueError(f"{name} must be finite and not negative, got {value!r}.")


def check_length(name: str, value: int, *, minimum: int) -> None:
    """Raises unless `value` is a whole number of steps."""
    if isinstance(value, bool) or not isinstance(value, int) or value < minimum:
        raise ValueError(
            f"{name} must be a whole number of steps, {minimum} or more, got {value!r}."
        )


def check_share(name: str, value: float, *, above: float, most: float = 1.0) -> None:
    """Raises unless `above` < `value` <= `most`."""
    if not above < value <= most:
        raise ValueError(f"{name} must be in ({above:g}, {most:g}], got {value!r}.")


def check_step(step: int) -> None:
    """Raises on a negative step."""
    if step < 0:
        raise ValueError(
            f"step counts optimizer updates already made and is not negative, got {step}."
        )
