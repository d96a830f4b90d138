"""The training objective: beta schedules, KL terms, MMD, and their reduction to one loss."""

from hf_seqvae.objectives.checks import BatchReader
from hf_seqvae.objectives.kl_terms import KL_TERMS, KLTerm, plain, unknown_kl_term
from hf_seqvae.objectives.mmd import mmd_to_standard_normal
from hf_seqvae.objectives.objective import (
    NORMALIZATIONS,
    Objective,
    batch_reader,
    check_amounts,
    summarize,
)
from hf_seqvae.objectives.rate_control import TargetRate
from hf_seqvae.objectives.schedules import (
    SCHEDULES,
    ConstantSchedule,
    CyclicalSchedule,
    CyclicalZeroSchedule,
    LinearSchedule,
    Schedule,
    SigmoidSchedule,
    build_schedule,
)

__all__ = [
    "KL_TERMS",
    "NORMALIZATIONS",
    "SCHEDULES",
    "BatchReader",
    "ConstantSchedule",
    "CyclicalSchedule",
    "CyclicalZeroSchedule",
    "KLTerm",
    "LinearSchedule",
    "Objective",
    "Schedule",
    "SigmoidSchedule",
    "TargetRate",
    "batch_reader",
    "build_schedule",
    "check_amounts",
    "mmd_to_standard_normal",
    "plain",
    "summarize",
    "unknown_kl_term",
]
