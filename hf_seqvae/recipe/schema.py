"""A whole recipe: its sections, what they may not say together, and its comparison with another.

Frozen: change an option with `dataclasses.replace`, which checks again. `describe` lists every
option.
"""

import dataclasses
import hashlib
import json
import os
from collections.abc import Mapping
from typing import Any, ClassVar

from hf_seqvae.objectives import BatchReader, batch_reader
from hf_seqvae.recipe.fields import (
    check_fields,
    from_mapping,
    is_plain,
    iter_options,
    option,
    type_words,
    unknown_key,
)
from hf_seqvae.recipe.model_config import kept_rate, model_config
from hf_seqvae.recipe.model_keys import LANGUAGE_MODEL, canonical_model, check_model_keys
from hf_seqvae.recipe.objective import ObjectiveRecipe
from hf_seqvae.recipe.phases import build_phases
from hf_seqvae.recipe.text import EVERYDAY, DataRecipe, TokenizerRecipe
from hf_seqvae.recipe.training import PLATEAU_HALVING, WITHOUT_LENGTH, TrainingRecipe


@dataclasses.dataclass(frozen=True)
class Recipe:
    """One run: model, text, objective and training.

    `model` holds the keys of SeqVAEConfig, or says `language_model`: the decoder without latents.
    """

    SECTION: ClassVar[str] = ""
    name: str = option("seqvae", "name of the run")
    seed: int = option(
        0,
        "seed of weights, order of batches, dropout and posterior noise",
        minimum=0,
        below=2**63,
    )
    output_dir: str | None = option(None, "folder of the run", shown="runs/<name>", neutral=True)
    model: dict = option(
        dict,
        "keys of SeqVAEConfig; token ids and vocabulary come from the tokenizer. Or the word "
        "language_model: no latents, with {kind, decoder, word_dropout, loss_normalization}",
    )
    tokenizer: TokenizerRecipe = option(TokenizerRecipe, "how text becomes tokens")
    data: DataRecipe = option(
        lambda: DataRecipe(
            dataset=EVERYDAY, num_train=20_000, num_validation=2_000, num_test=2_000
        ),
        "which text",
    )
    objective: ObjectiveRecipe = option(ObjectiveRecipe, "what is optimised")
    training: TrainingRecipe = option(TrainingRecipe, "how the weights are updated")
    phases: dict = option(
        dict, "phases in their order (autoencoder, vae), each with epochs and parts to reset"
    )

    def __post_init__(self) -> None:
        """Check types, limits and contradictions between sections."""
        if self.output_dir is None:
            object.__setattr__(self, "output_dir", f"runs/{self.name}")
        elif isinstance(self.output_dir, str):
            object.__setattr__(self, "output_dir", os.path.expanduser(self.output_dir))
        object.__setattr__(self, "model", canonical_model(self.model))
        check_fields(self)
        if not is_plain(self.name):
            raise ValueError(f"name must be a word without slashes, got {self.name!r}.")
        check_model_keys(self.model)
        model_config(self.model)
        if self.is_language_model:
            self._check_without_latents()
        if self.data.streaming:
            self._check_stream()
        self._check_phases()
        self._check_batch()
        self._check_aggressive()
        self._check_rates()

    @property
    def is_language_model(self) -> bool:
        """Whether the model has no latents."""
        return self.model.get("kind") == LANGUAGE_MODEL

    def _check_without_latents(self) -> None:
        plain = _flat_values(dataclasses.asdict(ObjectiveRecipe()), "objective.")
        asked = _flat_values(dataclasses.asdict(self.objective), "objective.")
        plain["training.num_eval_samples"] = 1
        asked["training.num_eval_samples"] = self.training.num_eval_samples
        plain |= {"training.encoder_updates": "joint", "phases": {}}
        asked |= {"training.encoder_updates": self.training.encoder_updates}
        asked |= {"phases": self.phases}
        for key, value in asked.items():
            if value != plain[key]:
                raise ValueError(
                    f"{key} is {value!r}, but a language_model has no latents, no encoder, no KL "
                    "and no posterior samples. Leave it out (all of objective: --set "
                    "objective={})."
                )

    def _check_stream(self) -> None:
        beta = self.objective.beta
        if beta.num_epochs is not None or beta.delay_epochs:
            raise ValueError(
                "An epoch of a stream has no known length: set objective.beta.num_steps, not "
                "epochs."
            )
        if self.training.max_steps is None and self.training.scheduler not in WITHOUT_LENGTH:
            raise ValueError(
                f"training.scheduler {self.training.scheduler!r} needs the length of the run, "
                "which a stream does not "
                "tell: set training.max_steps."
            )

    def _check_phases(self) -> None:
        phases = build_phases(self.phases, self.training.epochs)
        if not phases:
            return
        if self.training.scheduler not in (None, PLATEAU_HALVING):
            raise ValueError(
                f"training.scheduler {self.training.scheduler!r} runs over the whole run, and each "
                f"of the phases begins anew. Set it to null or {PLATEAU_HALVING}."
            )
        if self.data.streaming:
            raise ValueError(
                "phases count epochs, which a stream does not have: leave out data.streaming."
            )
        if self.training.max_steps is not None:
            raise ValueError(
                f"training.max_steps ({self.training.max_steps}) may end before the last of the "
                "phases begins, whose model alone has a prior. Shorten training.epochs."
            )
        if any(phase.reset for phase in phases) and self.model.get("tie_word_embeddings"):
            raise ValueError(
                "phases reset a part, and model.tie_word_embeddings makes its embeddings the other "
                "part's too. Untie them, or leave out reset."
            )

    def _check_batch(self) -> None:
        """What reads the whole batch is refused where the batch is cut."""
        training, objective = self.training, self.objective
        readers = [batch_reader(objective.kl_term, objective.mmd_weight)]
        if self.model.get("posterior") == "batch_norm_gaussian":
            readers.append(BatchReader("model.posterior 'batch_norm_gaussian'", alone=True))
        for reader in readers:
            if reader is not None:
                reader.refuse_cut(
                    num_micro_batches=training.gradient_accumulation_steps,
                    num_processes=training.num_processes or 1,
                )

    def _check_aggressive(self) -> None:
        if self.training.encoder_updates != "aggressive":
            return
        if self.data.streaming:
            raise ValueError(
                "training.encoder_updates 'aggressive' draws batches at random, which a stream "
                "cannot: leave out data.streaming."
            )
        if self.model.get("tie_word_embeddings"):
            raise ValueError(
                "training.encoder_updates 'aggressive' updates the encoder alone, and "
                "model.tie_word_embeddings makes its embeddings the decoder's. Untie them."
            )

    def _check_rates(self) -> None:
        """One weight of the KL, and no rate below that which the posterior keeps."""
        if "kl_weight" in self.model:
            raise ValueError(
                f"model.kl_weight ({self.model['kl_weight']!r}) is the weight for a stock Trainer, "
                "and a recipe's is objective.beta. Leave it out: two weights contradict each other."
            )
        kept = kept_rate(self.model)
        for name, value in (
            ("objective.beta.rate", self.objective.beta.rate),
            ("objective.capacity", self.objective.capacity or None),
        ):
            if value is not None and value < kept:
                raise ValueError(
                    f"{name} ({value:g}) is out of reach: model.posterior "
                    f"{self.model['posterior']!r} keeps the KL at {kept:g} nats a sentence or "
                    "more. Raise the one or lower the other."
                )

        if self.objective.kl_term in self._whole_floors() and self.objective.free_bits <= kept:
            raise ValueError(
                f"objective.free_bits ({self.objective.free_bits:g}) of {self.objective.kl_term!r} "
                f"does nothing: model.posterior {self.model['posterior']!r} keeps the KL at "
                f"{kept:g} nats a sentence or more. Raise the one or lower the other."
            )

    def _whole_floors(self) -> tuple[str, ...]:
        """The free bits of a whole KL that the posterior may keep above them."""
        if self.model.get("posterior") == "batch_norm_gaussian":  # the mean of the batch alone
            return ("free_bits_batch_mean_mask",)
        return ("free_bits_batch_mean_mask", "free_bits_per_sentence_mask")

    def __hash__(self) -> int:
        """Equal recipes have equal hashes."""
        return hash(json.dumps(self.to_dict(), sort_keys=True))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Recipe":
        """The recipe of nested mappings; an unknown key is a ValueError that names the nearest."""
        known = [item.name for item in dataclasses.fields(cls)]
        for key in values:
            if key not in known:
                raise unknown_key("", key, known, [path for path, _, _ in iter_options(cls)])
        return from_mapping(cls, values)

    def to_dict(self) -> dict[str, Any]:
        """Every option as nested dicts, lists and plain values; `from_dict` inverts it."""
        return json.loads(json.dumps(dataclasses.asdict(self)))

    def fingerprint(self) -> str:
        """A digest of all options that bear on the weights: equal where a run may be resumed."""
        bearing = {key: value for key, value in _flat(self).items() if key not in _neutral_keys()}
        return hashlib.sha256(json.dumps(bearing, sort_keys=True).encode()).hexdigest()


def differences(old: Recipe, new: Recipe) -> dict[str, tuple[Any, Any]]:
    """{full key: (old value, new value)} of the options that bear on the weights and differ."""
    before, after = _flat(old), _flat(new)
    keys = [key for key in before | after if key not in _neutral_keys()]
    return {
        key: (before.get(key), after.get(key)) for key in keys if before.get(key) != after.get(key)
    }


def describe() -> list[tuple[str, str, Any, str]]:
    """(full key, type in words, default, meaning) of every option, in the order of the file."""
    rows = []
    for key, hint, item in iter_options(Recipe):
        default = item.default if item.default is not dataclasses.MISSING else {}
        help = item.metadata["help"]
        words = item.metadata.get("choices", item.metadata.get("words"))
        if words:
            help += f" ({', '.join(words)})"
        rows.append((key, type_words(hint), item.metadata.get("shown", default), help))
    return rows


def _neutral_keys() -> set[str]:
    return {key for key, _, item in iter_options(Recipe) if item.metadata.get("neutral")} | {"name"}


def _flat(recipe: Recipe) -> dict[str, Any]:
    """Options by full key, mappings taken apart."""
    return _flat_values(recipe.to_dict())


def _flat_values(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat = {}
    pending = [(prefix, values)]
    while pending:
        prefix, values = pending.pop(0)
        for name, value in values.items():
            if isinstance(value, dict):
                pending.append((f"{prefix}{name}.", value))
            else:
                flat[prefix + name] = value
    return flat
