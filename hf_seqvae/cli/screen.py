"""What the commands print: consoles, JSON, and tables of sentences that show what changed."""

import difflib
import json
import logging
from collections.abc import Iterable, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

CHANGED = "bold green"


def stdout() -> Console:
    """Where results go."""
    return Console(highlight=False)


def stderr() -> Console:
    """Where progress and notes go, so that stdout holds results alone."""
    return Console(stderr=True, highlight=False)


def print_json(value: Any) -> None:
    """Strict JSON on stdout."""
    print(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False))


def quiet() -> None:
    """Keep the libraries' own progress bars and notes away; ours come as `note:` on stderr."""
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()
    ours = logging.getLogger("hf_seqvae")
    for handler in [handler for handler in ours.handlers if isinstance(handler, _Notes)]:
        ours.removeHandler(handler)
    ours.addHandler(_Notes(logging.WARNING))
    ours.propagate = False


class _Notes(logging.Handler):
    """Warnings of the library as yellow lines on stderr."""

    def emit(self, record: logging.LogRecord) -> None:
        note = Text("note: ", style="yellow").append(record.getMessage(), style="default")
        stderr().print(note, soft_wrap=True)


def plain_table(*columns: str, title: str | None = None) -> Table:
    """An open table with these columns; a narrow terminal folds them, even within a word."""
    table = Table(
        *(Column(column, overflow="fold") for column in columns),
        title=title,
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
    )
    table.header_style = "dim"
    return table


def keep_on_a_line(*columns: Column) -> None:
    """Fold other columns before these; what still has no room ends in an ellipsis."""
    for column in columns:
        column.no_wrap, column.overflow = True, "ellipsis"


def walk_table(
    labels: Sequence[str], sentences: Iterable[str], *, ends: tuple[str, str] | None = None
) -> Table:
    """Sentences in order beside their labels; what the line above does not have stands out.

    Args:
        labels: one a sentence.
        sentences: what was decoded.
        ends: the sentences a walk was asked to go between, to stand above and below.
    """
    table = Table.grid(padding=(0, 2), pad_edge=True)
    table.add_column(justify="right", style="dim", no_wrap=True)
    table.add_column()
    if ends is not None:
        table.add_row("from", Text(ends[0], style="italic"))
    before = None
    for label, sentence in zip(labels, sentences, strict=True):
        table.add_row(label, changes(before, sentence))
        before = sentence
    if ends is not None:
        table.add_row("to", Text(ends[1], style="italic"))
    return table


def changes(before: str | None, after: str) -> Text:
    """`after`, with the words that were put in since `before` in colour; pale if none changed."""
    words = after.split()
    if before is None or not words:
        return Text(after)
    if words == before.split():
        return Text(after, style="dim")
    kept = set()
    for block in difflib.SequenceMatcher(None, before.split(), words, False).get_matching_blocks():
        kept |= set(range(block.b, block.b + block.size))
    text = Text()
    for place, word in enumerate(words):
        text.append(" " if place else "")
        text.append(word, style="" if place in kept else CHANGED)
    return text
