"""What stands in the way of a study in its folder, found before anything is started."""

import dataclasses
from collections.abc import Sequence

from hf_seqvae.engine import check_same_recipe, refuse_other_recipe
from hf_seqvae.recipe.fields import from_mapping
from hf_seqvae.study.folder import (
    EVALUATION_NAME,
    JOB_NAME,
    KEPT_NAME,
    STUDY_NAME,
    read_job_file,
    read_json,
    read_study_file,
)
from hf_seqvae.study.lines import read_line
from hf_seqvae.study.plan import Job
from hf_seqvae.study.schema import EvaluationPlan, Study

_CURE = "Go back to what it was, choose another --output-dir, or remove that folder."


def check_study_folder(study: Study, jobs: Sequence[Job]) -> dict[Job, str]:
    """What stands in the way of the jobs: a message for each that cannot go on in its folder.

    Raises:
        ValueError: study.json is damaged, or of another format.
    """
    path = study.folder / STUDY_NAME
    if path.is_file():
        read_study_file(path)
    refused = {}
    for job in jobs:
        try:
            check_same_recipe(job.folder, job.recipe, cure=_CURE)
            _check_kept(job)
        except ValueError as error:
            refused[job] = str(error)
    return refused


def refuse_other_evaluation(
    old: EvaluationPlan, new: EvaluationPlan, what: str, *, cure: str
) -> None:
    """Raise where two evaluations differ.

    Raises:
        ValueError: `what` is the matter, each option that changed, and the cure.
    """
    before, after = dataclasses.asdict(old), dataclasses.asdict(new)
    changed = [
        f"{key}: {before[key]!r} -> {after[key]!r}" for key in after if before[key] != after[key]
    ]
    if changed:
        raise ValueError(f"{what}; changed: {'; '.join(changed)}. {cure}")


def _check_kept(job: Job) -> None:
    """Refuse what was measured otherwise, here or, for what `put_results` left, elsewhere."""
    result, own = job.folder / KEPT_NAME, job.folder / JOB_NAME
    if result.is_file():
        old = read_line(read_json(result), str(result)).job
        what = f"{job.folder} holds a run of another recipe"
        refuse_other_recipe(old.recipe, job.recipe, what, cure=_CURE)
        what = f"{result} is of another evaluation"
        refuse_other_evaluation(old.evaluation, job.evaluation, what, cure=_CURE)
    if not own.is_file():
        return
    values = read_job_file(own)
    if (job.folder / EVALUATION_NAME).is_dir():
        what = f"{job.folder / EVALUATION_NAME} holds another evaluation"
        evaluation = from_mapping(EvaluationPlan, values["evaluation"])
        refuse_other_evaluation(evaluation, job.evaluation, what, cure=_CURE)
