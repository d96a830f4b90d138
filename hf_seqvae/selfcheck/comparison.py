"""One estimate beside its exact answer, and the range in which it may lie."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from hf_seqvae.metrics import mean_and_standard_error

SIGMAS = 4.0  # standard errors of sampling that an estimate may be off


@dataclass(frozen=True)
class Comparison:
    """An estimate, the exact answer, and the rule by which they agree.

    Attributes:
        quantity: what is estimated; nats where it has a unit.
        estimate: the estimator's figure.
        exact: what is known.
        low, high: the estimates that pass.
        rule: the tolerance and its kind, in words.
    """

    quantity: str
    estimate: float
    exact: float
    low: float
    high: float
    rule: str

    @property
    def passed(self) -> bool:
        """Whether the estimate lies in its range; NaN lies in none."""
        return self.low <= self.estimate <= self.high

    def complaint(self) -> str:
        """How far off it is, in one clause."""
        if not math.isfinite(self.exact):
            return f"{self.quantity}: {self.rule}"
        off = self.estimate - self.exact
        return (
            f"{self.quantity} is {self.estimate:.6g} where {self.exact:.6g} is exact: off by "
            f"{off:+.3g}, allowed {self.rule}"
        )


def same(quantity: str, estimate: Any, exact: Any, *, tolerance: float = 0.0) -> Comparison:
    """Passes within `tolerance`, for what has no noise but rounding."""
    estimate, exact = float(estimate), float(exact)
    rule = "equal" if tolerance == 0 else f"± {tolerance:g}"
    return Comparison(quantity, estimate, exact, exact - tolerance, exact + tolerance, rule)


def sampled(
    quantity: str, estimate: Any, exact: Any, error: Any, *, sigmas: float = SIGMAS, bias: Any = 0.0
) -> Comparison:
    """Passes within `sigmas` standard errors (s.e.) and the known `bias` of the estimator."""
    estimate, exact = float(estimate), float(exact)
    room = sigmas * float(error) + float(bias)
    rule = f"± {room:.2g} ({sigmas:g} s.e.)"
    return Comparison(quantity, estimate, exact, exact - room, exact + room, rule)


def ranged(
    quantity: str, estimate: Any, exact: Any, *, low: Any, high: Any, rule: str
) -> Comparison:
    """Passes from `low` to `high`."""
    return Comparison(quantity, float(estimate), float(exact), float(low), float(high), rule)


def average(values: Tensor) -> tuple[float, float]:
    """The mean of values (N,), N > 1, and its standard error."""
    mean, error = mean_and_standard_error(values)
    return float(mean), math.nan if error is None else float(error)


def raised(error: Exception) -> Comparison:
    """The failure of an estimator that ends in an error."""
    rule = f"raised {type(error).__name__}: {error}"
    return Comparison("no figure", math.nan, math.nan, math.nan, math.nan, rule)


@dataclass(frozen=True)
class Check:
    """Comparisons that stand or fall with one estimator.

    Attributes:
        name: of the estimator, as `--only` takes it.
        run: makes the comparisons one after the other; True asks for the long ones too.
    """

    name: str
    run: Callable[[bool], Iterator[Comparison]]


@dataclass(frozen=True)
class Line:
    """A comparison, of which check it is, and how long it took."""

    check: str
    comparison: Comparison
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; what is not finite is None."""
        found = self.comparison
        numbers = {name: getattr(found, name) for name in ("estimate", "exact", "low", "high")}
        return {
            "check": self.check,
            "quantity": found.quantity,
            **{name: value if math.isfinite(value) else None for name, value in numbers.items()},
            "rule": found.rule,
            "passed": found.passed,
            "seconds": round(self.seconds, 3),
        }
