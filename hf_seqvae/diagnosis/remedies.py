"""Remedies: what to try next against a verdict, in order, each with its line of recipe options.

Only options that the recipe schema has, and none that the model already uses. The order is that of
the effects measured in training/results/: free bits kept the most, and more of it as information
with one floor under the KL of a sentence than with one under each dimension; then the schedule of
beta, then pooling, which alone delays a collapse and does not prevent it.
"""

import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from hf_seqvae.diagnosis.rules import (
    COLLAPSED,
    HEALTHY,
    IGNORED,
    PARTLY,
    UNUSED_RATE,
    Judgement,
)

# terms with one floor under all of the KL; the first is recommended, being exact under accumulation
ONE_FLOOR = ("free_bits_per_sentence_mask", "free_bits_batch_mean_mask")
FREE_NATS = 4.0  # a sentence in all, as in the quickstart recipe
WORD_DROPOUT = (0.2, 0.4)  # first try, and where that was not enough


@dataclass(frozen=True)
class Remedy:
    """One thing to change, why, and how a recipe says it.

    Attributes:
        name: in two or three words.
        why: what it does, with its source.
        overrides: "key=value" for `hf-seqvae train --set`, or for `recipe.load`.
    """

    name: str
    why: str
    overrides: tuple[str, ...]

    @property
    def line(self) -> str:
        """The options to put behind `hf-seqvae train`, quoted for a shell."""
        return " ".join(f"--set {shlex.quote(override)}" for override in self.overrides)


def known_setup(config: Any, recipe: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """What a model has, as the nested keys of a recipe.

    Args:
        config: of the SeqVAEModel.
        recipe: `Recipe.to_dict()` of the run it comes from, where that is known.
    """
    model = {
        "latent_size": config.latent_size,
        "pooling": config.pooling,
        "posterior": config.posterior,
        "tie_word_embeddings": config.tie_word_embeddings,
        "word_dropout": config.word_dropout,
        "latent_injection": list(config.latent_injection),
        "lstm_decoder": config.has_lstm_decoder,
    }
    return {**(recipe or {}), "model": model}


def remedies_for(judgement: Judgement, setup: Mapping[str, Any]) -> tuple[Remedy, ...]:
    """What to try next, the likeliest first; none for a healthy model.

    Args:
        judgement: of `judge`.
        setup: of `known_setup`; any part of it may be missing.
    """
    order = _ORDER[UNUSED_RATE if judgement.wasteful else judgement.verdict]
    found = [make(setup) for make in order]
    return tuple(remedy for remedy in found if remedy is not None)


def _get(setup: Mapping[str, Any], key: str) -> Any:
    """The value at "a.b.c", None where the setup does not say."""
    value: Any = setup
    for name in key.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _free_bits(setup: Mapping[str, Any]) -> Remedy:
    term = _get(setup, "objective.kl_term")
    before = _get(setup, "objective.free_bits") if term in ONE_FLOOR else None
    nats = 2 * before if before else FREE_NATS
    twice = "twice the free bits: " if before else ""
    term = term if before else ONE_FLOOR[0]
    overrides = (f"objective.kl_term={term}", f"objective.free_bits={nats:g}")
    if _get(setup, "objective.capacity"):
        overrides += ("objective.capacity=0",)
    why = f"{twice}{nats:g} nats a sentence cost nothing (arXiv 1606.04934, 1909.00868)"
    return Remedy("free bits", why, overrides)


def _free_of_dimension(setup: Mapping[str, Any]) -> Any:
    """The nats free in each dimension, where the KL term has such floors."""
    by_dimension = "dimension" in str(_get(setup, "objective.kl_term"))
    return _get(setup, "objective.free_bits") if by_dimension else None


def _one_floor(setup: Mapping[str, Any]) -> Remedy | None:
    """One floor in place of those of the dimensions, much of which is paid as noise."""
    free, size = _free_of_dimension(setup), _get(setup, "model.latent_size")
    if not free or size is None:
        return None
    nats = f"{free * size:.3g}"
    return Remedy(
        "one floor",
        f"{nats} nats free in all in place of {free:g} in each dimension, where much is paid as "
        "noise (arXiv 1909.00868)",
        (f"objective.kl_term={ONE_FLOOR[0]}", f"objective.free_bits={nats}"),
    )


def _annealing(setup: Mapping[str, Any]) -> Remedy | None:
    """A schedule of beta a step gentler than the one there is."""
    schedule = _get(setup, "objective.beta.schedule")
    if schedule in ("cyclical", "cyclical_zero", "target_rate"):
        return None
    rises = schedule in ("linear", "sigmoid")
    end = _get(setup, "objective.beta.end") if rises else None
    end = _get(setup, "objective.beta.value") if schedule == "constant" else end
    end = 1.0 if end is None else end
    if rises:
        return Remedy(
            "cyclical annealing",
            "beta falls back to 0 four times, so that the decoder hears z again (arXiv 1903.10145)",
            (f"objective.beta={{schedule: cyclical, end: {end:g}, {_length(setup, 0.75)}}}",),
        )
    return Remedy(
        "annealing",
        "beta rises from 0, so that z is used before it is paid for (arXiv 1511.06349)",
        (f"objective.beta={{schedule: linear, end: {end:g}, {_length(setup, 0.4)}}}",),
    )


def _length(setup: Mapping[str, Any], share: float) -> str:
    """A share of the run, in epochs or, where those cannot be counted, in steps."""
    max_steps, streaming = _get(setup, "training.max_steps"), _get(setup, "data.streaming")
    if max_steps is not None or streaming:
        return f"num_steps: {max(4, round(share * (max_steps or 20_000)))}"
    return f"num_epochs: {share * (_get(setup, 'training.epochs') or 10):.2g}"


def _pooling(setup: Mapping[str, Any]) -> Remedy | None:
    before = _get(setup, "model.pooling")
    if before in ("max", "abs_max", "mean_max", "attention"):
        return None
    return Remedy(
        "max pooling",
        "read every encoder state and not one alone (arXiv 1911.03976); it delays a collapse, so "
        "put it beside free bits",
        ("model.pooling=max",),
    )


def _word_dropout(setup: Mapping[str, Any]) -> Remedy | None:
    first, more = WORD_DROPOUT
    before = _get(setup, "model.word_dropout") or 0.0
    if before >= more:
        return None
    share = first if before < first else more
    return Remedy(
        "word dropout",
        f"hide {share:.0%} of the words that the decoder continues, so that it has to ask z "
        "(arXiv 1511.06349)",
        (f"model.word_dropout={share:g}",),
    )


def _injection(setup: Mapping[str, Any]) -> Remedy | None:
    before = set(_get(setup, "model.latent_injection") or ())
    lstm = _get(setup, "model.lstm_decoder") is not False
    wanted = ("state", "concat") if lstm else ("add", "prefix")
    if not before or before >= set(wanted):
        return None
    return Remedy(
        "z at every step",
        "let the decoder read z at its start and beside every word (arXiv 1901.05534)",
        (f"model.latent_injection=[{', '.join(wanted)}]",),
    )


def _held_rate(setup: Mapping[str, Any]) -> Remedy | None:
    """A floor under the KL that the posterior itself keeps, for one that has none."""
    cut = (_get(setup, "training.gradient_accumulation_steps") or 1) > 1
    if _get(setup, "model.posterior") != "gaussian" or cut:
        return None
    return Remedy(
        "batch-normalised means",
        "posterior means of a fixed spread, which keep the KL of a batch up (arXiv 2004.12585)",
        ("model.posterior=batch_norm_gaussian", "model.batch_norm_gamma=0.6"),
    )


def _autoencoder_first(setup: Mapping[str, Any]) -> Remedy | None:
    epochs, streaming = _get(setup, "training.epochs"), _get(setup, "data.streaming")
    halved = _get(setup, "training.scheduler") in (None, "plateau_halving")
    fixed = _get(setup, "training.max_steps") or _get(setup, "model.tie_word_embeddings")
    if epochs is None or epochs < 3 or _get(setup, "phases") or streaming or fixed or not halved:
        return None
    phases = f"{{autoencoder: {{epochs: {epochs // 3}}}, vae: {{reset: [decoder]}}}}"
    return Remedy(
        "an autoencoder first",
        "train the encoder without a KL, then a new decoder that finds a z worth reading (arXiv "
        "1909.00868)",
        (f"phases={phases}",),
    )


def _aggressive(setup: Mapping[str, Any]) -> Remedy | None:
    before, streaming = _get(setup, "training.encoder_updates"), _get(setup, "data.streaming")
    several = (_get(setup, "training.num_processes") or 1) > 1
    if before != "joint" or streaming or several or _get(setup, "model.tie_word_embeddings"):
        return None
    return Remedy(
        "aggressive updates",
        "let the encoder catch up before each update of the decoder; several times the cost of a "
        "step while it lasts (arXiv 1901.05534)",
        ("training.encoder_updates=aggressive",),
    )


def _smaller_beta(setup: Mapping[str, Any]) -> Remedy | None:
    schedule = _get(setup, "objective.beta.schedule")
    key = "value" if schedule == "constant" else "end"
    before = _get(setup, f"objective.beta.{key}")
    before = 1.0 if before is None else before
    if schedule in (None, "target_rate") or before <= 0.25:
        return None
    return Remedy(
        "a smaller beta",
        f"a nat of KL costs {before / 2:g} nats; -ELBO is then not what is minimised",
        (f"objective.beta.{key}={before / 2:g}",),
    )


def _fewer_dimensions(setup: Mapping[str, Any]) -> Remedy | None:
    size, free = _get(setup, "model.latent_size"), _free_of_dimension(setup)
    if size is None or size < 8:
        return None
    overrides = (f"model.latent_size={size // 4}",)
    if free:
        overrides += (f"objective.free_bits={free * size / (size // 4):.3g}",)
    return Remedy(
        "fewer dimensions",
        "the same rate in fewer dimensions: spread thin, it is paid as noise that no decoder reads",
        overrides,
    )


def _more_epochs(setup: Mapping[str, Any]) -> Remedy | None:
    epochs = _get(setup, "training.epochs")
    if epochs is None or _get(setup, "training.max_steps") is not None:
        return None
    return Remedy(
        "a longer run",
        "z carries the sentence already: give the decoder time to learn to read it",
        (f"training.epochs={2 * epochs}",),
    )


_AGAINST_COLLAPSE = (
    _free_bits,
    _annealing,
    _pooling,
    _word_dropout,
    _injection,
    _held_rate,
    _autoencoder_first,
    _aggressive,
)
_ORDER: dict[str, tuple[Callable[[Mapping[str, Any]], Remedy | None], ...]] = {
    COLLAPSED: (*_AGAINST_COLLAPSE, _smaller_beta),
    PARTLY: (*_AGAINST_COLLAPSE, _smaller_beta),
    IGNORED: (_injection, _word_dropout, _more_epochs, _annealing),
    UNUSED_RATE: (_one_floor, _pooling, _word_dropout, _injection, _fewer_dimensions, _annealing),
    HEALTHY: (),
}
