"""The table of figures that train and evaluate print, one column a data set."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from hf_seqvae.cli.screen import plain_table

if TYPE_CHECKING:
    from hf_seqvae.evaluation import Figure, Report

# name in the report, what it is called here, what it says
ROWS = (
    ("negative_elbo", "-ELBO", "bound: -log p(x) is at most this"),
    ("exact_nll", "-log p(x)", "exact, by the grammar that wrote the text"),
    ("entropy", "entropy", "of that grammar: no model does better on average"),
    ("bound_gap", "bound gap", "-ELBO less exact, sentence by sentence"),
    ("reconstruction_nll", "reconstruction", "-log p(x|z), z from the posterior, end included"),
    ("kl", "KL", "KL(q(z|x) || p(z)): what z carries"),
    ("kl_per_dimension", "most of it in", "the dimension to traverse first"),
    ("swap_gap", "swap gap", "nats lost when z is another sentence's"),
    ("mutual_information", "MI", "I(x; z) under q"),
    ("active_units", "active units", "dimensions whose posterior mean varies >= 0.01"),
    ("word_perplexity_bound", "word PPL", "exp(-ELBO / (words + one end a sentence))"),
    ("token_perplexity_bound", "token PPL", "exp(-ELBO / tokens), end included"),
)


def figures_table(
    reports: Mapping[str, "Report"], title: str, *, entropy: float | None = None
) -> Table:
    """Figures by row, data sets by column, and what each figure says.

    Args:
        reports: column heading -> Report.
        title: over the table.
        entropy: of the source of the text, nats a sentence, where it is known.
    """
    table = plain_table("", *(f"{name}" for name in reports), "what it says", title=title)
    table.columns[0].no_wrap = True
    for column in table.columns[1:-1]:
        column.justify = "right"
        column.no_wrap = True
    table.columns[-1].style = "dim"
    counts = [Text(f"{report.num_sentences:,}") for report in reports.values()]
    table.add_row("sentences", *counts, "nats a sentence below, ± standard error")
    for name, label, meaning in ROWS:
        if name == "entropy":
            if entropy is not None:
                table.add_row(label, *[f"{entropy:.2f}"] * len(reports), meaning)
            continue
        found = [report.figures.get(name) for report in reports.values()]
        if any(figure is not None for figure in found):
            cells = [Text("-") if figure is None else _cell(figure) for figure in found]
            table.add_row(label, *cells, meaning + _caps(name, found))
    return table


def _cell(figure: "Figure") -> Text:
    if figure.value is None:
        return Text("-")
    if isinstance(figure.value, list):
        largest = max(figure.value)
        return Text(f"z[{figure.value.index(largest)}] {largest:.2f}")
    if isinstance(figure.value, int):
        of_all = "" if figure.cap is None else f" of {figure.cap:.0f}"
        return Text(f"{figure.value}{of_all}")
    text = Text(f"{figure.value:.2f}")
    if isinstance(figure.standard_error, float):
        text.append(f" ± {figure.standard_error:.2f}", style="dim")
    return text


def _caps(name: str, found: list["Figure | None"]) -> str:
    """The most the estimator can say, and why a figure is missing."""
    known = [figure for figure in found if figure is not None]
    reasons = {figure.reason for figure in known if figure.reason}
    if reasons:
        return f" (undefined: {'; '.join(sorted(reasons))})"
    if name != "mutual_information":
        return ""
    caps = [f"{figure.cap:.2f}" for figure in known if figure.cap is not None]
    return f"; at most ln N = {' and '.join(dict.fromkeys(caps))}" if caps else ""
