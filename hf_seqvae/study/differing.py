"""In which words the recipe of a run differs from the one that a study is built on."""

import dataclasses
from typing import Any, cast

from transformers import PreTrainedConfig

from hf_seqvae.model.configuration_seqvae import SeqVAEConfig
from hf_seqvae.recipe import Recipe, differences
from hf_seqvae.recipe.model_keys import LANGUAGE_MODEL_KEYS, NATIVE, SEQVAE, part_config_class
from hf_seqvae.study.schema import StudyRun
from hf_seqvae.study.wording import UNDEFINED

_MODEL = "model."


def run_words(run: StudyRun, base: Recipe, own: Recipe) -> tuple[str, ...]:
    """What is special about a run: of one with a recipe of its own, that and its keys."""
    if run.recipe is None:
        return recipe_words(base, own)
    return (f"recipe: {run.recipe}", *(f"{key}: {value}" for key, value in run.set.items()))


def recipe_words(base: Recipe, own: Recipe) -> tuple[str, ...]:
    """Each option that differs as "key: base -> own", but for the seed.

    A key of the model that one side leaves out has its default there. Of a language model beside a
    VAE what the two cannot share is left out.
    """
    changed = differences(base, own)
    changed.pop("seed", None)
    words = []
    if own.is_language_model and not base.is_language_model:
        words = ["a language model without latents"]
        theirs = (_MODEL, "objective.")
        changed = {key: pair for key, pair in changed.items() if not key.startswith(theirs)}
    for key, pair in changed.items():
        old, new = pair
        if key.startswith(_MODEL):
            old, new = (
                _default(recipe, key.removeprefix(_MODEL)) if value is None else value
                for recipe, value in zip((base, own), pair, strict=True)
            )
        if old != new:
            words.append(f"{key}: {old} -> {new}")
    return tuple(words)


def _default(recipe: Recipe, key: str) -> Any:
    """What a key of the model is where the recipe leaves it out, "default" where that depends."""
    section, _, name = key.rpartition(".")
    if recipe.is_language_model and key.partition(".")[0] not in LANGUAGE_MODEL_KEYS:
        return UNDEFINED
    if key == "kind":
        return SEQVAE
    config_class: type[PreTrainedConfig] = SeqVAEConfig
    if section in NATIVE:
        config_class = part_config_class(section, recipe.model.get(section) or {})
    name = config_class.attribute_map.get(name, name)
    defaults = {item.name: item.default for item in dataclasses.fields(cast(Any, config_class))}
    value = defaults.get(name, dataclasses.MISSING)
    return "default" if value is None or value is dataclasses.MISSING else value
