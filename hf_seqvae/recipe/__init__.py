"""Recipes: one YAML file says a whole run, and is built into its objects."""

from hf_seqvae.recipe.build import (
    build_config,
    build_model,
    build_objective,
    build_optimizer,
    build_scheduler,
    optimizer_class,
    special_token_ids,
)
from hf_seqvae.recipe.io import load, packaged_names, save
from hf_seqvae.recipe.objective import BetaRecipe, ObjectiveRecipe
from hf_seqvae.recipe.phases import PhaseRecipe, build_phases, phase_objective
from hf_seqvae.recipe.schema import Recipe, describe, differences
from hf_seqvae.recipe.text import DataRecipe, TokenizerRecipe
from hf_seqvae.recipe.training import TrainingRecipe

__all__ = [
    "BetaRecipe",
    "DataRecipe",
    "ObjectiveRecipe",
    "PhaseRecipe",
    "Recipe",
    "TokenizerRecipe",
    "TrainingRecipe",
    "build_config",
    "build_model",
    "build_objective",
    "build_optimizer",
    "build_phases",
    "build_scheduler",
    "describe",
    "differences",
    "load",
    "optimizer_class",
    "packaged_names",
    "phase_objective",
    "save",
    "special_token_ids",
]
