"""selfcheck: every estimator against a case whose answer is known exactly."""

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from hf_seqvae.cli.errors import CommandFailed
from hf_seqvae.cli.options import Json
from hf_seqvae.cli.screen import print_json, quiet, stderr, stdout

if TYPE_CHECKING:
    from hf_seqvae.selfcheck import Check, Line


def selfcheck(
    full: Annotated[
        bool, typer.Option("--full", help="The long comparisons too: minutes, not seconds.")
    ] = False,
    only: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Only this check. As often as you like."),
    ] = None,
    json: Json = False,
) -> None:
    """Compare every estimator with an exact answer: exit code 1 where one is off.

    The answers come from closed forms (a linear VAE on Gaussian data), from enumeration and
    quadrature (a sequence VAE of two words and one latent) and from the grammar of everyday
    sentences. After a change of a metric, a dtype or a version of torch, this says whether the
    figures still mean what they say.
    """
    quiet()
    from hf_seqvae.selfcheck import choose_checks

    checks = choose_checks(only or ())
    started = time.perf_counter()
    lines = _run(checks, full)
    seconds = time.perf_counter() - started
    failed = [line for line in lines if not line.comparison.passed]
    if json:
        print_json(
            {
                "passed": not failed,
                "seconds": round(seconds, 1),
                "comparisons": [line.to_dict() for line in lines],
            }
        )
    else:
        stdout().print(comparison_table(lines))
    if failed:
        raise CommandFailed(_complaint(failed, len(lines)))
    if not json:
        summary = f"[bold green]all {len(lines)} comparisons hold[/] [dim]{seconds:.0f} s[/]"
        stdout().print(summary)


def comparison_table(lines: Sequence["Line"]) -> Table:
    """Estimate beside exact answer, estimator by estimator; what failed stands out."""
    table = Table(box=None, padding=(0, 1), pad_edge=False, header_style="dim")
    table.add_column("", no_wrap=True)
    table.add_column("nats where there is a unit")
    table.add_column("estimate", justify="right", no_wrap=True)
    table.add_column("exact", justify="right", no_wrap=True)
    table.add_column("allowed", no_wrap=True)
    before = None
    for line in lines:
        found = line.comparison
        if line.check != before:
            seconds = sum(other.seconds for other in lines if other.check == line.check)
            heading = Text(line.check, style="bold").append(
                f"  {seconds:.1f} s", style="not bold dim"
            )
            table.add_row("", heading)
        before = line.check
        table.add_row(
            Text("✓", style="green") if found.passed else Text("✗"),
            found.quantity,
            f"{found.estimate:.5g}",
            f"{found.exact:.5g}",
            Text(found.rule, style="dim" if found.passed else ""),
            style="" if found.passed else "bold red",
        )
    return table


def _run(checks: Sequence["Check"], full: bool) -> list["Line"]:
    """All comparisons, with a bar on a terminal."""
    from hf_seqvae.selfcheck import run_checks

    console = stderr()
    with Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total}"),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as progress:
        task = progress.add_task("", total=len(checks))
        begun: list[str] = []

        def before(check: "Check") -> None:
            progress.update(task, description=check.name, completed=len(begun))
            begun.append(check.name)

        return list(run_checks(checks, full=full, before=before))


def _complaint(failed: Sequence["Line"], count: int) -> str:
    """Which estimators are off, and by how much."""
    parts = [f"{line.check}: {line.comparison.complaint()}" for line in failed[:3]]
    if len(failed) > len(parts):
        rest = dict.fromkeys(line.check for line in failed[len(parts) :])
        parts.append(f"and {len(failed) - len(parts)} more, of {', '.join(rest)}")
    return f"{len(failed)} of {count} comparisons failed. {'; '.join(parts)}."
