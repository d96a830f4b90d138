"""Latents out: sentences to latents and back, and the ways to move between them."""

from hf_seqvae.latent_space.loading import load_model, load_scorable, model_folder
from hf_seqvae.latent_space.space import LatentSpace
from hf_seqvae.model.interpolation import INTERPOLATIONS, lerp, slerp

__all__ = [
    "INTERPOLATIONS",
    "LatentSpace",
    "lerp",
    "load_model",
    "load_scorable",
    "model_folder",
    "slerp",
]
