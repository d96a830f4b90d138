"""Faces of hf_seqvae.metrics for the `evaluate` library: `evaluate.load(path("active_units"))`."""

from pathlib import Path

NAMES = ("active_units", "feature_dispersion", "iw_perplexity", "mutual_information")


def path(name: str) -> str:
    """The folder that `evaluate.load` reads the module `name` from, with or without a network."""
    if name not in NAMES:
        raise ValueError(f"evaluate modules are {', '.join(NAMES)}; got {name!r}.")
    return str(Path(__file__).parent / name)
