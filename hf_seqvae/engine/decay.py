"""The literature's learning-rate rule: halve it after worse validations, from the best weights.

Source: the published code of He et al., arXiv 1901.05534 (`text.py`): the rate is halved when the
validation loss was above its reference `patience` times running, from some epoch on; training goes
on from the best weights with fresh optimisers, and ends after the fifth decay. As there, the
reference after a decay is the validation that caused it, and worse validations before the start
epoch count.
"""

from dataclasses import dataclass


@dataclass
class PlateauHalving:
    """When to decay and when to stop; its fields are its whole state.

    Args:
        patience: validations running that must be worse than the reference.
        max_decays: training ends at this many decays.
        decay_start_epoch: no decay before the end of this epoch, counted from 0.
        factor: what the learning rate is multiplied with.
        reference: ELBO that the next validation is compared with; None before the first.
        num_worse: validations running that were worse.
        num_decays: decays made.
    """

    patience: int = 2
    max_decays: int = 5
    decay_start_epoch: int = 0
    factor: float = 0.5
    reference: float | None = None
    num_worse: int = 0
    num_decays: int = 0

    def __post_init__(self) -> None:
        """Check the settings."""
        for name in ("patience", "max_decays"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be 1 or more, got {getattr(self, name)}.")
        if not 0.0 < self.factor < 1.0:
            raise ValueError(f"factor (decay_factor) must be in (0, 1), got {self.factor}.")

    def update(self, elbo: float, epoch: int) -> bool:
        """Whether the rate decays now, after the validation at the end of `epoch` (from 0)."""
        if self.reference is None or elbo >= self.reference:
            self.reference, self.num_worse = elbo, 0
            return False
        self.num_worse += 1
        if self.num_worse < self.patience or epoch < self.decay_start_epoch:
            return False
        self.reference, self.num_worse = elbo, 0
        self.num_decays += 1
        return True

    @property
    def finished(self) -> bool:
        """Whether the last decay was made."""
        return self.num_decays >= self.max_decays

    def reset(self) -> None:
        """Begin anew, as at the start of a phase."""
        self.reference, self.num_worse, self.num_decays = None, 0, 0

    def state_dict(self) -> dict[str, float | int | None]:
        """What a checkpoint keeps."""
        return {
            "reference": self.reference,
            "num_worse": self.num_worse,
            "num_decays": self.num_decays,
        }

    def load_state_dict(self, state: dict[str, float | int | None]) -> None:
        """Take up `state_dict()` again."""
        self.reference = state["reference"]
        self.num_worse = int(state["num_worse"] or 0)
        self.num_decays = int(state["num_decays"] or 0)
