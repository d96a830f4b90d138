"""One optimiser update over a global batch, whatever the cut into micro-batches and processes."""

from collections.abc import Mapping
from contextlib import nullcontext
from functools import partial
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from hf_seqvae.engine.log import LogSums
from hf_seqvae.engine.votes import sum_over_processes
from hf_seqvae.objectives import Objective

Batch = Mapping[str, Tensor]


def count_items(batch: Batch, normalization: str) -> int:
    """What a loss is divided by: the labels ("token") or the rows with one ("sequence")."""
    real = batch["labels"] != -100
    return int(real.sum() if normalization == "token" else real.any(1).sum())


def cut(batch: Batch, num_parts: int) -> list[dict[str, Tensor]]:
    """The batch in `num_parts` micro-batches of rows a::num_parts; fewer where rows are fewer."""
    num_rows = len(batch["labels"])
    parts = min(num_parts, num_rows)
    if parts == 1:
        return [dict(batch)]
    return [{name: value[part::parts] for name, value in batch.items()} for part in range(parts)]


class TrainingStep:
    """Forward, backward, clip and update, equal for any cut into micro-batches and processes.

    Args:
        accelerator: which runs the processes and the precision.
        model: as prepared by it.
        objective: `Objective`, or anything with its call and `normalization`.
        optimizer: as prepared by the accelerator.
        num_micro_batches: into how many a batch is cut.
        max_grad_norm: None for no clipping.
        sample_posterior: False decodes from the posterior mean (no noise).
    """

    def __init__(
        self,
        accelerator: Accelerator,
        model: nn.Module,
        objective: Objective,
        optimizer: torch.optim.Optimizer,
        *,
        num_micro_batches: int = 1,
        max_grad_norm: float | None = None,
        sample_posterior: bool = True,
    ) -> None:
        self.accelerator = accelerator
        self.model = model
        self.objective = objective
        self.optimizer = optimizer
        self.num_micro_batches = num_micro_batches
        self.max_grad_norm = max_grad_norm
        self.arguments: dict[str, Any] = {} if sample_posterior else {"sample_posterior": False}
        # one process adds nothing up, and an objective of one's own need not know of processes
        alone = accelerator.num_processes == 1
        gather = partial(sum_over_processes, accelerator)
        self.gathering: dict[str, Any] = {} if alone else {"sum_over_processes": gather}
        self.parameters = [value for value in model.parameters() if value.requires_grad]

    def __call__(
        self, batch: Batch, step: int, num_items: int | Tensor, sums: LogSums
    ) -> dict[str, Tensor]:
        """Update the weights with this process's share of a global batch; the sums of its logs.

        Args:
            batch: on the processor; it is moved here.
            step: optimiser updates already made.
            num_items: tokens or sentences of the global batch, over all processes.
            sums: the logs are added to.
        """
        accelerator = self.accelerator
        # DDP averages over processes and accelerate divides by its accumulation steps: undo both
        scale = accelerator.num_processes * accelerator.gradient_accumulation_steps
        parts, seen = cut(batch, self.num_micro_batches), {}
        for index, part in enumerate(parts):
            part = {
                name: value.to(accelerator.device, non_blocking=True)
                for name, value in part.items()
            }
            last = index == len(parts) - 1
            with nullcontext() if last else accelerator.no_sync(self.model):
                output = self.model(**part, **self.arguments)
                loss, logs = self.objective(output, step, num_items, **self.gathering)
                accelerator.backward(loss if scale == 1 else loss * scale)
            sums.add(logs)
            seen = {name: logs[name] + seen.get(name, 0) for name in ("kl", "num_sentences")}
        if self.max_grad_norm is not None:
            accelerator.clip_grad_norm_(self.parameters, self.max_grad_norm)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return seen
