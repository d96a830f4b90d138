"""What happens to a batch: one joint update, or the encoder's and the decoder's, and the rate."""

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hf_seqvae.engine.aggressive import AggressiveUpdates
from hf_seqvae.engine.errors import TargetRateError
from hf_seqvae.engine.log import LogSums
from hf_seqvae.engine.phases import Phase
from hf_seqvae.engine.progress import Progress
from hf_seqvae.engine.step import TrainingStep
from hf_seqvae.engine.votes import sum_over_processes
from hf_seqvae.objectives import TargetRate


class Update:
    """The updates of one batch, as the phase and the aggressive updates want them.

    Args:
        step: one optimizer update.
        inner: of the encoder alone; None for joint updates.
        latest_checkpoint: what an error names to go on from.
    """

    def __init__(
        self,
        step: TrainingStep,
        inner: AggressiveUpdates | None = None,
        *,
        latest_checkpoint: Callable[[], Path | None] = lambda: None,
    ) -> None:
        self.step = step
        self.inner = inner
        self.latest_checkpoint = latest_checkpoint

    def lags(self, progress: Progress, phase: Phase) -> bool:
        """Whether aggressive updates go on."""
        return self.inner is not None and progress.lagging and phase.aggressive

    def __call__(
        self,
        batch: Mapping[str, Tensor],
        num_items: int | Tensor,
        progress: Progress,
        phase: Phase,
        sums: LogSums,
    ) -> None:
        """Update the weights; the logs go into `sums`.

        Raises:
            TargetRateError: the controller of the rate has come to its end.
        """
        self.step.objective = phase.objective
        turn, phase_step = nullcontext(), progress.step - progress.phase_step
        if self.inner is not None and self.lags(progress, phase):
            count = self.inner(batch, progress.step, phase_step)
            sums.add({"inner_updates": torch.tensor(count), "updates": torch.tensor(1)})
            turn = self.inner.decoder_turn()
        with turn:
            seen = self.step(batch, phase_step, num_items, sums)
        controller = phase.objective.beta
        if isinstance(controller, TargetRate):
            self._observe(controller, seen)

    def _observe(self, controller: TargetRate, seen: Mapping[str, Any]) -> None:
        """Tell the controller the mean KL of the global batch."""
        own = torch.stack([seen["kl"], seen["num_sentences"]])
        kl, count = sum_over_processes(self.step.accelerator, own).tolist()
        try:
            controller.observe(kl / count)
        except ValueError as error:
            raise TargetRateError(str(error), self.latest_checkpoint()) from error
