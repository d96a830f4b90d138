"""The table of figures that train and evaluate print, one column a data set."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table
from rich.text import Text

from hf_seqvae.cli.screen import keep_on_a_line, plain_table

if TYPE_CHECKING:
    from hf_seqvae.evaluation import Difference, Figure, Report

WIDE = 100  # columns of a terminal with room for what figures mean

# name in the report, what it is called here, what it says; None begins a group
ROWS = (
    (None, "likelihood", "nats a sentence, ± standard error"),
    ("negative_elbo", "-ELBO", "bound: -log p(x) is at most this"),
    ("iw_nll", "IW-NLL", "by importance weights: in expectation a tighter bound"),
    ("iw_effective_sample_size", "samples that count", "of the weights; near 1 it is loose"),
    ("exact_model_nll", "-log p(x)", "exact: the model has no latents"),
    ("exact_nll", "-log p(x)", "exact, by the grammar that wrote the text"),
    ("entropy", "entropy", "of that grammar: no model does better on average"),
    ("bound_gap", "bound gap", "-ELBO less exact, sentence by sentence"),
    ("iw_gap", "IW gap", "IW-NLL less exact, sentence by sentence"),
    ("model_gap", "gap", "the model's less the grammar's, sentence by sentence"),
    ("word_perplexity_bound", "word PPL, -ELBO", "exp(-ELBO / (words + one end a sentence))"),
    ("word_perplexity", "word PPL", "exp(nll / (words + one end a sentence))"),
    ("token_perplexity", "token PPL", "exp(nll / tokens), end included"),
    ("token_perplexity_bound", "token PPL, -ELBO", "exp(-ELBO / tokens), end included"),
    ("unknown_share", "unknown words", "share of the tokens that are <unk> to the model"),
    (None, "use of the latents", "nats a sentence"),
    ("reconstruction_nll", "reconstruction", "-log p(x|z), z from the posterior, end included"),
    ("kl", "KL", "KL(q(z|x) || p(z)): what z may carry"),
    ("kl_per_dimension", "most of it in", "the dimension to traverse first"),
    ("mutual_information", "MI", "I(x; z) under q: what z tells of the sentence"),
    ("minibatch_mutual_information", "MI in batches", "within 32 sentences in a row"),
    ("used_fraction", "used", "MI / KL: the rest is paid and tells nothing"),
    ("active_units", "active units", "dimensions whose posterior mean varies >= 0.01"),
    ("swap_gap", "swap gap", "lost when z is another sentence's"),
    ("zero_gap", "zero gap", "lost when z is 0"),
    ("first_words_ratio", "first words", "saved a token in the first quarter over all; 1 is even"),
    ("length_saving", "in the length", "the part of the swap gap that says where to end"),
    (None, "dispersion", "tr Cov / E||f||^2: 0 all alike, 1 spread around 0"),
    ("features_relative_variance", "encoder states", "before pooling, all tokens"),
    ("pooled_relative_variance", "pooled features", "one a sentence"),
    ("posterior_mean_relative_variance", "posterior means", "one a sentence"),
    (None, "generated text", "see report.json for the conditions"),
    ("reconstruction_bleu", "BLEU", "of greedy reconstructions, 0 to 100"),
    ("exact_match", "exact match", "share rebuilt word for word"),
    ("token_accuracy", "token accuracy", "share of positions with the right token"),
    ("self_bleu", "self-BLEU", "of samples among themselves: lower is more varied"),
    ("distinct_2", "distinct-2", "different word pairs over all, of samples"),
    ("sample_length_difference", "length", "words of a sample less those of a sentence"),
    ("forward_perplexity", "forward PPL", "of samples under a trigram of the data"),
    ("real_forward_perplexity", "the same, real", "of real text in the place of the samples"),
    ("reverse_perplexity", "reverse PPL", "of the data under a trigram of samples"),
    ("real_reverse_perplexity", "the same, real", "under a trigram of as many real sentences"),
    ("walk_monotonicity", "walks", "share of steps that do not lead away from the end (ours)"),
)
_SIGNS = {-1: "lower is better", 1: "higher is better", 0: ""}


def figures_table(
    reports: Mapping[str, "Report"], title: str, *, entropy: float | None = None
) -> Table:
    """Figures by row, data sets by column, and what each figure says.

    Args:
        reports: column heading -> Report.
        title: over the table.
        entropy: of the source of the text, nats a sentence, where it is known.
    """
    table = plain_table("", *map(escape, reports), "what it says", title=escape(title))
    keep_on_a_line(*table.columns[:-1])
    for column in table.columns[1:-1]:
        column.justify = "right"
    table.columns[-1].style = "dim"
    counts = [Text(f"{report.num_sentences:,}") for report in reports.values()]
    table.add_row("sentences", *counts, "")
    heading: tuple[str, str] | None = None
    for name, label, meaning in ROWS:
        if name is None:
            heading = (label, meaning)
            continue
        found = [report.figures.get(name) for report in reports.values()]
        if name == "entropy":
            cells = [Text("" if entropy is None else f"{entropy:.2f}")] * len(reports)
            shown = entropy is not None
        else:
            cells = [Text("-") if figure is None else _cell(figure) for figure in found]
            shown = any(figure is not None for figure in found)
        if not shown:
            continue
        if heading is not None:
            table.add_section()
            table.add_row(Text(heading[0], style="bold"), *[""] * len(reports), heading[1])
            heading = None
        table.add_row(label, *cells, meaning + _caps(name, found))
    return table


def comparison_table(
    names: Sequence[str],
    reports: Sequence["Report"],
    differences: Sequence["Difference"],
    *,
    width: int = WIDE,
) -> Table:
    """Two models side by side; each difference over the same sentences, in standard errors.

    What a figure means is left out where `width` has no room for it.
    """
    table = plain_table(
        "",
        *map(escape, names),
        "second less first",
        "in standard errors",
        "",
        title="\nside by side",
    )
    keep_on_a_line(table.columns[0], table.columns[3])
    for column in table.columns[1:-1]:
        column.justify = "right"
    table.columns[-1].style = "dim"
    labels = {name: label for name, label, _ in ROWS if name is not None}
    meanings = {name: meaning for name, _, meaning in ROWS if name is not None}
    paired = {item.name: item for item in differences}
    against = [name for name in paired if " against " in name]  # a model without latents
    for name in dict.fromkeys([*against, *labels, *paired]):
        figures = [report.figures.get(name) for report in reports]
        item = paired.get(name)
        if item is None and not any(figures):
            continue
        cells = [Text("-") if figure is None else _cell(figure) for figure in figures]
        if item is None:
            table.add_row(labels[name], *cells, "", "", meanings[name] + _caps(name, figures))
            continue
        error = "" if item.standard_error is None else f" ± {item.standard_error:.3f}"
        ratio = item.in_standard_errors
        table.add_row(
            labels.get(name, name.replace("_", " ")),
            *cells,
            f"{item.difference:+.3f}{error}",
            "-" if ratio is None else Text(f"{ratio:+.1f}", style="bold" if abs(ratio) > 3 else ""),
            (_SIGNS[item.sign] + _caps(name, figures)).removeprefix("; "),
        )
    if width < WIDE:
        table.columns.pop()
    unknown = {
        str(figure.value) for report in reports if (figure := report.figures.get("unknown_share"))
    }
    if len(unknown) > 1:
        table.caption = (
            "The models do not know the same words: an unknown one costs less than a word, so the "
            "likelihood is not lower by merit alone."
        )
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
    text = Text(f"{figure.value:.2f}".replace("-0.00", "0.00"))
    if isinstance(figure.standard_error, float):
        text.append(f" ± {figure.standard_error:.2f}", style="dim")
    return text


def _caps(name: str, found: list["Figure | None"]) -> str:
    """The most the estimator can say, and why a figure is missing."""
    known = [figure for figure in found if figure is not None]
    reasons = {figure.reason for figure in known if figure.reason}
    if reasons:
        return f" (undefined: {'; '.join(sorted(reasons))})"
    if name == "iw_effective_sample_size":
        caps = {f"{figure.cap:.0f}" for figure in known if figure.cap is not None}
        return f"; K = {' and '.join(sorted(caps))}"
    if "mutual_information" not in name:
        return ""
    caps = [figure.cap for figure in known if figure.cap is not None]
    whole = "ln {:.0f} = " if name == "mutual_information" else ""
    shown = dict.fromkeys(whole.format(math.exp(cap)) + f"{cap:.2f}" for cap in caps)
    return f"; at most {' and '.join(shown)}" if caps else ""
