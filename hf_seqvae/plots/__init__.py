"""Plots as image files, without a display: curves, use of z, spectra, latent map, dispersion."""

from hf_seqvae.plots.curves import information_over_training, training_curves
from hf_seqvae.plots.dispersion import dispersion_by_pooling
from hf_seqvae.plots.latent_map import latent_map, principal_axes
from hf_seqvae.plots.log import read_log
from hf_seqvae.plots.spectra import spectrum, water_level
from hf_seqvae.plots.usage import kl_per_dimension, position_profile

__all__ = [
    "dispersion_by_pooling",
    "information_over_training",
    "kl_per_dimension",
    "latent_map",
    "position_profile",
    "principal_axes",
    "read_log",
    "spectrum",
    "training_curves",
    "water_level",
]
