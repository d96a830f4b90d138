"""The methods that a model was made with, each with its paper: what its card cites."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple


class Method(NamedTuple):
    """What was done, who proposed it, and its number at arXiv."""

    what: str
    authors: str
    arxiv: str


Values = Mapping[str, Any]
_HE = ("He et al.", "1901.05534")
_LI_2019 = ("Li et al.", "1909.00868")
_LI_2020 = ("Li et al.", "2004.04092")

_POSTERIORS = {
    "batch_norm_gaussian": Method("batch-normalised posterior means", "Zhu et al.", "2004.12585"),
    "committed_rate_gaussian": Method("committed rate", "Razavi et al.", "1901.03416"),
}
_INJECTIONS = {
    "state": Method("latents as the decoder's first state", *_HE),
    "concat": Method("latents beside every word read", *_HE),
    "output": Method("latents at the decoder's output", "Dieng et al.", "1807.04863"),
    "add": Method("latents in the word embeddings", *_LI_2020),
    "prefix": Method("latents as a prefix", *_LI_2020),
}
_SCHEDULES = {
    "linear": Method("linear annealing of the KL weight", *_HE),
    "sigmoid": Method("sigmoid annealing of the KL weight", "Bowman et al.", "1511.06349"),
    "cyclical": Method("cyclical annealing of the KL weight", "Fu et al.", "1903.10145"),
    "cyclical_zero": Method("cycles of the KL weight with a zero phase", *_LI_2020),
    "target_rate": Method("a KL held at a target", "Shao et al.", "2004.05988"),
}
_KL_TERMS = {
    "free_bits_per_sentence_mask": Method("free bits of a sentence", *_LI_2019),
    "free_bits_per_dimension_mask": Method("free bits of a dimension", *_LI_2019),
    "free_bits_batch_mean_mask": Method("free bits of the batch", *_LI_2019),
    "free_bits_per_dimension_hinge": Method("free bits of a dimension, as a hinge", *_LI_2020),
    "free_bits_batch_dimension_hinge": Method(
        "free bits of the batch's mean, as a hinge", "Kingma et al.", "1606.04934"
    ),
    "capacity_batch_mean": Method("KL capacity", "Burgess et al.", "1804.03599"),
    "capacity_per_sentence": Method("KL capacity", "Burgess et al.", "1804.03599"),
}
# a key of the recipe, by its dots, that switches a method on by any value but nothing
_SWITCHES: dict[str, Method] = {
    "model.word_dropout": Method("word dropout", "Bowman et al.", "1511.06349"),
    "model.input_noise": Method("noise on the encoder's input", "Shen et al.", "1905.12777"),
    "objective.mmd_weight": Method("MMD to the prior", "Zhao et al.", "1706.02262"),
    "phases.autoencoder": Method("an autoencoder first", *_LI_2019),
}


def methods(facts: Values) -> list[Method]:
    """The methods that a model's facts name, but for pooling, which every card names by itself.

    Args:
        facts: of `collect_facts`; without a recipe only the parts of the model are known.
    """
    found = _of_model(facts["model"])
    if facts["recipe"] is not None:
        found = [*found, *_of_recipe(facts["recipe"])]
    return list(dict.fromkeys(found))


def _of_model(model: Values) -> list[Method]:
    found = [_INJECTIONS[way] for way in model.get("latent_injection", ())]
    if model.get("posterior") in _POSTERIORS:
        found.insert(0, _POSTERIORS[model["posterior"]])
    return found


def _of_recipe(recipe: Values) -> Iterator[Method]:
    for key, table in (("objective.beta.schedule", _SCHEDULES), ("objective.kl_term", _KL_TERMS)):
        if _look_up(recipe, key) in table:
            yield table[_look_up(recipe, key)]
    for key, method in _SWITCHES.items():
        if _look_up(recipe, key):
            yield method
    if _look_up(recipe, "training.encoder_updates") == "aggressive":
        yield Method("aggressive updates of the encoder", *_HE)


def _look_up(values: Any, key: str) -> Any:
    """The value of "a.b.c"; None where there is none."""
    for part in key.split("."):
        values = values.get(part) if isinstance(values, Mapping) else None
    return values
