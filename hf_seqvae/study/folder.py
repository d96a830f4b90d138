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
_JOB_KEYS = {"run": str, "recipe": dict, "evaluation": dict}
_RESULT_KEYS = {
    "epoch": (int, float),
    "step": int,
    "figures": dict,
    "caps": dict,
    "reasons": dict,
    "exact": bool,
    "texts": str,
    "num_sentences": int,
    "likelihoods": list,
    "validations": list,
}


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
    return _read(path, _JOB_KEYS, cure)


def read_kept_file(path: Path) -> dict[str, Any]:
    """What result.json says, the plain values of a result.

    Raises:
        ValueError: damaged, no result's, or of another format.
    """
    cure = "Remove it: the run is trained again, or taken from --results again."
    return _read(path, _RESULT_KEYS, cure)


def read_results_record(values: Any, where: str) -> dict[str, Any]:
    """A line of results.jsonl: the plain values of "job" and "result".

    Raises:
        ValueError: damaged, another program's, or of another format.
    """
    cure = "Restore the file, or take the line out: its run is trained again."
    values = _checked(values, where, {"job": dict, "result": dict}, cure)
    _checked({"format": FORMAT, **values["job"]}, where, _JOB_KEYS, cure)
    _checked({"format": FORMAT, **values["result"]}, where, _RESULT_KEYS, cure)
    return values


def read_json(path: Path) -> Any:
    """What a file says in JSON; None where it is damaged."""
    with contextlib.suppress(ValueError):  # no JSON, or no text
        return json.loads(path.read_text(encoding="utf-8"))
    return None


def _read(path: Path, keys: Mapping[str, Any], cure: str) -> dict[str, Any]:
    return _checked(read_json(path), str(path), keys, cure)


def _checked(values: Any, where: str, keys: Mapping[str, Any], cure: str) -> dict[str, Any]:
    """The values, a mapping of this format that has the keys."""
    if isinstance(values, dict) and values.get("format", FORMAT) != FORMAT:
        raise ValueError(
            f"{where} was written by another version (format {values['format']!r}, this one has "
            f"{FORMAT}). Choose another --output-dir; the old folder stays as it is."
        )
    whole = isinstance(values, dict) and "format" in values
    if not whole or not all(isinstance(values.get(key), keys[key]) for key in keys):
        raise ValueError(f"{where} is damaged, or another program's. {cure}")
    return values
