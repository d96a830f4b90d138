"""A finished result as one line of JSON, and back: what results.jsonl and result.json hold."""

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from hf_seqvae.study.folder import JOB_KEYS, checked_values
from hf_seqvae.study.plan import FINISHED, Job
from hf_seqvae.study.result import FIGURES, Result

LINE_FORMAT = 2
_CURE = "Restore it, or remove it: the run is trained again."
_PLAIN: dict[str, Any] = {
    "epoch": (int, float),
    "step": int,
    "figures": dict,
    "caps": dict,
    "reasons": dict,
    "exact": bool,
    "texts": str,
    "data": dict,
    "num_sentences": int,
    "machine": str,
}


def line(result: Result) -> str:
    """A finished result as a line with its end; the folder that it came from is not in it."""
    job = result.job.to_dict()
    job["recipe"]["output_dir"] = None
    values = {name: getattr(result, name) for name in _PLAIN}
    values["likelihoods"] = result.likelihoods.tolist()
    values["validations"] = [_finite(record) for record in result.validations]
    whole = {"format": LINE_FORMAT, "job": job, "result": values}
    return json.dumps(whole, allow_nan=False) + "\n"


def read_line(values: Any, where: str) -> Result:
    """The result whose `line` gave these values.

    Args:
        values: read from JSON.
        where: they were read, for the errors.

    Raises:
        ValueError: damaged, another program's, or of another version.
    """

    def check(value: Any, keys: Mapping[str, Any]) -> dict[str, Any]:
        return checked_values(value, where, keys, _CURE, other_format=_CURE, number=LINE_FORMAT)

    if isinstance(values, dict) and values.get("format") == 1:  # knew no text and no machine
        values = values | {"format": LINE_FORMAT}
        if isinstance(values.get("result"), dict):
            values["result"] = {"data": {}, "machine": ""} | values["result"]
    values = check(values, {"job": dict, "result": dict})
    result = check(values["result"] | {"format": LINE_FORMAT}, _PLAIN)
    check(values["job"] | {"format": LINE_FORMAT}, JOB_KEYS)
    fault = _fault(result)
    if fault:
        raise ValueError(f"{where} is damaged: {fault}. {_CURE}")
    try:
        job = Job.from_dict(values["job"])
    except ValueError as error:
        raise ValueError(f"{where} is of another version: {error} {_CURE}") from error
    return Result(
        job,
        FINISHED,
        likelihoods=np.asarray(result["likelihoods"], dtype=np.float64),
        validations=tuple(result["validations"]),
        **{name: result[name] for name in _PLAIN},
    )


def _fault(result: Mapping[str, Any]) -> str | None:
    """What is wrong with the figures; None where nothing is."""
    figures, likelihoods = result["figures"], result.get("likelihoods")
    for name in FIGURES:
        if name not in figures:
            return f"figures lacks {name!r}"
        if figures[name] is not None and not _is_number(figures[name]):
            return f"{name} is {figures[name]!r}, no number"
    if (
        not isinstance(likelihoods, list)
        or not likelihoods
        or not all(map(_is_number, likelihoods))
    ):
        return "likelihoods is no list of numbers"
    validations = result.get("validations")
    if not isinstance(validations, list):
        return "validations is no list"
    for record in validations:
        known = isinstance(record, dict) and all(
            _is_number(record.get(name)) for name in ("epoch", "eval/elbo")
        )
        if not known:
            return "a validation lacks its epoch or eval/elbo"
    return None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and type(value) is not bool and math.isfinite(value)


def _finite(record: Mapping[str, Any]) -> dict[str, Any]:
    """The record; what is not finite is None, as JSON knows no such number."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in record.items()
    }
