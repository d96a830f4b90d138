"""The training engine: an explicit Accelerate loop that resumes bit for bit."""

from hf_seqvae.engine.decay import PlateauHalving
from hf_seqvae.engine.errors import (
    CheckpointWriteError,
    LossNotFiniteError,
    TrainingError,
    TrainingInterrupted,
)
from hf_seqvae.engine.loop import Engine
from hf_seqvae.engine.run import TrainingResult, check_same_recipe, train
from hf_seqvae.engine.settings import Settings

__all__ = [
    "CheckpointWriteError",
    "Engine",
    "LossNotFiniteError",
    "PlateauHalving",
    "Settings",
    "TrainingError",
    "TrainingInterrupted",
    "TrainingResult",
    "check_same_recipe",
    "train",
]
