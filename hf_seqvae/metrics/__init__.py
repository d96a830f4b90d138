"""Measurements of sequence VAEs: pure functions of tensors, and of models by a small protocol."""

from hf_seqvae.metrics.dispersion import mean_pairwise_cosine, relative_variance, total_variance
from hf_seqvae.metrics.latent_usage import (
    active_units,
    exchange_partners,
    kl_per_dimension,
    mutual_information,
    pointwise_mutual_information,
    swap_gap,
)
from hf_seqvae.metrics.likelihood import (
    LatentVariableModel,
    Posterior,
    mean_and_standard_error,
    reconstruction_nll,
    row_noise,
    sample_with_noise,
    sampled_elbo_terms,
    token_perplexity,
    word_perplexity,
)

__all__ = [
    "LatentVariableModel",
    "Posterior",
    "active_units",
    "exchange_partners",
    "kl_per_dimension",
    "mean_and_standard_error",
    "mean_pairwise_cosine",
    "mutual_information",
    "pointwise_mutual_information",
    "reconstruction_nll",
    "relative_variance",
    "row_noise",
    "sample_with_noise",
    "sampled_elbo_terms",
    "swap_gap",
    "token_perplexity",
    "total_variance",
    "word_perplexity",
]
