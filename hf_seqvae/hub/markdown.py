"""Text of any origin in a card: what data, models and users wrote stays text, whatever it holds.

A card is CommonMark with the tables and math of the Hub behind a YAML block. Sentences go into
fenced blocks and names into code, both fenced by more backticks than they hold; words go between
our own with each mark of markup escaped.
"""

import re
import unicodedata
from collections.abc import Iterable
from typing import Any

LONGEST = 300  # characters of a sentence or a name that is shown
_MARKUP = re.compile(r"[\\`*_\[\]<>#|~$&!]")
# they turn the direction of what follows them, and so can make a line read as another
_DIRECTIONS = set("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def visible(text: Any, *, longest: int | None = LONGEST) -> str:
    """One line without control characters, which show as `\\n`, `\\x1b`, ...; cut at `longest`."""
    text = str(text)
    if longest is not None and len(text) > longest:
        text = f"{text[:longest]}… ({len(text):,} characters)"
    return "".join(map(_visible, text))


def escape(text: Any) -> str:
    """Words between our own or in a cell: the marks of Markdown, HTML and math as themselves."""
    return _MARKUP.sub(r"\\\g<0>", visible(text, longest=None).strip()) or "(empty)"


def code(text: Any) -> str:
    """A name or a value as inline code; in a table, too."""
    text = visible(text)
    if not text.strip():
        return "(empty)"
    fence = "`" * (_longest_run(text) + 1)
    room = " " if text[0] in "` " or text[-1] in "` " else ""
    # a table is parted at every pipe that has no backslash, code or not
    if "|" in text:
        return escape(text)
    return f"{fence}{room}{text}{room}{fence}"


def fenced(lines: Iterable[Any]) -> str:
    """Lines in a block of text: one a sentence, whatever the sentence holds, if only nothing."""
    shown = (line if line.strip() else "(empty)" for line in map(visible, lines))
    return fenced_code("".join(f"{line}\n" for line in shown), "text")


def fenced_code(text: str, language: str) -> str:
    """A block of code, fenced by more backticks than it holds in a row."""
    fence = "`" * max(3, _longest_run(text) + 1)
    end = "" if text.endswith("\n") else "\n"
    return f"{fence}{language}\n{text}{end}{fence}"


def python(text: str) -> str:
    """The text as a literal of Python, in double quotes where it holds none."""
    literal = repr(text)
    return literal if '"' in literal else f'"{literal[1:-1]}"'


def number(value: Any) -> str:
    """A figure as the card shows it: three decimals, more where it is small; a list by its ends."""
    if value is None:
        return "–"
    if isinstance(value, list):
        known = [item for item in value if item is not None]
        return f"{number(min(known))} to {number(max(known))}" if known else "–"
    if isinstance(value, int):
        return f"{value:,}"
    if value == 0 or abs(value) >= 0.01:
        return f"{value:,.3f}"
    return f"{value:.2e}"


def _visible(character: str) -> str:
    category = unicodedata.category(character)
    if category in ("Cc", "Cs", "Zl", "Zp") or character in _DIRECTIONS:
        return character.encode("unicode_escape").decode("ascii")
    return character


def _longest_run(text: str) -> int:
    return max((len(run) for run in re.findall("`+", text)), default=0)
