"""Studies: recipes x seeds, trained and evaluated side by side, and compared in one table."""

from hf_seqvae.study.checks import check_study_folder
from hf_seqvae.study.comparison import Row, compare_runs
from hf_seqvae.study.finish import finish_study, read_table
from hf_seqvae.study.hypothesis import Prediction, predictions
from hf_seqvae.study.kept import check_results, find_results, put_results, write_results
from hf_seqvae.study.plan import Job, base_recipe, plan_jobs
from hf_seqvae.study.result import Result
from hf_seqvae.study.results import follow, read_result
from hf_seqvae.study.runner import LOG_NAME, StudyStopped, run_jobs, write_study
from hf_seqvae.study.schema import EvaluationPlan, Study, StudyRun, load_study
from hf_seqvae.study.statistics import (
    Interval,
    Spread,
    paired_difference,
    rank_correlation,
    rank_correlation_interval,
)
from hf_seqvae.study.table import unfinished_lines
from hf_seqvae.study.wording import difference_text, mean_text, number

__all__ = [
    "LOG_NAME",
    "EvaluationPlan",
    "Interval",
    "Job",
    "Prediction",
    "Result",
    "Row",
    "Spread",
    "Study",
    "StudyRun",
    "StudyStopped",
    "base_recipe",
    "check_results",
    "check_study_folder",
    "compare_runs",
    "difference_text",
    "find_results",
    "finish_study",
    "follow",
    "load_study",
    "mean_text",
    "number",
    "paired_difference",
    "plan_jobs",
    "predictions",
    "put_results",
    "rank_correlation",
    "rank_correlation_interval",
    "read_result",
    "read_table",
    "run_jobs",
    "unfinished_lines",
    "write_results",
    "write_study",
]
