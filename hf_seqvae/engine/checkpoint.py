"""Checkpoints: folders `step-00000123` that are whole or not there, each also a loadable model.

A folder holds an HF model (config, model.safetensors, tokenizer) and, beside it, `progress.json`,
`training_state.pt` (optimiser, schedule, loss scale) and one `process-00000.pt` a process (random
generators, sums since the last log line). It is written under a temporary name, flushed to the disk
and renamed. accelerate's `save_state` is not used: its `load_state` passes over a random state that
it cannot read with a line in the log.
"""

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from safetensors import SafetensorError

from hf_seqvae.engine.errors import CheckpointWriteError
from hf_seqvae.engine.files import commit_folder, new_folder_name, remove_folder
from hf_seqvae.engine.votes import sum_over_processes
from hf_seqvae.engine.weights import read_state

PROGRESS_NAME = "progress.json"
TRAINING_STATE_NAME = "training_state.pt"

# what a full disk raises: python's own, torch's writer, safetensors' writer
WRITE_ERRORS = (OSError, RuntimeError, SafetensorError)


class Checkpoints:
    """The checkpoints of one run."""

    def __init__(self, folder: Path, accelerator: Accelerator) -> None:
        self.folder = folder
        self.accelerator = accelerator

    def all(self) -> list[Path]:
        """The checkpoints, oldest first."""
        return sorted(self.folder.glob("step-*"))

    def latest(self) -> Path | None:
        """The newest checkpoint, or None."""
        return next(reversed(self.all()), None)

    def at(self, step: int) -> Path:
        """The folder of the checkpoint of one step."""
        return self.folder / f"step-{step:08d}"

    def save(
        self,
        step: int,
        *,
        write_model: Callable[[Path], None],
        progress: Mapping[str, Any],
        training_state: Mapping[str, Any],
        process_state: Mapping[str, Any],
    ) -> Path:
        """Write the checkpoint of `step`; every process must call this.

        Args:
            step: optimiser updates made.
            write_model: writes model and tokenizer into a folder; called on the main process alone.
            progress: plain values for progress.json.
            training_state: tensors and plain values that all processes share.
            process_state: the same of this process alone.

        Raises:
            CheckpointWriteError: the disk is full or refuses; the earlier checkpoints stay.
        """
        main, target = self.accelerator.is_main_process, self.at(step)
        folder = new_folder_name(target)

        def write_shared() -> None:
            write_model(folder)
            torch.save(dict(training_state), folder / TRAINING_STATE_NAME)
            (folder / PROGRESS_NAME).write_text(json.dumps(progress, indent=2), encoding="utf-8")

        def write_own() -> None:
            torch.save(dict(process_state), folder / process_name(self.accelerator.process_index))

        self._together(target, lambda: _fresh(folder) if main else None)
        self._together(target, lambda: (write_own(), write_shared() if main else None))
        self._together(target, lambda: commit_folder(folder, target) if main else None)
        return target

    def prune(self, keep: int) -> None:
        """Remove all but the newest `keep` checkpoints and those that hold their best weights."""
        if self.accelerator.is_main_process:
            kept = self.all()[-keep:]
            best_steps = [read_progress(path)["best_step"] for path in kept]
            names = {path.name for path in kept}
            names |= {self.at(step).name for step in best_steps if step is not None}
            for path in self.all():
                if path.name not in names:
                    remove_folder(path)
        self.accelerator.wait_for_everyone()

    def remove_after(self, step: int) -> None:
        """Remove the checkpoints of later steps than `step`."""
        if self.accelerator.is_main_process:
            for path in self.all():
                if path.name > self.at(step).name:
                    remove_folder(path)
        self.accelerator.wait_for_everyone()

    def _together(self, target: Path, write: Callable[[], object]) -> None:
        """Write on every process; where one fails, all raise, and the half-written folder goes."""
        failure = None
        try:
            write()
        except WRITE_ERRORS as error:
            failure = error
        failed = torch.tensor(float(failure is not None), device=self.accelerator.device)
        if sum_over_processes(self.accelerator, failed).item():
            if self.accelerator.is_main_process:
                shutil.rmtree(new_folder_name(target), ignore_errors=True)
            reason = f": {failure}" if failure is not None else " on another process."
            raise CheckpointWriteError(
                f"{target} could not be written{reason}. Free some disk space and start the same "
                f"command again.",
                self.latest(),
            ) from failure


def process_name(rank: int) -> str:
    """The file of one process in a checkpoint."""
    return f"process-{rank:05d}.pt"


def read_progress(checkpoint: Path) -> dict[str, Any]:
    """The plain values of a checkpoint.

    Raises:
        ValueError: `checkpoint` is not one.
    """
    path = checkpoint / PROGRESS_NAME
    if not path.is_file():
        raise ValueError(f"{checkpoint} is not a checkpoint of a run: it has no {PROGRESS_NAME}.")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(
            f"{path} is damaged: {error}. Remove {checkpoint} to go on from the checkpoint before "
            "it."
        ) from error


def read_training_state(checkpoint: Path) -> dict[str, Any]:
    """What all processes share."""
    return read_state(checkpoint / TRAINING_STATE_NAME)


def read_process_state(checkpoint: Path, rank: int) -> dict[str, Any]:
    """What belongs to one process."""
    return read_state(checkpoint / process_name(rank))


def is_training_file(name: str) -> bool:
    """Whether a file of a checkpoint is no part of the model."""
    return name in (PROGRESS_NAME, TRAINING_STATE_NAME) or name.startswith("process-")


def _fresh(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
