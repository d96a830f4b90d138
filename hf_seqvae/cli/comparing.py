"""compare: a study of recipes x seeds, trained side by side, in one table."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hf_seqvae.cli.errors import CommandFailed
from hf_seqvae.cli.screen import plain_table, quiet, stderr, stdout

if TYPE_CHECKING:
    from hf_seqvae.study import Job


def compare(
    study: Annotated[str, typer.Argument(help="A YAML file that lists runs and seeds.")],
    overrides: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Another value for a recipe key of all runs, such as data.train_file=my.txt.",
        ),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Only this run. As often as you like."),
    ] = None,
    seeds: Annotated[
        str | None, typer.Option(metavar="N,N", help="Only these seeds, such as 0,1.")
    ] = None,
    jobs: Annotated[int, typer.Option(help="Runs side by side.", min=1)] = 1,
    nice: Annotated[int, typer.Option(help="Added to the niceness of the runs.", min=0)] = 0,
    output_dir: Annotated[
        Path | None, typer.Option(help="Folder of the study, in place of its own.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List the runs and how far they have come.")
    ] = False,
) -> None:
    """Train every recipe of a study with every seed, and compare them in one table.

    Runs that are finished are never repeated, killed ones go on: give the same command again.
    """
    quiet()
    from hf_seqvae import study as studies

    chosen = studies.load_study(study)
    if output_dir is not None:
        chosen = dataclasses.replace(chosen, output_dir=str(output_dir))
    numbers = None if seeds is None else _seeds(seeds)
    planned = studies.plan_jobs(
        chosen, study, overrides=overrides or (), only=only or (), seeds=numbers
    )
    refused = studies.check_study_folder(chosen, planned)
    if dry_run:
        _show_states(planned, refused)
        return
    if refused:
        raise ValueError("Nothing was started. " + " ".join(refused.values()))
    studies.write_study(chosen)
    try:
        failed = studies.run_jobs(planned, num_parallel=jobs, nice=nice)
    except studies.StudyStopped as error:
        raise CommandFailed(str(error), error.exit_code) from error
    for job, lines in failed.items():
        stderr().print(f"failed: {job.title} ({job.folder})\n{lines}", markup=False)
    if failed:
        raise CommandFailed(f"{len(failed)} of {len(planned)} runs failed: {_titles(failed)}.")


def _seeds(text: str) -> list[int]:
    try:
        return [int(word) for word in text.split(",")]
    except ValueError as error:
        raise ValueError(f"--seeds must be whole numbers with commas, got {text!r}.") from error


def _show_states(planned: "Sequence[Job]", refused: "dict[Job, str]") -> None:
    table = plain_table("run", "seed", "state", "folder")
    for job in planned:
        table.add_row(job.run, str(job.seed), refused.get(job, job.state()), str(job.folder))
    stdout().print(table)


def _titles(jobs: "dict[Job, str]") -> str:
    return ", ".join(job.title for job in jobs)
