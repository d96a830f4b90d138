"""Sequence VAEs for Hugging Face; importing this registers the models with the Auto classes."""

import importlib
from typing import TYPE_CHECKING, Any

from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, AutoModelForSeq2SeqLM
from transformers.pipelines import PIPELINE_REGISTRY

from hf_seqvae.latent_space import LatentSpace
from hf_seqvae.model.configuration_lstm import SeqVAELSTMConfig, SeqVAELSTMEncoderConfig
from hf_seqvae.model.configuration_seqvae import SeqVAEConfig
from hf_seqvae.model.modeling_encoder import SeqVAEEncoder
from hf_seqvae.model.modeling_lstm import (
    SeqVAELSTMEncoderModel,
    SeqVAELSTMForCausalLM,
    SeqVAELSTMModel,
)
from hf_seqvae.model.modeling_seqvae import SeqVAEModel
from hf_seqvae.model.outputs import SeqVAEEncoderOutput, SeqVAEOutput
from hf_seqvae.model.pipeline_seqvae import SeqVAEPipeline
from hf_seqvae.objectives import Objective

if TYPE_CHECKING:
    from hf_seqvae.trainer import SeqVAETrainer

__version__ = "0.1.0"

__all__ = [
    "LatentSpace",
    "Objective",
    "SeqVAEConfig",
    "SeqVAEEncoder",
    "SeqVAEEncoderOutput",
    "SeqVAELSTMConfig",
    "SeqVAELSTMEncoderConfig",
    "SeqVAELSTMEncoderModel",
    "SeqVAELSTMForCausalLM",
    "SeqVAELSTMModel",
    "SeqVAEModel",
    "SeqVAEOutput",
    "SeqVAEPipeline",
    "SeqVAETrainer",
    "__version__",
]

# transformers' Trainer pulls datasets in, so the name is fetched at its first use
_LAZY = {"SeqVAETrainer": "hf_seqvae.trainer"}

for _config in (SeqVAEConfig, SeqVAELSTMConfig, SeqVAELSTMEncoderConfig):
    AutoConfig.register(_config.model_type, _config, exist_ok=True)
AutoModel.register(SeqVAEConfig, SeqVAEModel, exist_ok=True)
AutoModel.register(SeqVAELSTMEncoderConfig, SeqVAELSTMEncoderModel, exist_ok=True)
AutoModel.register(SeqVAELSTMConfig, SeqVAELSTMModel, exist_ok=True)
AutoModelForCausalLM.register(SeqVAELSTMConfig, SeqVAELSTMForCausalLM, exist_ok=True)
AutoModelForSeq2SeqLM.register(SeqVAEConfig, SeqVAEModel, exist_ok=True)
PIPELINE_REGISTRY.register_pipeline(
    "sequence-vae", pipeline_class=SeqVAEPipeline, pt_model=AutoModelForSeq2SeqLM, type="text"
)


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
