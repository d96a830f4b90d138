"""The collapse doctor: evidence -> verdict -> meaning and remedies."""

from hf_seqvae.diagnosis.doctor import Diagnosis, diagnose, measured_in
from hf_seqvae.diagnosis.evidence import Evidence, gather_evidence
from hf_seqvae.diagnosis.features import dispersion_by_pooling, signal_to_noise
from hf_seqvae.diagnosis.remedies import Remedy, known_setup, remedies_for
from hf_seqvae.diagnosis.rules import (
    HEALTHY,
    LIMITS,
    VERDICTS,
    Judgement,
    Limits,
    Measured,
    judge,
)

__all__ = [
    "HEALTHY",
    "LIMITS",
    "VERDICTS",
    "Diagnosis",
    "Evidence",
    "Judgement",
    "Limits",
    "Measured",
    "Remedy",
    "diagnose",
    "dispersion_by_pooling",
    "gather_evidence",
    "judge",
    "known_setup",
    "measured_in",
    "remedies_for",
    "signal_to_noise",
]
