"""compare: a study of recipes x seeds, trained side by side, in one table."""

import dataclasses
from collections.abc import Container, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hf_seqvae.cli.errors import CommandFailed
from hf_seqvae.cli.options import Json
from hf_seqvae.cli.screen import plain_table, print_json, quiet, stderr, stdout
from hf_seqvae.cli.studying import JobScreen, show_rows

if TYPE_CHECKING:
    from rich.console import Console

    from hf_seqvae.study import Job, Result, Study


def compare(
    study: Annotated[str, typer.Argument(help="A YAML file that lists runs and seeds.")],
    overrides: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Another value for a recipe key of all runs, such as data.train_file=my.txt. "
            "It wins over the study. As often as you like.",
        ),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="Train only this run; the table is of all. As often as you like."
        ),
    ] = None,
    seeds: Annotated[
        str | None,
        typer.Option(
            metavar="N,N",
            help="Train all runs with these seeds, such as 0,1; the table has the study's as well.",
        ),
    ] = None,
    jobs: Annotated[
        int, typer.Option(help="Runs side by side, one thread each if more than one.", min=1)
    ] = 1,
    nice: Annotated[
        int, typer.Option(help="Added to the niceness of the runs.", min=0, max=19)
    ] = 0,
    output_dir: Annotated[
        Path | None, typer.Option(help="Folder of the study (runs/studies/NAME).")
    ] = None,
    results: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="The results.jsonl of another folder of this study: its runs that have not begun "
            "here count as finished. They must have read the same text: files are compared by "
            "content wherever they are, and by their paths where they are not here.",
        ),
    ] = None,
    table_only: Annotated[
        bool, typer.Option("--table-only", help="Train nothing: table and pictures of what is.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List the runs and how far they have come.")
    ] = False,
    json: Json = False,
) -> None:
    """Train every recipe of a study with every seed, and compare them in one table.

    A study lists runs, each a recipe and the keys that make it differ. Each run is trained with
    each seed in a folder of its own, and its likelihood is measured with importance samples. In the
    end table.md, table.json and pictures lie in the folder of the study, and results.jsonl: without
    weights, it is all that --results needs to go on in another folder or on another machine.

    Runs that are finished are never repeated, killed ones go on: give the same command again. A run
    that fails is reported, and the rest goes on.
    """
    quiet()
    from hf_seqvae import study as studies

    chosen = studies.load_study(study)
    if output_dir is not None:
        chosen = dataclasses.replace(chosen, output_dir=str(output_dir))
    overrides = overrides or []
    numbers = None if seeds is None else read_seeds(seeds)
    planned = studies.plan_jobs(chosen, study, overrides=overrides, only=only or (), seeds=numbers)
    # what is chosen to run, the table is of all
    shown = list(dict.fromkeys([*studies.plan_jobs(chosen, study, overrides=overrides), *planned]))
    refused = studies.check_study_folder(chosen, shown)
    studies.check_results(chosen)
    found: Mapping[Job, Result] = {}
    if results is not None:
        kept = studies.find_results(results, [job for job in shown if job not in refused])
        found = kept.results
        refused |= kept.refused
        _note_unread(kept.unread)
    if dry_run:
        _show_states(planned, refused, found, json)
        return
    in_the_way = [f"{job.title}: {refused[job]}" for job in planned if job in refused]
    if in_the_way and not table_only:
        raise ValueError(f"Nothing was started. {' '.join(in_the_way)}")
    _show_refused(refused)
    if results is not None:
        studies.put_results(chosen, found)
        words = f"{len(found)} finished runs were taken from {results}"
        stderr().print(words, markup=False, soft_wrap=True)
    failed: Mapping[Job, str] = {}
    if not table_only:
        studies.write_study(chosen, overrides)
        notes = stderr()
        notes.print(
            f"[bold]study {chosen.name}[/] [dim]{len(planned)} runs in[/] {chosen.folder}",
            soft_wrap=True,
        )
        try:
            with JobScreen(planned, notes) as screen:
                failed = studies.run_jobs(
                    planned,
                    num_parallel=jobs,
                    nice=nice,
                    watch=screen.update,
                    note=lambda text: notes.print(text, markup=False, soft_wrap=True),
                    ended=lambda job: _keep(chosen, job, notes),
                )
        except studies.StudyStopped as error:
            raise CommandFailed(str(error), error.exit_code) from error
    base = studies.base_recipe(chosen, study, overrides)
    rows = studies.finish_study(chosen, shown, base, refused=refused)
    if json:
        print_json(studies.read_table(chosen))
    else:
        show_rows(stdout(), chosen, rows)
    for job, reason in failed.items():
        text = f"{job.title} failed: {reason}"
        stderr().print(text, style="red", markup=False, soft_wrap=True)
    if failed:
        titles = ", ".join(job.title for job in failed)
        raise CommandFailed(f"{len(failed)} of {len(planned)} runs failed: {titles}.")
    damaged = [one.job.title for row in rows for one in row.results if one.fault]
    if damaged:
        raise CommandFailed(f"Damaged, and not in the table: {', '.join(damaged)}.")


def _note_unread(jobs: "Sequence[Job]") -> None:
    """Say of which runs the text was not compared."""
    if jobs:
        text = f"the text of {len(jobs)} runs was compared by its paths alone: {jobs[0].title}"
        text += " and others" if len(jobs) > 1 else ""
        stderr().print(f"note: {text}", style="yellow", markup=False, soft_wrap=True)


def _keep(study: "Study", job: "Job", notes: "Console") -> None:
    """Put a run into results.jsonl; where that cannot be, say so: the others go on."""
    from hf_seqvae import study as studies

    result = studies.read_result(job)
    fault = result.fault
    try:
        studies.write_results(study, [result])
    except (ValueError, OSError) as error:
        fault = str(error)
    if fault:
        text = f"{job.title} is finished, and not in results.jsonl yet: {fault}"
        notes.print(text, style="red", markup=False, soft_wrap=True)


def read_seeds(text: str) -> list[int]:
    """The seeds of "0,1,2".

    Raises:
        ValueError: something else.
    """
    words = text.split(",")
    if not all(word.strip().isdecimal() for word in words):
        raise ValueError(f"--seeds must be whole numbers with commas, such as 0,1, got {text!r}.")
    return [int(word) for word in words]


def _show_states(
    planned: "list[Job]", refused: "Mapping[Job, str]", found: "Container[Job]", json: bool
) -> None:
    def state_of(job: "Job") -> str:
        return "refused" if job in refused else "finished" if job in found else job.state()

    states = [(job, state_of(job)) for job in planned]
    if json:
        print_json(
            [
                {"run": job.run, "seed": job.seed, "state": state, "folder": str(job.folder)}
                for job, state in states
            ]
        )
        return
    table = plain_table("run", "seed", "state", "folder")
    for job, state in states:
        table.add_row(job.run, str(job.seed), state, str(job.folder))
    stdout().print(table)
    _show_refused({job: reason for job, reason in refused.items() if job in planned})


def _show_refused(refused: "Mapping[Job, str]") -> None:
    for job, reason in refused.items():
        stderr().print(f"{job.title}: {reason}", style="red", markup=False, soft_wrap=True)
