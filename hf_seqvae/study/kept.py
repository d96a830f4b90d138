"""results.jsonl: every finished run of a study in a line, so that figures outlive folders.

It holds what the table needs and no weights: a study goes on from it on another machine.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from hf_seqvae import recipe as recipes
from hf_seqvae.engine import refuse_other_recipe
from hf_seqvae.engine.files import write_text
from hf_seqvae.run_log import read_log
from hf_seqvae.study.checks import refuse_other_evaluation
from hf_seqvae.study.folder import (
    FORMAT,
    JOB_NAME,
    KEPT_NAME,
    RESULTS_NAME,
    read_results_record,
    require_folder,
)
from hf_seqvae.study.plan import NOT_STARTED, Job
from hf_seqvae.study.results import Result
from hf_seqvae.study.schema import Study

_CURE = "Go back to what it was, or take that line out of the file: the run is trained again."


class KeptRun(NamedTuple):
    """A finished run as a line of results.jsonl has it."""

    job: Job
    result: Mapping[str, Any]


def write_results(study: Study, results: Iterable[Result]) -> Path:
    """Write the finished runs into the study's folder, a line each."""
    lines = [
        {"format": FORMAT, "job": _without_folder(one.job), "result": one.to_dict()}
        for one in results
        if one.finished
    ]
    text = "".join(json.dumps(line, allow_nan=False) + "\n" for line in lines)
    write_text(study.folder / RESULTS_NAME, text)
    return study.folder / RESULTS_NAME


def find_results(path: str | Path, jobs: Sequence[Job]) -> dict[Job, KeptRun]:
    """The runs in a results.jsonl that are among the jobs and have not begun in their folders.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is damaged or of another version, or has another recipe or evaluation for
            one of the jobs.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"There is no file {str(path)!r}. Give the {RESULTS_NAME} of a study's folder."
        )
    kept: dict[tuple[str, int], KeptRun] = {}
    for number, line in enumerate(read_log(path), start=1):
        values = read_results_record(line, f"{path}, record {number},")
        run = KeptRun(Job.from_dict(values["job"]), values["result"])
        kept[run.job.run, run.job.seed] = run
    found = {}
    for job in jobs:
        run = kept.get((job.run, job.seed))
        if run is None or job.state() != NOT_STARTED:
            continue
        where = f"{path} has {job.title}, and"
        refuse_other_recipe(run.job.recipe, job.recipe, f"{where} of another recipe", cure=_CURE)
        refuse_other_evaluation(
            run.job.evaluation, job.evaluation, f"{where} another evaluation", cure=_CURE
        )
        found[job] = run
    return found


def put_results(found: Mapping[Job, KeptRun]) -> None:
    """Make each job finished: what it is and its result go into its folder, without weights.

    Raises:
        ValueError: the folder cannot be written to.
    """
    for job, run in found.items():
        require_folder(job.folder)
        recipes.save(job.recipe, job.folder / "recipe.yaml")
        write_text(job.folder / JOB_NAME, json.dumps(job.to_dict(), indent=2) + "\n")
        text = json.dumps({"format": FORMAT, **run.result}, allow_nan=False) + "\n"
        write_text(job.folder / KEPT_NAME, text)  # last: it makes the job finished


def _without_folder(job: Job) -> dict[str, Any]:
    """The job as plain values; where it ran is not kept."""
    values = job.to_dict()
    return values | {"recipe": values["recipe"] | {"output_dir": None}}
