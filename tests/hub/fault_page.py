"""The tables of faults in model_cards/README.md, and which test holds each of their rows."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

PAGE = Path(__file__).parents[2] / "model_cards" / "README.md"
HEAD = "| fault | what you see | what is kept |"
Test = TypeVar("Test", bound=Callable)

HELD: dict[str, list[str]] = {}  # row -> tests


def rows() -> dict[str, list[str]]:
    """The texts that each row quotes from what a user sees."""
    found: dict[str, list[str]] = {}
    for part in PAGE.read_text(encoding="utf-8").split(HEAD)[1:]:
        table = part.strip().split("\n\n")[0].splitlines()[1:]
        for line in table:
            fault, seen, _ = (cell.strip() for cell in line.strip("|").split("|"))
            assert fault not in found, f"two rows are named {fault!r}"
            found[fault] = re.findall(r"`([^`]+)`", seen)
    return found


def holds(*names: str) -> Callable[[Test], Test]:
    """Enters a test as the one of these rows."""

    def enter(test: Test) -> Test:
        for name in names:
            HELD.setdefault(name, []).append(test.__name__)
        return test

    return enter


def says(row: str, message: object) -> bool:
    """Whether a message, or a list of them, holds every text that the row quotes."""
    text = " ".join(str(message).split())
    quoted = rows()[row]
    assert quoted, f"row {row!r} quotes nothing"
    missing = [part for part in quoted if part not in text]
    assert not missing, f"{missing} is not in: {text}"
    return True
