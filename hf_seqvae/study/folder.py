"""What lies in the folder of a study beside its runs, and in those: names, format, reading."""

import contextlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hf_seqvae.engine.files import require_writable

FORMAT = 1
STUDY_NAME, TABLE_NAME, FIGURES_NAME = "study.json", "table.md", "table.json"
RESULTS_NAME = "results.jsonl"
STUDY_FILES = (
    STUDY_NAME,
    TABLE_NAME,
    FIGURES_NAME,
    RESULTS_NAME,
    "likelihood.png",
    "rate_distortion.png",
    "usage.png",
    "dispersion.png",
    "hypothesis.png",
)
# what a job writes beside what `train` does: itself, seconds, dispersion before the first step,
# evaluation
JOB_NAME, COST_NAME = "job.json", "cost.jsonl"
INITIAL_NAME, EVALUATION_NAME = "initial.json", "evaluation"
KEPT_NAME = "result.json"  # the result of a run whose weights are elsewhere, or gone
_STUDY_KEYS = {"study": dict}
JOB_KEYS = {"run": str, "recipe": dict, "evaluation": dict}


def require_folder(folder: Path) -> None:
    """Make the folder of a study or of a job.

    Raises:
        ValueError: it cannot be made or written to.
    """
    try:
        require_writable(folder)
    except ValueError as error:
        raise ValueError(
            f"{folder} cannot be written to: {error.__cause__}. Choose another --output-dir."
        ) from error


def read_study_file(path: Path) -> dict[str, Any]:
    """What study.json says.

    Raises:
        ValueError: damaged, no study's, or of another format.
    """
    cure = "Remove it, it is written anew, or choose another --output-dir."
    return _read(path, _STUDY_KEYS, cure)


def read_job_file(path: Path) -> dict[str, Any]:
    """What job.json says, the plain values of a job.

    Raises:
        ValueError: damaged, no job's, or of another format.
    """
    evaluation = path.parent / EVALUATION_NAME
    cure = (
        f"Choose another --output-dir, or remove it and {evaluation}: the one is written anew, the "
        "other measured again."
    )
    return _read(path, JOB_KEYS, cure)


def read_json(path: Path) -> Any:
    """What a file says in JSON; None where it is damaged."""
    with contextlib.suppress(ValueError):  # no JSON, or no text
        return json.loads(path.read_text(encoding="utf-8"))
    return None


def _read(path: Path, keys: Mapping[str, type], cure: str) -> dict[str, Any]:
    return checked_values(read_json(path), str(path), keys, cure)


def checked_values(
    values: Any,
    where: str,
    keys: Mapping[str, Any],
    cure: str,
    other_format: str | None = None,
    *,
    number: int = FORMAT,
) -> dict[str, Any]:
    """The values, a mapping of this format that has the keys.

    Args:
        values: read from JSON.
        where: they were read.
        keys: with the type of each, or a tuple of types.
        cure: where they are damaged.
        other_format: the cure where they are of another format.
        number: of the format.

    Raises:
        ValueError: they are not.
    """
    if isinstance(values, dict) and values.get("format", number) != number:
        cure = other_format or "Choose another --output-dir; the old folder stays as it is."
        raise ValueError(
            f"{where} was written by another version (format {values['format']!r}, this one has "
            f"{number}). {cure}"
        )
    whole = isinstance(values, dict) and "format" in values
    if not whole or not all(isinstance(values.get(key), keys[key]) for key in keys):
        raise ValueError(f"{where} is damaged, or another program's. {cure}")
    return values
