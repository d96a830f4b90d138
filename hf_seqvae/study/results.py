"""What the folder of a job holds: its figures, its cost, its curves, and how far it has come."""

import dataclasses
from pathlib import Path
from typing import Any

from hf_seqvae.engine.environment import ENVIRONMENT_NAME
from hf_seqvae.evaluation import Report, read_report
from hf_seqvae.run_log import read_log
from hf_seqvae.study.cost import read_costs
from hf_seqvae.study.data_digests import trained_on
from hf_seqvae.study.folder import COST_NAME, EVALUATION_NAME, INITIAL_NAME, KEPT_NAME, read_json
from hf_seqvae.study.lines import read_line
from hf_seqvae.study.plan import DAMAGED, FINISHED, Job
from hf_seqvae.study.result import DISPERSIONS, LIKELIHOOD, OF_SAMPLES, OF_SPLIT, Result

_FAULTS = (ValueError, OSError, KeyError, TypeError)  # of files that are damaged
_MACHINE = ("device_name", "num_threads", "num_processes")
NO_LATENTS = "a model without latents has none"


def read_result(job: Job) -> Result:
    """The result of a job, from its folder; of an unfinished one how far it has come.

    One whose files are damaged has the state "damaged" and a `fault`, so that it stops no other.
    """
    progress = follow(job)
    if progress.state != FINISHED or progress.finished:
        return progress
    try:
        return _measured(progress)
    except _FAULTS as error:
        return _damaged(job, error)


def follow(job: Job) -> Result:
    """How far a job has come, without its figures unless they were kept from another folder."""
    try:
        return _followed(job)
    except _FAULTS as error:
        return _damaged(job, error)


def _damaged(job: Job, error: Exception) -> Result:
    fault = str(error)
    if isinstance(error, KeyError | TypeError):  # JSON of another shape says neither file nor cure
        fault = f"a file in {job.folder} is not what it should be: {error!r}. Restore it."
    return Result(job, DAMAGED, fault=fault)


def _followed(job: Job) -> Result:
    kept = job.folder / KEPT_NAME
    if kept.is_file() and job.state() == FINISHED and not (job.folder / "report.json").is_file():
        return dataclasses.replace(read_line(read_json(kept), str(kept)), job=job)
    log = job.folder / "log.jsonl"
    records = read_log(log) if log.is_file() else []
    validations = tuple(record for record in records if "eval/elbo" in record)
    last = records[-1] if records else {"epoch": 0.0, "step": 0}
    return Result(job, job.state(), last["epoch"], last["step"], validations=validations)


def _read(path: Path, *keys: str) -> dict[str, Any]:
    values = read_json(path)
    if not isinstance(values, dict) or any(key not in values for key in keys):
        raise ValueError(
            f"{path} is damaged. Remove it and give the same command again: what it held is "
            "measured anew, and nothing is trained again."
        )
    return values


def _measured(result: Result) -> Result:
    job = result.job
    sampled = read_report(job.folder / EVALUATION_NAME)
    split = job.evaluation.split
    whole = Report.from_dict(_read(job.folder / "report.json", split)[split])
    exact = "exact_model_nll" in sampled.figures
    figures: dict[str, Any] = {}
    reasons: dict[str, str] = {}
    caps: dict[str, float] = {}

    def take(name: str, report: Report, source: str) -> None:
        figure = report.figures.get(source)
        figures[name] = None if figure is None else figure.value
        if figure is None:
            reasons[name] = NO_LATENTS if exact else "not measured"
        elif figure.reason is not None:
            reasons[name] = figure.reason
        if figure is not None and figure.cap is not None:
            caps[name] = figure.cap

    for name, source in OF_SAMPLES.items():
        take(name, sampled, "exact_model_nll" if exact and name == LIKELIHOOD else source)
    for name in OF_SPLIT:
        take(name, whole, name)
    initial = _read(job.folder / INITIAL_NAME)
    for name in DISPERSIONS:
        figures[f"initial_{name}"] = initial.get(name)
        if initial.get(name) is None:
            reasons[f"initial_{name}"] = NO_LATENTS if exact else "a feature is zero"
    costs = read_costs(job.folder / COST_NAME)
    for name in ("wall", "cpu"):
        figures[f"{name}_seconds"] = getattr(costs[-1], name) if costs else None
        if not costs:
            reasons[f"{name}_seconds"] = f"{COST_NAME} is not there"
    return dataclasses.replace(
        result,
        figures=figures,
        caps=caps,
        reasons=reasons,
        exact=exact,
        likelihoods=sampled.per_sentence["nll" if exact else "iw_nll"],
        texts=str(sampled.data.get("texts_sha256")),
        data=trained_on(job),
        num_sentences=whole.num_sentences,
        machine=_machine(job.folder / ENVIRONMENT_NAME),
    )


def _machine(path: Path) -> str:
    """What the costs of a run belong to: device, threads, processes; "" where nothing tells."""
    values = read_json(path) if path.is_file() else None
    if not isinstance(values, dict) or not {*_MACHINE} <= values.keys():
        return ""
    return "{device_name}, threads: {num_threads}, processes: {num_processes}".format(**values)
