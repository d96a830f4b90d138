"""Studies: recipes x seeds, trained and evaluated side by side, and compared in one table."""

from hf_seqvae.study.plan import Job, base_recipe, check_study_folder, plan_jobs
from hf_seqvae.study.runner import StudyStopped, run_jobs, write_study
from hf_seqvae.study.schema import EvaluationPlan, Study, StudyRun, load_study

__all__ = [
    "EvaluationPlan",
    "Job",
    "Study",
    "StudyRun",
    "StudyStopped",
    "base_recipe",
    "check_study_folder",
    "load_study",
    "plan_jobs",
    "run_jobs",
    "write_study",
]
