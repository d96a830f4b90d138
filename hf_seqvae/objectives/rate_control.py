"""A weight that holds the rate: beta answers to the KL that training sees."""

import math
from dataclasses import dataclass
from typing import Any

from hf_seqvae.objectives.checks import check_length, check_share, check_step, check_weight


@dataclass
class TargetRate:
    """A controller that moves beta until the mean KL of a batch is `rate` nats a sentence.

        beta = P / (1 + exp(e)) - I * sum of e + minimum,   e = rate - KL of the last batch,

    kept within [minimum, maximum]; while it is held there, an error that would push it further out
    is not summed. Source: Shao et al. (ControlVAE), arXiv 2004.05988, algorithm 1, whose gains for
    text are P = 0.01 and I = 0.0001.

    Its last six fields are its whole state: a resumed run goes on exactly.

    Args:
        rate: target KL, nats a sentence.
        proportional_gain: P.
        integral_gain: I.
        minimum, maximum: of beta.
        patience: updates at either limit, the KL more than a tenth off, after which the rate is
            out of reach, unless the KL still moves towards it.
        beta: the weight of the next update; `minimum` at the start.
        error_sum: the sum of e.
        smoothed_rate: the KL, smoothed over some 100 updates; None before the first.
        num_at_minimum, num_at_maximum: updates running at which that limit of beta left the
            smoothed KL more than a tenth below, or above, the rate.
        moved_from: the smoothed KL when the last `patience` of those began.
    """

    rate: float
    proportional_gain: float = 0.01
    integral_gain: float = 0.0001
    minimum: float = 0.0
    maximum: float = 1.0
    patience: int = 2000
    beta: float | None = None
    error_sum: float = 0.0
    smoothed_rate: float | None = None
    num_at_minimum: int = 0
    num_at_maximum: int = 0
    moved_from: float = 0.0

    def __post_init__(self) -> None:
        """Check the target, the gains and the limits."""
        for name in ("rate", "integral_gain"):
            check_share(name, getattr(self, name), above=0.0, most=math.inf)
            check_weight(name, getattr(self, name))
        for name in ("proportional_gain", "minimum", "maximum"):
            check_weight(name, getattr(self, name))
        check_length("patience", self.patience, minimum=1)
        if not self.minimum < self.maximum:
            raise ValueError(
                f"minimum must be below maximum, got {self.minimum} and {self.maximum}."
            )
        if self.beta is None:
            self.beta = float(self.minimum)

    def __call__(self, step: int) -> float:
        """The weight of the next update; `step` has no part in it."""
        check_step(step)
        assert self.beta is not None
        return self.beta

    def observe(self, kl: float) -> None:
        """Take the mean KL of the batch just trained on, nats a sentence, over all processes.

        Raises:
            ValueError: the rate is out of reach: at the limit of beta the KL stays more than a
                tenth off on the wrong side and no longer moves towards it.
        """
        error = self.rate - kl
        proportional = self.proportional_gain / (1.0 + math.exp(min(error, 700.0)))
        total = self.error_sum + error
        beta = proportional - self.integral_gain * total + self.minimum
        # anti-windup: no sum of errors that pushes beta further out of its limits
        if not (beta < self.minimum and error > 0) and not (beta > self.maximum and error < 0):
            self.error_sum = total
        self.beta = min(max(beta, self.minimum), self.maximum)
        before = kl if self.smoothed_rate is None else self.smoothed_rate
        self.smoothed_rate = before + (kl - before) / 100
        self._watch_reach()

    def missed(self) -> str | None:
        """What a run ends with in place of the rate; None where it is within a tenth of it."""
        found, beta = self.smoothed_rate, self.beta
        if found is None or self._is_held(found):
            return None
        assert beta is not None
        low, high = self._limit_reached(found, beta)
        cure = f"raise integral_gain ({self.integral_gain:g})"
        if low:  # nothing pushes the KL down any more: no gain would help
            cure = "choose a lower rate or a larger latent_size"
        elif high:
            cure = f"choose a higher rate or a larger maximum ({self.maximum:g})"
        return (
            f"the KL is {found:.2f} nats at the end of training and not the target rate of "
            f"{self.rate:g}: beta is {beta:.3g}. Train longer, or {cure}."
        )

    def _is_held(self, found: float) -> bool:
        return abs(found - self.rate) <= 0.1 * self.rate

    def _limit_reached(self, found: float, beta: float) -> tuple[bool, bool]:
        """Whether beta can do no more for a KL below the rate, and for one above it."""
        # a single batch above the rate lifts beta by the proportional part and no more
        low = found < self.rate and beta <= self.minimum + self.proportional_gain
        return low, found > self.rate and beta >= self.maximum

    def _watch_reach(self) -> None:
        found, beta = self.smoothed_rate, self.beta
        assert found is not None and beta is not None
        low, high = (False, False) if self._is_held(found) else self._limit_reached(found, beta)
        if not self.num_at_minimum + self.num_at_maximum:
            self.moved_from = found
        self.num_at_minimum = self.num_at_minimum + 1 if low else 0
        self.num_at_maximum = self.num_at_maximum + 1 if high else 0
        if max(self.num_at_minimum, self.num_at_maximum) < self.patience:
            return
        stuck = found < 1.02 * self.moved_from if low else found > 0.98 * self.moved_from
        if stuck:
            limit = f"minimum {self.minimum:g}" if low else f"maximum {self.maximum:g}"
            cure = (
                "lower rate or a larger latent_size" if low else "higher rate or a larger maximum"
            )
            raise ValueError(
                f"a target rate of {self.rate:g} nats is out of reach: for {self.patience} updates "
                f"beta could do no more: it is {beta:.3g} ({limit}), and the KL is "
                f"{found:.2f} nats and no longer {'rises' if low else 'falls'}. Raise patience to "
                f"go on with this run, or begin another with a {cure}."
            )
        self.num_at_minimum = self.num_at_maximum = 0

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {name: getattr(self, name) for name in _STATE}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up `state_dict()` again."""
        for name in _STATE:
            setattr(self, name, state[name])


_STATE = (
    "beta",
    "error_sum",
    "smoothed_rate",
    "num_at_minimum",
    "num_at_maximum",
    "moved_from",
)
