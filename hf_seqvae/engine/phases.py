"""The phases of a run: stretches of epochs, each with its own objective and fresh optimizer."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import nn

from hf_seqvae.engine.keeper import Keeper, Trained
from hf_seqvae.engine.progress import Progress
from hf_seqvae.objectives import Objective, Schedule, TargetRate

logger = logging.getLogger(__name__)

ELBO, RECONSTRUCTION = "eval/elbo", "eval/reconstruction_nll"


@dataclass(frozen=True)
class Phase:
    """One stretch of epochs.

    Attributes:
        objective: its schedule counts from the start of the phase.
        epochs: passes over the data.
        name: for messages.
        prepare: what is done to the model first, on every process alike; None for nothing.
        by_reconstruction: the best weights are those with the lowest reconstruction nll; by the
            ELBO otherwise.
        aggressive: whether aggressive updates, where they were asked for, belong to it.
    """

    objective: Objective
    epochs: int
    name: str = "vae"
    prepare: Callable[[nn.Module], None] | None = None
    by_reconstruction: bool = False
    aggressive: bool = True

    def score(self, elbo: float | None, reconstruction_nll: float | None) -> float | None:
        """What the best weights have the most of; None without a validation."""
        if self.by_reconstruction:
            return None if reconstruction_nll is None else -reconstruction_nll
        return elbo


def phase_at(phases: Sequence[Phase], epoch: int) -> int:
    """Which phase epoch `epoch` (from 0) belongs to; the last one after the end of all."""
    for index, phase in enumerate(phases):
        epoch -= phase.epochs
        if epoch < 0:
            return index
    return len(phases) - 1


def beta_of_run(phases: Sequence[Phase], steps_per_epoch: int | None) -> Schedule:
    """Beta as a function of the updates of the whole run, over its phases in their full length.

    Where decays of the learning rate end a phase early, what follows comes sooner than this says.
    """
    if len(phases) == 1:
        return phases[0].objective.beta
    assert steps_per_epoch is not None  # a recipe refuses phases of a stream
    starts = [0]
    for phase in phases:
        starts.append(starts[-1] + phase.epochs * steps_per_epoch)

    def beta(step: int) -> float:
        index = phase_at(phases, step // steps_per_epoch)
        return phases[index].objective.beta(step - starts[index])

    return beta


def rate_controller(phases: Sequence[Phase]) -> TargetRate | None:
    """The one schedule with a state, which a checkpoint keeps."""
    betas = [phase.objective.beta for phase in phases]
    return next((beta for beta in betas if isinstance(beta, TargetRate)), None)


class Phases:
    """Takes a run from phase to phase.

    Args:
        phases: in their order.
        trained: what training changes.
        keeper: holds the best weights.
    """

    def __init__(self, phases: Sequence[Phase], trained: Trained, keeper: Keeper) -> None:
        self.phases = list(phases)
        self.trained = trained
        self.keeper = keeper
        self._rates = [float(group["lr"]) for group in trained.optimizer.param_groups]

    def enter(self, progress: Progress) -> Phase:
        """The phase of the epoch that comes; at its first the run begins anew.

        That is: from the best weights so far, but for what the phase resets, with a fresh optimizer
        at the first learning rate. A run killed here does all of it again from the same checkpoint.
        """
        trained, index = self.trained, phase_at(self.phases, progress.epoch)
        phase = self.phases[index]
        if index == progress.phase:
            return phase
        self.keeper.load_best(progress)
        progress.phase, progress.phase_epoch = index, progress.epoch
        progress.phase_step = progress.step
        progress.best_score = progress.best_step = None
        logger.info("phase %s begins at epoch %d", phase.name, progress.epoch)
        if phase.prepare is not None:
            phase.prepare(self.keeper.accelerator.unwrap_model(trained.model))
        trained.optimizer.state.clear()
        for group, rate in zip(trained.optimizer.param_groups, self._rates, strict=True):
            group["lr"] = rate
        if trained.decay is not None:
            trained.decay.reset()
        return phase

    def finish(self, progress: Progress) -> bool:
        """Go past what is left of a phase; whether no other comes."""
        if progress.phase == len(self.phases) - 1:
            return True
        progress.epoch = sum(phase.epochs for phase in self.phases[: progress.phase + 1])
        return False
