"""`train(recipe)`: a whole run, from the recipe to best/, curves.png and report.json."""

import dataclasses
import json
import logging
import shlex
import sys
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from hf_seqvae import recipe as recipes
from hf_seqvae.callbacks import CollapseWatcher
from hf_seqvae.data import Collator
from hf_seqvae.diagnosis import known_setup
from hf_seqvae.engine.bar import ProgressBar
from hf_seqvae.engine.environment import ENVIRONMENT_NAME, EnvironmentFile
from hf_seqvae.engine.files import require_writable, write_text
from hf_seqvae.engine.launch import (
    build_accelerator,
    check_accelerator,
    check_launch,
    launched_precision,
)
from hf_seqvae.engine.loader import epoch_length
from hf_seqvae.engine.lock import locked
from hf_seqvae.engine.log import RunLog
from hf_seqvae.engine.loop import Engine
from hf_seqvae.engine.parts import (
    Text,
    build_decay,
    build_evaluator,
    build_inner_loop,
    build_phases,
    build_settings,
    build_train_loader,
    prepare_text,
)
from hf_seqvae.engine.phases import beta_of_run
from hf_seqvae.engine.progress import Progress
from hf_seqvae.engine.settings import total_steps
from hf_seqvae.engine.watchers import Curves, Trackers, Watcher
from hf_seqvae.engine.weights import quiet_transformers
from hf_seqvae.evaluation import Report, evaluate, leave_at_exit
from hf_seqvae.model.modeling_lstm import SeqVAELSTMForCausalLM
from hf_seqvae.model.modeling_seqvae import SeqVAEModel
from hf_seqvae.recipe import Recipe

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingResult:
    """Where the results of a run lie, and its last figures.

    Attributes:
        output_dir: the run folder.
        best_dir: HF folder of the weights with the highest validation ELBO.
        last_dir: HF folder of the last weights.
        log_path: log.jsonl.
        report_path: report.json.
        report: the full evaluation of best/ by split ("validation", "test"); empty without such
            splits, and on all processes but the first.
        progress: steps, epochs, best ELBO.
    """

    output_dir: Path
    best_dir: Path
    last_dir: Path
    log_path: Path
    report_path: Path
    report: Mapping[str, Report]
    progress: Progress


def train(
    recipe: Recipe | str | Path,
    *,
    resume: bool | str | Path = True,
    output_dir: str | Path | None = None,
    progress: bool = True,
    console: Any = None,
    accelerator: Accelerator | None = None,
    watchers: Sequence[Watcher] = (),
) -> TrainingResult:
    """Train what a recipe says, or go on with it, and evaluate the best weights.

    Args:
        recipe: a Recipe, or the path or packaged name of one.
        resume: True goes on from the newest checkpoint in the run folder, if there is one; False
            removes the old run; a checkpoint folder of this run goes on from there.
        output_dir: in place of the recipe's.
        progress: show a progress bar.
        console: a rich Console for it; None makes one.
        accelerator: None makes one.
        watchers: told of the run as it goes, on the main process.

    Raises:
        ValueError: the folder cannot be written to, holds a run of another recipe or text, or is
            in use by another process; or fewer processes came than were asked for.
        TrainingError: the loss became NaN or the disk is full; names the last good checkpoint.
        TrainingInterrupted: a signal came and a checkpoint was saved; says how to go on.
    """
    check_launch()
    if not isinstance(recipe, Recipe):
        recipe = recipes.load(recipe)
    if output_dir is not None:
        recipe = dataclasses.replace(recipe, output_dir=str(output_dir))
    folder = Path(str(recipe.output_dir))
    require_writable(folder)
    if accelerator is None:
        precision = launched_precision(recipe.training.mixed_precision)
        training = dataclasses.replace(recipe.training, mixed_precision=precision)
        recipe = dataclasses.replace(recipe, training=training)
    training = recipe.training
    if resume is not False:
        check_same_recipe(folder, recipe)
    if accelerator is not None:
        check_accelerator(accelerator, training.mixed_precision, training.num_processes)
    else:
        accelerator = build_accelerator(
            mixed_precision=training.mixed_precision,
            num_processes=training.num_processes,
            trackers=training.trackers,
            project_dir=folder / "trackers",
        )
    leave_at_exit()
    with locked(folder) if accelerator.is_main_process else nullcontext():
        return _train(recipe, accelerator, folder, resume, progress, console, watchers)


def _train(
    recipe: Recipe,
    accelerator: Accelerator,
    folder: Path,
    resume: bool | str | Path,
    progress: bool,
    console: Any,
    watchers: Sequence[Watcher],
) -> TrainingResult:
    """`train`, in a folder that is this process's alone."""
    with accelerator.main_process_first():  # the others find the first one's cache
        text = prepare_text(recipe)
    engine = _build_engine(recipe, text, accelerator, folder)
    if accelerator.is_main_process:
        engine.watchers += [*watchers, *([ProgressBar(console)] if progress else [])]
    accelerator.wait_for_everyone()
    state = engine.fit(resume=resume)
    result = TrainingResult(
        output_dir=folder,
        best_dir=folder / "best",
        last_dir=folder / "last",
        log_path=folder / "log.jsonl",
        report_path=folder / "report.json",
        report={},
        progress=state,
    )
    if not accelerator.is_main_process:
        return result
    controller = engine.trained.controller
    missed = None if controller is None else controller.missed()
    if missed is not None:
        logger.warning(missed)
    return dataclasses.replace(result, report=_report(recipe, text, accelerator, result))


def check_same_recipe(folder: Path, recipe: Recipe, *, cure: str | None = None) -> None:
    """Raise where a run folder holds checkpoints, or the report, of another recipe.

    Args:
        folder: of the run.
        recipe: that is to go on in it.
        cure: what to do then; None for what `train` can do.

    Raises:
        ValueError: naming what differs.
    """
    kept = folder / "recipe.yaml"
    begun = any((folder / "checkpoints").glob("step-*")) or (folder / "report.json").is_file()
    if not kept.is_file() or not begun:
        return
    cure = cure or (
        "Choose another output_dir, start again with --fresh (resume=False), which removes "
        f"that run, or go on with its own recipe: {kept}."
    )
    refuse_other_recipe(
        recipes.load(kept), recipe, f"{folder} holds a run of another recipe", cure=cure
    )


def refuse_other_recipe(old: Recipe, new: Recipe, what: str, *, cure: str) -> None:
    """Raise where two recipes differ in what bears on the weights.

    Raises:
        ValueError: `what` is the matter, each option that changed, and the cure.
    """
    changed = recipes.differences(old, new)
    if changed:
        listed = "; ".join(f"{key}: {a!r} -> {b!r}" for key, (a, b) in changed.items())
        raise ValueError(f"{what}; changed: {listed}. {cure}")


def resume_command(folder: Path, num_processes: int) -> str:
    """The command that goes on with the run in a folder."""
    kept = folder / "recipe.yaml"
    if num_processes == 1:
        return shlex.join(["hf-seqvae", "train", str(kept)])
    launcher = f"python -m torch.distributed.run --nproc_per_node {num_processes}"
    return f"{launcher} {shlex.join([sys.argv[0], str(kept)])}"


def _build_engine(recipe: Recipe, text: Text, accelerator: Accelerator, folder: Path) -> Engine:
    training = recipe.training
    model = recipes.build_model(recipe, text.tokenizer)
    if training.compile:
        model.compile()
    model.to(accelerator.device)  # pyright: ignore[reportArgumentType]
    loader = build_train_loader(recipe, text, accelerator)
    settings, num_batches = build_settings(recipe), epoch_length(loader)
    optimizer = recipes.build_optimizer(recipe, model)
    num_steps = total_steps(settings, num_batches)
    phases = build_phases(recipe, text.tokenizer, num_batches)
    watchers: list[Watcher] = [
        RecipeFile(recipe, folder / "recipe.yaml"),
        EnvironmentFile(accelerator, folder / ENVIRONMENT_NAME),
        Curves(folder / "log.jsonl", folder / "curves.png", floor=text.entropy),
    ]
    # a language model has no latent to collapse, and a held rate no beta to judge it by
    if isinstance(model, SeqVAEModel) and recipe.objective.beta.schedule != "target_rate":
        watcher = CollapseWatcher(
            beta_of_run(phases, num_batches),
            RunLog(folder / "log.jsonl"),
            num_sentences=len(text.held_out.get("validation", ())) or None,
            setup=known_setup(model.config, recipe.to_dict()),
        )
        watchers.append(watcher)
    if training.trackers:
        watchers.append(Trackers(accelerator, recipe.name, recipe.to_dict()))
    return Engine(
        model,
        phases[-1].objective,
        loader,
        optimizer,
        folder,
        settings,
        accelerator=accelerator,
        scheduler=recipes.build_scheduler(recipe, optimizer, num_steps),
        decay=build_decay(recipe),
        evaluator=build_evaluator(recipe, text, accelerator),
        tokenizer=text.tokenizer,
        fingerprint={"recipe": recipe.fingerprint(), **text.fingerprint()},
        resume_command=resume_command(folder, accelerator.num_processes),
        watchers=watchers,
        phases=phases,
        inner=build_inner_loop(recipe),
    )


class RecipeFile:
    """recipe.yaml in the run folder, written when training begins."""

    def __init__(self, recipe: Recipe, path: Path) -> None:
        self.recipe = recipe
        self.path = path

    def start(self, progress: Progress, num_steps: int | None) -> None:
        """Write it, whole or not at all."""
        draft = self.path.with_name(f".new-draft-{self.path.name}")
        recipes.save(self.recipe, draft)
        text = draft.read_text(encoding="utf-8").replace(str(draft), str(self.path), 1)
        draft.unlink()
        write_text(self.path, text)

    def step(self) -> None:
        """Nothing."""

    def line(self, line: Mapping[str, Any]) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


def _report(
    recipe: Recipe, text: Text, accelerator: Accelerator, result: TrainingResult
) -> dict[str, Report]:
    """Evaluate best/ on each held-out split and write report.json."""
    model_class = SeqVAELSTMForCausalLM if recipe.is_language_model else SeqVAEModel
    with quiet_transformers():
        model = model_class.from_pretrained(result.best_dir)
    model.to(accelerator.device)  # pyright: ignore[reportArgumentType]
    report = {
        name: evaluate(
            model,
            rows,
            collator=Collator.from_tokenizer(text.tokenizer),
            num_samples=recipe.training.num_eval_samples,
            seed=recipe.seed,
            batch_size=recipe.training.eval_batch_size,
            floor=text.floors.get(name),
        )
        for name, rows in text.held_out.items()
    }
    values = {
        "name": recipe.name,
        "best_step": result.progress.best_step,
        "steps": result.progress.step,
        "max_length": recipe.data.max_length,
        **{name: figures.to_dict() for name, figures in report.items()},
    }
    write_text(result.report_path, json.dumps(values, indent=2, allow_nan=False) + "\n")
    return report
