"""Where a run stands: the few values that say what was done and what comes next."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any


@dataclass
class Progress:
    """The position of a run, all of it saved in each checkpoint.

    Attributes:
        epoch: epochs done.
        batch: global batches done of the epoch that is going on.
        step: optimiser updates made.
        best_score: highest validation ELBO of the phase, nats a sentence, or -reconstruction nll
            where the phase is judged by that; None before its first validation.
        best_step: the checkpoint that holds those weights.
        log_bytes: length of log.jsonl at this point; a resumed run cuts the rest off.
        finished: nothing is left to train.
        loader: the loader's own place, for an epoch that is going on.
        phase: the phase that is going on, from 0.
        phase_epoch, phase_step: epochs and updates made before it.
        lagging: whether aggressive updates, where they were asked for, go on.
        information: MI of the last validation under them, nats.
    """

    epoch: int = 0
    batch: int = 0
    step: int = 0
    best_score: float | None = None
    best_step: int | None = None
    log_bytes: int = 0
    finished: bool = False
    loader: dict[str, Any] = field(default_factory=dict)
    phase: int = 0
    phase_epoch: int = 0
    phase_step: int = 0
    lagging: bool = True
    information: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Progress":
        """The progress that `to_dict` gave."""
        return cls(**{item.name: values[item.name] for item in fields(cls)})
