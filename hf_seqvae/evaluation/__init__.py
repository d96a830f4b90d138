"""Evaluation: every metric over a data set -> Report, and the short form for training loops."""

from hf_seqvae.evaluation.bound import evaluate_bound
from hf_seqvae.evaluation.comparison import Difference, compare
from hf_seqvae.evaluation.corpus import evaluate
from hf_seqvae.evaluation.floor import ChangedTextError, exact_nlls
from hf_seqvae.evaluation.measuring import measure, read_report
from hf_seqvae.evaluation.processes import Processes, launched_processes, leave_at_exit
from hf_seqvae.evaluation.report import Figure, Report
from hf_seqvae.evaluation.store import progress_of
from hf_seqvae.evaluation.trainer_metrics import trainer_metrics

__all__ = [
    "ChangedTextError",
    "Difference",
    "Figure",
    "Processes",
    "Report",
    "compare",
    "evaluate",
    "evaluate_bound",
    "exact_nlls",
    "launched_processes",
    "leave_at_exit",
    "measure",
    "progress_of",
    "read_report",
    "trainer_metrics",
]
