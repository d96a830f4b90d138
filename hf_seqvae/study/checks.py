"""What stands in the way of a study in its folder, found before anything is started."""

import dataclasses
from collections.abc import Sequence

from hf_seqvae.engine import check_same_recipe
from hf_seqvae.study.folder import (
    EVALUATION_NAME,
    JOB_NAME,
    STUDY_NAME,
    read_job_file,
    read_study_file,
)
from hf_seqvae.study.plan import Job
from hf_seqvae.study.schema import Study

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
            _check_same_evaluation(job)
        except ValueError as error:
            refused[job] = str(error)
    return refused


def _check_same_evaluation(job: Job) -> None:
    kept = job.folder / JOB_NAME
    if not kept.is_file():
        return
    old = read_job_file(kept)["evaluation"]
    if not (job.folder / EVALUATION_NAME).is_dir():
        return
    new = dataclasses.asdict(job.evaluation)
    changed = [
        f"{key}: {old.get(key)!r} -> {new[key]!r}" for key in new if old.get(key) != new[key]
    ]
    if changed:
        raise ValueError(
            f"{job.folder / EVALUATION_NAME} holds another evaluation; changed: "
            f"{'; '.join(changed)}. {_CURE}"
        )
