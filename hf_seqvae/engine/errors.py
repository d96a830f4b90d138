"""Why a training run ends early: each error names the checkpoint to go on from and how."""

from pathlib import Path


class TrainingError(RuntimeError):
    """A run that could not go on.

    Attributes:
        checkpoint: the last good checkpoint, or None where none was written.
    """

    def __init__(self, message: str, checkpoint: Path | None = None) -> None:
        self.checkpoint = checkpoint
        kept = (
            f"The last good checkpoint is kept: {checkpoint}."
            if checkpoint is not None
            else "No checkpoint was written before."
        )
        super().__init__(f"{message} {kept}")


class LossNotFiniteError(TrainingError):
    """The loss or a weight became NaN or infinite."""


class TargetRateError(TrainingError):
    """The KL cannot be held at the rate that was asked for."""


class CheckpointWriteError(TrainingError):
    """The run folder could not be written to, for instance because the disk is full."""


class TrainingInterrupted(Exception):
    """A signal ended the run after a checkpoint was saved.

    Attributes:
        checkpoint: the folder that was saved.
        exit_code: what a program should end with: 128 + the signal (130 Ctrl-C, 143 SIGTERM).
        command: how to go on.
    """

    def __init__(self, signal_name: str, exit_code: int, checkpoint: Path, command: str) -> None:
        self.checkpoint = checkpoint
        self.exit_code = exit_code
        self.command = command
        super().__init__(
            f"Stopped by {signal_name} after saving {checkpoint}. Go on with:\n  {command}"
        )
