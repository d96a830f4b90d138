"""The training loop: epochs of steps, validations, and checkpoints to go on from exactly."""

import math
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau
from transformers import PreTrainedTokenizerBase

from hf_seqvae.engine.aggressive import AggressiveUpdates, InnerLoop, still_lagging
from hf_seqvae.engine.checks import check_engine, check_whole_batch
from hf_seqvae.engine.decay import PlateauHalving
from hf_seqvae.engine.errors import CheckpointWriteError, LossNotFiniteError, TrainingInterrupted
from hf_seqvae.engine.files import require_writable
from hf_seqvae.engine.keeper import Keeper, Trained
from hf_seqvae.engine.loader import Loader, epoch_length
from hf_seqvae.engine.log import LogSums, RunLog
from hf_seqvae.engine.phases import ELBO, RECONSTRUCTION, Phase, Phases, rate_controller
from hf_seqvae.engine.progress import Progress
from hf_seqvae.engine.random_state import seed_process
from hf_seqvae.engine.settings import Settings, total_steps
from hf_seqvae.engine.step import TrainingStep, count_items
from hf_seqvae.engine.stop import StopSignals
from hf_seqvae.engine.update import Update
from hf_seqvae.engine.votes import Votes
from hf_seqvae.engine.watchers import Watcher, close_all
from hf_seqvae.objectives import Objective, summarize

Evaluator = Callable[[nn.Module], Mapping[str, float]]


class Engine:
    """Trains a model in a run folder; killed at any moment, it goes on to the same weights and log.

    Args:
        model: gives the terms of `SeqVAEOutput` for a batch.
        objective: terms -> loss and logs.
        loader: see `Loader`.
        optimizer: over the model's parameters.
        output_dir: the run folder.
        settings: how long, how often.
        accelerator: None makes one.
        scheduler: of the learning rate, stepped after each update (a ReduceLROnPlateau after each
            validation, with the negative ELBO).
        decay: the literature's rule in its place.
        evaluator: model -> "eval/elbo" (highest is best) and other figures, the same on every
            process; None: the newest weights are the best.
        tokenizer: saved beside the weights.
        fingerprint: plain values by name that must be the same on resume.
        resume_command: printed when a signal ends the run.
        watchers: progress bar, curves, trackers.
        phases: in place of one phase with `objective`; their epochs are those of the settings.
        inner: aggressive updates of the encoder; None for joint ones.
    """

    def __init__(
        self,
        model: nn.Module,
        objective: Objective,
        loader: Loader,
        optimizer: Optimizer,
        output_dir: str | Path,
        settings: Settings,
        *,
        accelerator: Accelerator | None = None,
        scheduler: LRScheduler | ReduceLROnPlateau | None = None,
        decay: PlateauHalving | None = None,
        evaluator: Evaluator | None = None,
        tokenizer: PreTrainedTokenizerBase | None = None,
        fingerprint: Mapping[str, Any] | None = None,
        resume_command: str = "the same command again",
        watchers: Sequence[Watcher] = (),
        phases: Sequence[Phase] = (),
        inner: InnerLoop | None = None,
    ) -> None:
        self.accelerator = accelerator or Accelerator()
        phases = list(phases) or [Phase(objective, settings.epochs)]
        check_engine(
            evaluated=evaluator is not None,
            halved=decay is not None,
            aggressive=inner is not None,
            scheduled=scheduler is not None,
            num_phases=len(phases),
            num_processes=self.accelerator.num_processes,
        )
        check_whole_batch(
            model,
            [phase.objective for phase in phases],
            num_micro_batches=settings.gradient_accumulation_steps,
            num_processes=self.accelerator.num_processes,
            smallest_batch=getattr(loader, "smallest_batch", None),
        )
        self.output_dir = Path(output_dir)
        self.settings = settings
        self.loader = loader
        self.batches_per_epoch = epoch_length(loader)
        self.evaluator = evaluator
        self.resume_command = resume_command
        self.watchers = list(watchers) if self.accelerator.is_main_process else []
        model, optimizer = self.accelerator.prepare(model, optimizer)
        self.trained = Trained(model, optimizer, scheduler, decay, rate_controller(phases))
        self.keeper = Keeper(
            self.output_dir,
            self.accelerator,
            self.trained,
            tokenizer=tokenizer,
            fingerprint={"batches_per_epoch": self.batches_per_epoch, **(fingerprint or {})},
            num_kept=settings.keep_checkpoints,
        )
        self.phases = Phases(phases, self.trained, self.keeper)
        self.phase = phases[0]
        self.log = RunLog(self.output_dir / "log.jsonl")
        self.sums = LogSums(self.accelerator.device)
        self.votes = Votes(self.accelerator)
        self.progress = Progress()
        step = TrainingStep(
            self.accelerator,
            model,
            objective,
            optimizer,
            num_micro_batches=settings.gradient_accumulation_steps,
            max_grad_norm=settings.max_grad_norm,
            sample_posterior=settings.sample_posterior,
        )
        aggressive = None
        if inner is not None:
            aggressive = AggressiveUpdates(step, loader, model, inner, seed=settings.seed)
        latest = self.keeper.checkpoints.latest
        self.update = Update(step, aggressive, latest_checkpoint=latest)
        self._clock = 0.0
        self._carried_tokens = 0.0

    @property
    def num_steps(self) -> int | None:
        """Optimiser updates of the whole run, unless the decay ends it; None where unknown."""
        return total_steps(self.settings, self.batches_per_epoch)

    def fit(self, *, resume: bool | str | Path = True) -> Progress:
        """Train to the end.

        Args:
            resume: True goes on from the newest checkpoint if there is one; False removes the old
                run; a checkpoint folder of this run goes on from there and drops what came later.

        Raises:
            ValueError: the folder cannot be written to, or holds another run.
            LossNotFiniteError, CheckpointWriteError: with the last good checkpoint.
            TrainingInterrupted: a signal came; a checkpoint was saved.
        """
        require_writable(self.output_dir)
        self._begin(resume)
        try:
            with StopSignals() as signals:
                for watcher in self.watchers:
                    watcher.start(self.progress, self.num_steps)
                while not self.progress.finished:
                    self.phase = self.phases.enter(self.progress)
                    self._train_epoch(signals)
                    self._end_epoch(signals)
        finally:
            close_all(self.watchers, failed=sys.exc_info()[0] is not None)
        return self.progress

    def _begin(self, resume: bool | str | Path) -> None:
        keeper, accelerator = self.keeper, self.accelerator
        checkpoint = keeper.prepare_folder(resume)
        if checkpoint is None:
            seed_process(self.settings.seed, accelerator.process_index)
        else:
            self.progress = keeper.check(checkpoint)
            random_state = keeper.restore(checkpoint, self.sums)
            keeper.checkpoints.remove_after(self.progress.step)
            keeper.checkpoints.prune(self.settings.keep_checkpoints)  # a kill may have come before
            if self.progress.batch:
                self.loader.load_state_dict(self.progress.loader)
            if self.sums.sums:
                self._carried_tokens = self.sums.reduce(accelerator)["num_tokens"]
            with self._writing():
                keeper.publish(self.progress)
            keeper.set_random_state(random_state)
        if accelerator.is_main_process:
            self.log.cut(self.progress.log_bytes)
        self.trained.model.train()

    def _train_epoch(self, signals: StopSignals) -> None:
        """Steps to the end of the epoch, or to `max_steps`."""
        progress, settings = self.progress, self.settings
        alone = self.accelerator.num_processes == 1
        # reading a sum costs nothing on the processor; a device would have to be waited for
        check_each = alone and self.accelerator.device.type == "cpu"
        self._clock = time.perf_counter()
        if progress.batch == 0:
            self.loader.set_epoch(progress.epoch)
        for batch in self.loader:
            num_items: Any = count_items(batch, self.phase.objective.normalization)
            if not alone:
                num_items = self.votes.count(
                    num_items, stop=signals.received is not None, finite=self.sums.is_finite()
                )
            self.update(batch, num_items, progress, self.phase, self.sums)
            progress.step += 1
            progress.batch += 1
            self._step_scheduler()
            with self._writing():
                for watcher in self.watchers:
                    watcher.step()
            verdict = self.votes.verdict()
            if verdict.not_finite or (check_each and not self.sums.is_finite()):
                raise self._not_finite()
            if progress.step % settings.logging_steps == 0:
                self._log_training()
            if progress.step == settings.max_steps:
                return
            if progress.batch == self.batches_per_epoch:
                continue  # the checkpoint after the validation is the better one
            if signals.received is not None if alone else verdict.stop:
                self._save()
                raise self._interrupted(signals)
            if settings.save_steps and progress.step % settings.save_steps == 0:
                self._save()

    def _end_epoch(self, signals: StopSignals) -> None:
        """Log, validate, decay, save; best/ and last/ follow the checkpoint."""
        progress, settings, decay = self.progress, self.settings, self.trained.decay
        if self.sums.sums:
            self._log_training()
        whole = progress.step != settings.max_steps or progress.batch == self.batches_per_epoch
        figures = self._validate()
        elbo = figures.get(ELBO)
        score = self.phase.score(elbo, figures.get(RECONSTRUCTION))
        better = score is None or progress.best_score is None or score > progress.best_score
        if better:
            progress.best_score, progress.best_step = score, progress.step
        epoch = progress.epoch - progress.phase_epoch
        if score is not None and decay is not None and decay.update(score, epoch):
            self.keeper.load_best(progress)
            self.trained.optimizer.state.clear()
            for group in self.trained.optimizer.param_groups:
                group["lr"] *= decay.factor
        if self.update.lags(progress, self.phase):
            progress.lagging = still_lagging(figures, progress.information)
            progress.information = figures["eval/mutual_information"]
            figures["train/aggressive"] = float(progress.lagging)
        if elbo is not None and isinstance(self.trained.scheduler, ReduceLROnPlateau):
            self.trained.scheduler.step(-elbo)
        if whole:
            progress.epoch, progress.batch = progress.epoch + 1, 0
        if figures:
            self._write_line(figures)
        decayed = decay is not None and decay.finished and self.phases.finish(progress)
        progress.finished = (
            progress.epoch >= settings.epochs or progress.step == settings.max_steps or decayed
        )
        self._save()
        with self._writing():
            self.keeper.publish(progress, best=better)
        if self.votes.agree(signals.received is not None) and not progress.finished:
            raise self._interrupted(signals)

    def _validate(self) -> dict[str, float]:
        """The evaluator's figures; none without an evaluator."""
        if self.evaluator is None:
            return {}
        model = self.accelerator.unwrap_model(self.trained.model)
        model.eval()
        figures = dict(self.evaluator(model))
        self.trained.model.train()
        if not math.isfinite(figures[ELBO]):
            raise self._not_finite()
        return figures

    def _step_scheduler(self) -> None:
        scheduler = self.trained.scheduler
        if scheduler is None or isinstance(scheduler, ReduceLROnPlateau):
            return
        # with fp16 an update is left out where the scaled gradients overflow: then the rate waits
        if not self.accelerator.optimizer_step_was_skipped:
            scheduler.step()

    def _log_training(self) -> None:
        """A line of the means since the line before."""
        sums = self.sums.reduce(self.accelerator)
        if not all(math.isfinite(value) for value in sums.values()):
            raise self._not_finite()
        now = time.perf_counter()
        figures = {
            f"train/{name}": value for name, value in summarize(sums, self.sums.beta).items()
        }
        tokens = sums["num_tokens"] - self._carried_tokens
        figures["train/tokens_per_second"] = tokens / max(now - self._clock, 1e-9)
        figures["train/learning_rate"] = float(self.trained.optimizer.param_groups[0]["lr"])
        if "updates" in sums:
            figures["train/inner_updates"] = sums["inner_updates"] / sums["updates"]
        self._clock, self._carried_tokens = now, 0.0
        self.sums.clear()
        self._write_line(figures)

    def _write_line(self, figures: Mapping[str, float]) -> None:
        progress, per_epoch = self.progress, self.batches_per_epoch
        epoch = progress.epoch + (progress.batch / per_epoch if per_epoch else 0.0)
        line = {"step": progress.step, "epoch": round(epoch, 6), **figures}
        if self.accelerator.is_main_process:
            with self._writing():
                self.log.append(line)
                for watcher in self.watchers:
                    watcher.line(line)

    def _save(self) -> None:
        started = time.perf_counter()
        if self.votes.agree(not self.sums.is_finite()):
            raise self._not_finite()
        with self._writing():
            length = self.log.sync() if self.accelerator.is_main_process else 0
        self.progress.log_bytes, self.progress.loader = length, self.loader.state_dict()
        self.keeper.save(self.progress, self.sums)
        self._clock += time.perf_counter() - started

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """A refused write ends the run with the checkpoint to go on from."""
        try:
            yield
        except OSError as error:
            raise CheckpointWriteError(
                f"{self.output_dir} could not be written to: {error}. Free some disk space and "
                f"start the same command again.",
                self.keeper.checkpoints.latest(),
            ) from error

    def _not_finite(self) -> LossNotFiniteError:
        return LossNotFiniteError(
            f"The loss became NaN or infinite at step {self.progress.step} or shortly before. "
            f"Start again with a lower training.learning_rate or max_grad_norm.",
            self.keeper.checkpoints.latest(),
        )

    def _interrupted(self, signals: StopSignals) -> TrainingInterrupted:
        # on some processes the signal of the others may not have arrived
        number = signals.received or signal.SIGTERM
        checkpoint = self.keeper.checkpoints.at(self.progress.step)
        name = "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name
        return TrainingInterrupted(name, 128 + number, checkpoint, self.resume_command)
