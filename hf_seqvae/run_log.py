"""The records of a run's log.jsonl, and the series of a figure in them."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def read_log(path: str | Path) -> list[dict[str, Any]]:
    """The records of a log of one JSON object a line, in order.

    A last line without its end is one that a killed run was still writing, and is left out if it
    cannot be read. Any other broken line is an error.
    """
    lines = Path(path).read_bytes().split(b"\n")
    records = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            records.append(json.loads(line))
        except ValueError as error:  # bad JSON, or half a character
            if number == len(lines):
                break
            raise ValueError(
                f"{path}, line {number}, is not JSON: {error}. Remove the line or restore the file."
            ) from error
    return records


def series(
    records: Sequence[Mapping[str, Any]], key: str, sign: float = 1.0
) -> list[tuple[int, float]]:
    """(step, sign * value) of every record that holds `key`."""
    return [
        (record["step"], sign * record[key]) for record in records if record.get(key) is not None
    ]
