"""The training engine: an explicit Accelerate loop that resumes bit for bit."""

from hf_seqvae.engine.aggressive import InnerLoop
from hf_seqvae.engine.decay import PlateauHalving
from hf_seqvae.engine.errors import (
    CheckpointWriteError,
    LossNotFiniteError,
    TargetRateError,
    TrainingError,
    TrainingInterrupted,
)
from hf_seqvae.engine.loop import Engine
from hf_seqvae.engine.phases import Phase
from hf_seqvae.engine.run import TrainingResult, check_same_recipe, refuse_other_recipe, train
from hf_seqvae.engine.settings import Settings

__all__ = [
    "CheckpointWriteError",
    "Engine",
    "InnerLoop",
    "LossNotFiniteError",
    "Phase",
    "PlateauHalving",
    "Settings",
    "TargetRateError",
    "TrainingError",
    "TrainingInterrupted",
    "TrainingResult",
    "check_same_recipe",
    "refuse_other_recipe",
    "train",
]
