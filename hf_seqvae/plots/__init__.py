"""Plots as image files, without a display: curves, use of z, spectra, latent map, dispersion."""

from hf_seqvae.plots.curves import information_over_training, training_curves
from hf_seqvae.plots.dispersion import dispersion_by_pooling
from hf_seqvae.plots.latent_map import latent_map, principal_axes
from hf_seqvae.plots.spectra import spectrum, water_level
from hf_seqvae.plots.study import dispersion_against_usage, likelihood_by_run, rate_distortion
from hf_seqvae.plots.study_training import dispersion_over_training, usage_over_training
from hf_seqvae.plots.usage import kl_per_dimension, position_profile

__all__ = [
    "dispersion_against_usage",
    "dispersion_by_pooling",
    "dispersion_over_training",
    "information_over_training",
    "kl_per_dimension",
    "latent_map",
    "likelihood_by_run",
    "position_profile",
    "principal_axes",
    "rate_distortion",
    "spectrum",
    "training_curves",
    "usage_over_training",
    "water_level",
]
