"""What compare shows: its jobs while they run, and its table in short."""

from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from hf_seqvae.cli.screen import keep_on_a_line, plain_table

if TYPE_CHECKING:
    from hf_seqvae.study import Job, Result, Row, Spread, Study

# figures of the short table beside the likelihood, with their decimals
_SHOWN = (("word_perplexity", 2), ("kl", 2), ("mutual_information", 2), ("active_units", 1))


class JobScreen:
    """The jobs of a study as they go: a table on a terminal, elsewhere a line for what is new.

    Args:
        jobs: all of them.
        console: where.
    """

    def __init__(self, jobs: "Sequence[Job]", console: Console) -> None:
        self.jobs = jobs
        self.console = console
        self._live = Live(console=console, auto_refresh=False, transient=True)
        self._said: dict[str, str] = {}

    def __enter__(self) -> "JobScreen":
        """Begin."""
        if self.console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Take the table away."""
        self._live.stop()

    def update(self, running: "Sequence[Job]") -> None:
        """Show how far the jobs have come; `running` are those of this command."""
        from hf_seqvae.study import follow

        results = [follow(job) for job in self.jobs]
        if self.console.is_terminal:
            self._live.update(_states(results), refresh=True)
            return
        first = not self._said
        for result in results:
            line = f"{result.job.title}: {result.state}"
            if result.elbo is not None:
                line += f", epoch {result.validated_epoch:g}, validation ELBO {result.elbo:.2f}"
            if (measured := result.measured) is not None:
                done, total = measured
                line += f", {10 * (10 * done // total)} % of {total:,} sentences"
            new = result.job in running if first else self._said[result.job.title] != line
            if new:
                self.console.print(line, markup=False, soft_wrap=True)
            self._said[result.job.title] = line


def show_rows(console: Console, study: "Study", rows: "Sequence[Row]") -> None:
    """Print the figures that matter most, a line a run, and where all are."""
    from hf_seqvae.study import difference_text, mean_text, unfinished_lines

    plan = study.evaluation
    title = f"{study.name}: mean ± standard deviation over n seeds, nats a sentence"
    columns = ("run", "n", "IW-NLL", f"against {study.baseline}", "word PPL", "KL", "MI", "units")
    table = plain_table(*columns, "CPU x", title=title)
    table.padding = (0, int(console.width >= 100), 0, 0)  # 80 columns hold all of it
    for column in table.columns:
        if column.header in columns[:4:3]:  # names and intervals fold, figures not
            column.min_width = 10
        else:
            keep_on_a_line(column)
    for row in rows:
        if not row.finished:
            continue
        exact = " exact" if row.finished[0].exact else ""
        against = "baseline" if row.run.name == study.baseline else difference_text(row.difference)
        table.add_row(
            Text(row.run.name),
            str(len(row.finished)),
            mean_text(row.figures.get("nll"), 2) + exact,
            Text(against),
            *(_mean(row.figures.get(name), decimals) for name, decimals in _SHOWN),
            _mean(row.costs.get("cpu_seconds"), 2),
        )
    console.print(table)
    for line in unfinished_lines([one for row in rows for one in row.results]):
        console.print(f"unfinished: {line}", style="yellow", markup=False)
    console.print(
        f"IW-NLL: K = {plan.iw_samples}, the first {plan.iw_sentences} {plan.split} sentences",
        style="dim",
        markup=False,
    )
    console.print(Text.assemble(("table and pictures  ", "dim"), str(study.folder)), soft_wrap=True)


def _mean(spread: "Spread | None", decimals: int) -> str:
    """The mean alone."""
    from hf_seqvae.study import number

    return number(None if spread is None else spread.mean, decimals)


def _states(results: "Sequence[Result]") -> Table:
    table = plain_table("run", "seed", "state", "epoch", "validation ELBO", "left")
    for result in results:
        left = ""
        if (measured := result.measured) is not None:
            left = "{:,} of {:,} sentences measured".format(*measured)
        elif (seconds := result.remaining_seconds) is not None:
            left = f"{seconds / 60:.0f} min"
        table.add_row(
            result.job.run,
            str(result.job.seed),
            result.state,
            f"{result.epoch:.1f} of {result.job.recipe.training.epochs}" if result.epoch else "",
            "" if result.elbo is None else f"{result.elbo:.2f}",
            left,
        )
    return table
