"""What stands in the way of a study in its folder, found before anything is started."""

import dataclasses
from collections.abc import Sequence

from hf_seqvae.engine import check_same_recipe, refuse_other_recipe
from hf_seqvae.study.folder import (
    EVALUATION_NAME,
    JOB_NAME,
    KEPT_NAME,
    STUDY_NAME,
    read_job_file,
    read_study_file,
)
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
    """What job.json says of a run that has been measured, here or elsewhere."""
    kept, evaluation = job.folder / JOB_NAME, job.folder / EVALUATION_NAME
    if not kept.is_file():
        return
    values = read_job_file(kept)
    elsewhere = (job.folder / KEPT_NAME).is_file()
    if not (evaluation.is_dir() or elsewhere):
        return
    old = Job.from_dict(values)
    if elsewhere:
        what = f"{job.folder} holds a run of another recipe"
        refuse_other_recipe(old.recipe, job.recipe, what, cure=_CURE)
    what = f"{evaluation} holds another evaluation"
    refuse_other_evaluation(old.evaluation, job.evaluation, what, cure=_CURE)
