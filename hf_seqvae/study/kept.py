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


def write_results(study: Study, results: Iterable[Result]) -> None:
    """Write the finished runs into the study's folder, a line each; lines of others stay there.

    Raises:
        ValueError: the file is there and damaged.
    """
    path = study.folder / RESULTS_NAME
    lines = _read_lines(path) if path.is_file() else {}
    for one in results:
        if one.finished:
            values = {"format": FORMAT, "job": _without_folder(one.job), "result": one.to_dict()}
            lines[one.job.run, one.job.seed] = values
    text = "".join(json.dumps(line, allow_nan=False) + "\n" for line in lines.values())
    write_text(path, text)


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
    lines, found = _read_lines(path), {}
    for job in jobs:
        line = lines.get((job.run, job.seed))
        if line is None or job.state() != NOT_STARTED:
            continue
        where = f"{path} has {job.title}"
        try:
            kept = Job.from_dict(line["job"])
        except ValueError as error:
            raise ValueError(f"{where}, and of another version: {error} {_CURE}") from error
        refuse_other_recipe(kept.recipe, job.recipe, f"{where} of another recipe", cure=_CURE)
        what = f"{where}, and another evaluation of it"
        refuse_other_evaluation(kept.evaluation, job.evaluation, what, cure=_CURE)
        found[job] = KeptRun(kept, line["result"])
    return found


def check_results(study: Study) -> None:
    """Find out before anything is trained whether `write_results` can add to the file.

    Raises:
        ValueError: it is there and damaged, or of another version.
    """
    if (study.folder / RESULTS_NAME).is_file():
        _read_lines(study.folder / RESULTS_NAME)


def _read_lines(path: Path) -> dict[tuple[str, int], dict[str, Any]]:
    """The lines by run and seed; the last one of each."""
    lines = {}
    for number, line in enumerate(read_log(path), start=1):
        values = read_results_record(line, f"{path}, record {number},")
        lines[values["job"]["run"], values["job"]["recipe"].get("seed", 0)] = values
    return lines


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
