"""How long a run trains and how often it logs and saves."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """The counts of a run.

    Attributes:
        epochs: passes over the data.
        max_steps: optimiser updates at most; None for no such limit.
        gradient_accumulation_steps: micro-batches into which each batch is cut.
        max_grad_norm: None for no clipping.
        logging_steps: updates between two lines of the log; the end of an epoch is always logged.
        save_steps: updates between two checkpoints; None for those after validations alone.
        keep_checkpoints: newest ones to keep, beside that of the best validation.
        sample_posterior: False trains without posterior noise.
        seed: of dropout and posterior noise.
    """

    epochs: int
    max_steps: int | None = None
    gradient_accumulation_steps: int = 1
    max_grad_norm: float | None = 5.0
    logging_steps: int = 50
    save_steps: int | None = None
    keep_checkpoints: int = 2
    sample_posterior: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        """Check that all counts are positive."""
        for name in (
            "epochs",
            "max_steps",
            "gradient_accumulation_steps",
            "logging_steps",
            "save_steps",
            "keep_checkpoints",
        ):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be 1 or more, got {value}.")


def total_steps(settings: Settings, batches_per_epoch: int | None) -> int | None:
    """Optimiser updates of a whole run; None where neither epochs nor `max_steps` tell."""
    if batches_per_epoch is None:
        return settings.max_steps
    steps = settings.epochs * batches_per_epoch
    return steps if settings.max_steps is None else min(steps, settings.max_steps)
