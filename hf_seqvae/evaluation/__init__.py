"""Evaluation: every metric over a data set -> Report, and the short form for training loops."""

from hf_seqvae.evaluation.bound import evaluate_bound
from hf_seqvae.evaluation.corpus import evaluate
from hf_seqvae.evaluation.floor import ChangedTextError, exact_nlls
from hf_seqvae.evaluation.report import Figure, Report

__all__ = [
    "ChangedTextError",
    "Figure",
    "Report",
    "evaluate",
    "evaluate_bound",
    "exact_nlls",
]
