"""Checks of numbers that schedules and objectives share."""

import math


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
