"""Oracles: models whose likelihood, rate and information are known exactly."""

from hf_seqvae.oracles.configuration_linear_vae import LinearVAEConfig
from hf_seqvae.oracles.enumeration import (
    SENTENCES,
    Enumeration,
    enumerate_sentences,
    two_word_batch,
    two_word_model,
)
from hf_seqvae.oracles.grammar import GrammarModel
from hf_seqvae.oracles.linear_gaussian import (
    LinearVAEOptimum,
    linear_vae_optimum,
    ppca_log_likelihood,
)
from hf_seqvae.oracles.modeling_linear_vae import LinearVAEModel, VectorCollator

__all__ = [
    "SENTENCES",
    "Enumeration",
    "GrammarModel",
    "LinearVAEConfig",
    "LinearVAEModel",
    "LinearVAEOptimum",
    "VectorCollator",
    "enumerate_sentences",
    "linear_vae_optimum",
    "ppca_log_likelihood",
    "two_word_batch",
    "two_word_model",
]
