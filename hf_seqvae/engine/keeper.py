"""What a run keeps: its whole state in checkpoints, and best/ and last/ copied from them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import nn
from torch.nn.utils import get_total_norm
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau
from transformers import PreTrainedTokenizerBase

from hf_seqvae.engine.checkpoint import (
    Checkpoints,
    is_training_file,
    read_process_state,
    read_progress,
    read_training_state,
)
from hf_seqvae.engine.decay import PlateauHalving
from hf_seqvae.engine.errors import LossNotFiniteError
from hf_seqvae.engine.files import copy_folder, remove_folder, sweep
from hf_seqvae.engine.log import LogSums
from hf_seqvae.engine.progress import Progress
from hf_seqvae.engine.random_state import get_random_state, set_random_state
from hf_seqvae.engine.votes import sum_over_processes
from hf_seqvae.engine.weights import (
    gather_optimizer,
    gather_weights,
    local_parameters,
    read_model,
    restore_optimizer,
    write_model,
)
from hf_seqvae.objectives import TargetRate


@dataclass
class Trained:
    """What training changes, as prepared by accelerate."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    scheduler: LRScheduler | ReduceLROnPlateau | None = None
    decay: PlateauHalving | None = None
    controller: TargetRate | None = None


class Keeper:
    """Saves and restores a run; best/ and last/ can always be made again from the checkpoints.

    Args:
        output_dir: the run folder.
        accelerator: which runs the processes.
        trained: what is saved and restored.
        tokenizer: saved beside each model.
        fingerprint: plain values that must be the same on resume, by name.
        num_kept: newest checkpoints to keep; that of the best validation stays beside them.
    """

    def __init__(
        self,
        output_dir: Path,
        accelerator: Accelerator,
        trained: Trained,
        *,
        tokenizer: PreTrainedTokenizerBase | None = None,
        fingerprint: Mapping[str, Any] | None = None,
        num_kept: int = 2,
    ) -> None:
        if num_kept < 1:
            raise ValueError(f"keep_checkpoints must be 1 or more, got {num_kept}.")
        self.output_dir = output_dir
        self.accelerator = accelerator
        self.trained = trained
        self.tokenizer = tokenizer
        self.fingerprint = {
            **(fingerprint or {}),
            "num_processes": accelerator.num_processes,
            "mixed_precision": accelerator.mixed_precision,
        }
        self.num_kept = num_kept
        self.checkpoints = Checkpoints(output_dir / "checkpoints", accelerator)

    def prepare_folder(self, resume: bool | str | Path) -> Path | None:
        """The checkpoint to go on from, in a folder cleared of what a kill left unfinished.

        Args:
            resume: see `Engine.fit`.
        """
        if self.accelerator.is_main_process:
            sweep(self.output_dir)
            sweep(self.checkpoints.folder)
            if resume is False:
                remove_run(self.output_dir)
        self.accelerator.wait_for_everyone()
        if resume is False:
            return None
        if self.checkpoints.latest() is None and (self.output_dir / "best").is_dir():
            raise ValueError(
                f"{self.output_dir} holds the results of a run and no checkpoint to go on from. "
                "Choose another output_dir, or start again with --fresh (resume=False), which "
                "removes that run."
            )
        if resume is True:
            return self.checkpoints.latest()
        checkpoint = Path(resume)
        if checkpoint.resolve() not in [path.resolve() for path in self.checkpoints.all()]:
            raise ValueError(
                f"resume must be True, False or a checkpoint of this run, got {str(resume)!r}; "
                f"there are {[str(path) for path in self.checkpoints.all()]}. To go on from "
                f"another run, copy its folder first and name the copy as output_dir."
            )
        return checkpoint

    def save(self, progress: Progress, sums: LogSums) -> Path:
        """A checkpoint of this moment; every process must call this.

        Raises:
            LossNotFiniteError: a weight is NaN or infinite; nothing is written.
            CheckpointWriteError: the disk refuses; the earlier checkpoints stay.
        """
        trained, accelerator = self.trained, self.accelerator
        self._require_finite(progress)
        model = accelerator.unwrap_model(trained.model)
        weights = gather_weights(accelerator, trained.model)
        scaler, scheduler, decay = accelerator.scaler, trained.scheduler, trained.decay
        controller = trained.controller

        def write(folder: Path) -> None:
            write_model(model, weights, folder)
            if self.tokenizer is not None:
                self.tokenizer.save_pretrained(folder)

        path = self.checkpoints.save(
            progress.step,
            write_model=write,
            progress={**progress.to_dict(), "fingerprint": self.fingerprint},
            training_state={
                "optimizer": gather_optimizer(accelerator, trained.model, trained.optimizer),
                "scheduler": None if scheduler is None else scheduler.state_dict(),
                "scaler": None if scaler is None else scaler.state_dict(),
                "decay": None if decay is None else decay.state_dict(),
                "controller": None if controller is None else controller.state_dict(),
            },
            process_state={
                "random": get_random_state(accelerator.device),
                "sums": sums.state_dict(),
            },
        )
        self.checkpoints.prune(self.num_kept)
        return path

    def check(self, checkpoint: Path) -> Progress:
        """The progress of a checkpoint.

        Raises:
            ValueError: it is of another recipe, another number of processes or other data.
        """
        values = read_progress(checkpoint)
        before = values["fingerprint"]
        changed = [
            f"{name}: {before.get(name)!r} -> {self.fingerprint.get(name)!r}"
            for name in before | self.fingerprint
            if before.get(name) != self.fingerprint.get(name)
        ]
        if changed:
            raise ValueError(
                f"{checkpoint} belongs to another run; changed: {'; '.join(changed)}. Go back to "
                f"the old values, choose another output_dir, or start again with --fresh "
                f"(resume=False), which removes the old run."
            )
        return Progress.from_dict(values)

    def restore(self, checkpoint: Path, sums: LogSums) -> dict[str, Any]:
        """Put everything but the random generators back; their states are returned."""
        trained, accelerator = self.trained, self.accelerator
        state = read_training_state(checkpoint)
        own = read_process_state(checkpoint, accelerator.process_index)
        read_model(accelerator, trained.model, checkpoint)
        restore_optimizer(accelerator, trained.model, trained.optimizer, state["optimizer"])
        if trained.scheduler is not None:
            trained.scheduler.load_state_dict(state["scheduler"])
        if accelerator.scaler is not None:
            accelerator.scaler.load_state_dict(state["scaler"])
        if trained.decay is not None:
            trained.decay.load_state_dict(state["decay"])
        if trained.controller is not None:
            trained.controller.load_state_dict(state["controller"])
        sums.load_state_dict(own["sums"])
        return own["random"]

    def set_random_state(self, state: dict[str, Any]) -> None:
        """The last act of resuming."""
        set_random_state(state, self.accelerator.device)

    def load_best(self, progress: Progress) -> None:
        """The best weights into the model, in place."""
        if progress.best_step is not None:
            best = self.checkpoints.at(progress.best_step)
            read_model(self.accelerator, self.trained.model, best)

    def publish(self, progress: Progress, *, best: bool = True) -> None:
        """Make last/ and, where asked for, best/ anew from the checkpoints."""
        if self.accelerator.is_main_process:
            steps = {"last": progress.step, "best": progress.best_step if best else None}
            for name, step in steps.items():
                if step is not None:
                    source = self.checkpoints.at(step)
                    copy_folder(source, self.output_dir / name, leave_out=is_training_file)
        self.accelerator.wait_for_everyone()

    def _require_finite(self, progress: Progress) -> None:
        """A checkpoint that holds a NaN would be the newest one for good."""
        norm = get_total_norm(local_parameters(self.trained.model))
        bad = (~torch.isfinite(norm)).float()
        if sum_over_processes(self.accelerator, bad).item():
            raise LossNotFiniteError(
                f"A weight is NaN or infinite after step {progress.step}. Start again with a lower "
                f"training.learning_rate or max_grad_norm.",
                self.checkpoints.latest(),
            )


def remove_run(output_dir: Path) -> None:
    """Remove what a run wrote into its folder, and nothing else."""
    # checkpoints first: without them what a kill leaves of the rest is made anew
    for name in ("checkpoints", "best", "last", "trackers"):
        if (output_dir / name).exists():
            remove_folder(output_dir / name)
    for name in ("log.jsonl", "curves.png", "report.json", "recipe.yaml", "environment.json"):
        (output_dir / name).unlink(missing_ok=True)
