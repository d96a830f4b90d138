"""results.jsonl: every finished run of a study in a line, so that figures outlive folders.

It holds what the table needs and no weights: a study goes on from it on another machine.
"""

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from hf_seqvae import recipe as recipes
from hf_seqvae.engine import refuse_other_recipe
from hf_seqvae.engine.files import write_text
from hf_seqvae.recipe import differences
from hf_seqvae.study.checks import refuse_other_evaluation
from hf_seqvae.study.data_digests import JobData, at_the_files_of, refuse_other_data
from hf_seqvae.study.folder import KEPT_NAME, RESULTS_NAME, require_folder
from hf_seqvae.study.lines import line, read_line
from hf_seqvae.study.plan import NOT_STARTED, Job
from hf_seqvae.study.result import Result
from hf_seqvae.study.schema import Study

_CURE = "Go back to what it was, or take that line out of the file: the run is trained again."


def write_results(study: Study, results: Iterable[Result]) -> None:
    """Write the finished runs into the study's folder, a line each; lines of others stay there.

    Raises:
        ValueError: the file is there and damaged.
    """
    path = study.folder / RESULTS_NAME
    kept = read_results(path) if path.is_file() else {}
    for one in results:
        if one.finished:
            key = one.job.run, one.job.seed
            kept[key] = _with_what_was_known(one, kept.get(key))
    write_text(path, "".join(line(one) for one in kept.values()))


def _with_what_was_known(new: Result, old: Result | None) -> Result:
    """The result; digests and machine as the file has them where the folder has lost its own."""
    if old is None or differences(at_the_files_of(old.job.recipe, new.job.recipe), new.job.recipe):
        return new
    return dataclasses.replace(new, data=new.data or old.data, machine=new.machine or old.machine)


def check_results(study: Study) -> None:
    """Find out before anything is trained whether `write_results` can add to the file.

    Raises:
        ValueError: it is there and damaged, or of another version.
    """
    if (study.folder / RESULTS_NAME).is_file():
        read_results(study.folder / RESULTS_NAME)


class Found(NamedTuple):
    """What `find_results` found.

    Attributes:
        results: of runs that have not begun in their folders.
        refused: a message for each run that the file has with another recipe, text or evaluation.
        unread: those of `results` whose text should be in files and was not compared: only the
            paths were.
    """

    results: dict[Job, Result]
    refused: dict[Job, str]
    unread: list[Job]


def find_results(path: str | Path, jobs: Sequence[Job]) -> Found:
    """The runs in a results.jsonl that are among the jobs and have not begun in their folders.

    Their text is compared by content where it lies in files on this machine, else by the
    paths of the files or the name of the data set.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is damaged or of another version, or has none of the jobs.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(
            f"{str(path)!r} is no file. Give the {RESULTS_NAME} of a study's folder."
        )
    kept = read_results(path)
    known = [job for job in jobs if (job.run, job.seed) in kept]
    if not known:
        raise ValueError(
            f"{path} has {len(kept)} runs, and none is of this study. Give the {RESULTS_NAME} of "
            "this study, or leave --results out."
        )
    found, data_of = Found({}, {}, []), JobData()
    for job in known:
        if job.state() != NOT_STARTED:
            continue
        result = kept[job.run, job.seed]
        where = f"{path} has {job.title} with another"
        recipe, own = result.job.recipe, {}
        try:
            if result.data and not differences(at_the_files_of(recipe, job.recipe), job.recipe):
                own = data_of(job.recipe)
            if own:
                recipe = at_the_files_of(recipe, job.recipe)
                refuse_other_data(result.data, own, f"{where} text", cure=_CURE)
            refuse_other_recipe(recipe, job.recipe, f"{where} recipe", cure=_CURE)
            refuse_other_evaluation(
                result.job.evaluation, job.evaluation, f"{where} evaluation", cure=_CURE
            )
        except ValueError as error:
            found.refused[job] = str(error)
            continue
        found.results[job] = dataclasses.replace(result, job=job)
        if not own and job.recipe.data.train_file:
            found.unread.append(job)
    return found


def put_results(study: Study, found: Mapping[Job, Result]) -> None:
    """Make each job finished: its recipe and its result go into its folder, without weights.

    Raises:
        ValueError: a folder cannot be written to.
    """
    if found:
        require_folder(study.folder)
    for job, result in found.items():
        require_folder(job.folder)
        recipes.save(job.recipe, job.folder / "recipe.yaml")
        write_text(job.folder / KEPT_NAME, line(result))  # last: it makes the job finished


def read_results(path: Path) -> dict[tuple[str, int], Result]:
    """The results in a file, by run and seed.

    Raises:
        ValueError: it is damaged or of another version, or has a run and seed twice.
    """
    text = path.read_text(encoding="utf-8")
    if text and not text.endswith("\n"):
        raise ValueError(f"{path} is cut: its last line has no end. Restore the file.")
    kept: dict[tuple[str, int], Result] = {}
    for number, words in enumerate(text.splitlines(), start=1):
        where = f"{path}, line {number},"
        try:
            values = json.loads(words)
        except ValueError as error:
            raise ValueError(f"{where} is not JSON: {error}. Restore the file.") from error
        result = read_line(values, where)
        key = (result.job.run, result.job.seed)
        if key in kept:
            raise ValueError(f"{where} has {result.job.title} again. Take one of the two out.")
        kept[key] = result
    return kept
