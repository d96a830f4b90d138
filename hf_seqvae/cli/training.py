"""train: a recipe to a trained model; recipe: what a recipe can say."""

import dataclasses
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from hf_seqvae.cli.errors import CommandFailed
from hf_seqvae.cli.options import Device, Json, check_device
from hf_seqvae.cli.screen import keep_on_a_line, plain_table, print_json, quiet, stderr, stdout

if TYPE_CHECKING:
    from accelerate import Accelerator

    from hf_seqvae.recipe import Recipe


def train(
    recipe: Annotated[
        str, typer.Argument(help="A YAML file, or the name of a packaged recipe.")
    ] = "quickstart",
    overrides: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Another value for a key, such as training.epochs=3. As often as you like.",
        ),
    ] = None,
    output_dir: Annotated[
        Path | None, typer.Option(help="Run folder, in place of the recipe's (runs/NAME).")
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume/--fresh",
            help="Go on from the newest checkpoint of the run folder, or remove the old run first.",
        ),
    ] = True,
    seed: Annotated[int | None, typer.Option(help="Short for --set seed=N.", min=0)] = None,
    device: Device = None,
    json: Json = False,
) -> None:
    """Train a model, then show its figures, walks between sentences and samples.

    Without an argument: the embedded corpus of everyday sentences, on the CPU, in minutes. Your own
    text: --set data.dataset=null --set data.train_file=my.txt --set data.validation_file=other.txt.
    All keys: hf-seqvae recipe.
    """
    check_device(device)
    from hf_seqvae import recipe as recipes
    from hf_seqvae.cli.closing import print_closing
    from hf_seqvae.engine import TrainingError, TrainingInterrupted
    from hf_seqvae.engine import train as train_recipe
    from hf_seqvae.study.cost import Stopwatch
    from hf_seqvae.study.folder import COST_NAME

    quiet()
    _quiet_datasets()
    overrides = list(overrides or ())
    overrides += [] if seed is None else [f"seed={seed}"]
    chosen = recipes.load(recipe, overrides)
    if output_dir is not None:
        chosen = dataclasses.replace(chosen, output_dir=str(output_dir))
    notes = stderr() if json else stdout()
    notes.print(f"[bold]training {chosen.name}[/] [dim]in[/] {chosen.output_dir}", soft_wrap=True)
    started = time.perf_counter()
    stopwatch = Stopwatch(Path(str(chosen.output_dir)) / COST_NAME, chosen.training.save_steps)
    try:
        result = train_recipe(
            chosen,
            resume=resume,
            console=notes,
            accelerator=_accelerator(chosen, device),
            watchers=[stopwatch],
        )
    except TrainingInterrupted as error:
        raise CommandFailed(str(error), error.exit_code) from error
    except TrainingError as error:
        raise CommandFailed(str(error)) from error
    minutes, seconds = divmod(round(time.perf_counter() - started), 60)
    notes.print(f"[dim]{result.progress.step:,} steps, {minutes} min {seconds} s[/]")
    if json:
        print_json(
            {
                "output_dir": str(result.output_dir),
                "model": str(result.best_dir),
                "best_step": result.progress.best_step,
                **{split: report.to_dict() for split, report in result.report.items()},
            }
        )
        return
    print_closing(notes, chosen, result, device)


def recipe() -> None:
    """List the packaged recipes and every key that a recipe, or train --set, can give."""
    from hf_seqvae.recipe import describe, packaged_names

    console = stdout()
    console.print(f"[bold]packaged recipes[/] {', '.join(packaged_names())}\n")
    table = plain_table("key", "default", "meaning")
    keep_on_a_line(table.columns[0])
    for key, kind, default, meaning in describe():
        shown = "null" if default is None else str(default)
        table.add_row(key, shown, Text.assemble(meaning, (f"; {kind}", "dim")))
    console.print(table)


def _accelerator(recipe: "Recipe", device: str | None) -> "Accelerator | None":
    """None lets the engine choose; asked for the CPU, it is the CPU."""
    if device is None or device == "cuda":
        return None
    if device != "cpu":
        raise ValueError(
            f"train --device is cpu or cuda, got {device!r}. Choose one GPU of several by "
            "CUDA_VISIBLE_DEVICES."
        )
    from accelerate import Accelerator

    training = recipe.training
    return Accelerator(
        cpu=True,
        mixed_precision=training.mixed_precision,
        log_with=list(training.trackers) or None,
        project_dir=str(Path(str(recipe.output_dir)) / "trackers"),
    )


def _quiet_datasets() -> None:
    """No bars of `datasets`: its work takes seconds here."""
    import datasets

    datasets.disable_progress_bars()
