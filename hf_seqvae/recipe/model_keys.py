"""The keys a recipe's `model` section may hold: those of SeqVAEConfig and of the configs in it.

Or, of the model without latents, those of its LSTM and of what trains it.
"""

import dataclasses
import difflib
from collections.abc import Mapping
from typing import Any, cast

from transformers import CONFIG_MAPPING, PreTrainedConfig

from hf_seqvae.model.configuration_lstm import SeqVAELSTMConfig, SeqVAELSTMEncoderConfig
from hf_seqvae.model.configuration_seqvae import SeqVAEConfig
from hf_seqvae.recipe.fields import convert, unknown_key

# found in the tokenizer, so a recipe that said them could only contradict it
FROM_TOKENIZER = (
    "vocab_size",
    "pad_token_id",
    "bos_token_id",
    "eos_token_id",
    "unk_token_id",
    "sep_token_id",
    "decoder_start_token_id",
    "special_token_ids",
    "encoder_unk_token_id",
)
# set by SeqVAEConfig from its own fields
FROM_COMPOSITE = ("conditioning_size", "output_conditioning_size")
NATIVE: dict[str, type[PreTrainedConfig]] = {
    "encoder": SeqVAELSTMEncoderConfig,
    "decoder": SeqVAELSTMConfig,
}

SEQVAE, LANGUAGE_MODEL = "seqvae", "language_model"
KINDS = (SEQVAE, LANGUAGE_MODEL)
LANGUAGE_MODEL_KEYS = ("decoder", "kind", "loss_normalization", "word_dropout")


def canonical_model(model: Any) -> Any:
    """The `model` section as a mapping: a word is its `kind`, and that of a VAE is left out."""
    if isinstance(model, str):
        model = {"kind": model}
    if isinstance(model, Mapping) and model.get("kind") == SEQVAE:
        return {name: value for name, value in model.items() if name != "kind"}
    return model


def check_model_keys(model: Mapping[str, Any]) -> None:
    """Refuse a key that no config reads, naming the nearest, and one that the tokenizer decides."""
    kind = model.get("kind", SEQVAE)
    if kind not in KINDS:
        raise ValueError(
            f"model.kind must be one of {list(KINDS)}, got {kind!r}. Pooling, posterior and the "
            "rest have keys of their own in model."
        )
    if kind == LANGUAGE_MODEL:
        _check_language_model(model)
        return
    _check("model.", model, SeqVAEConfig)
    for part in NATIVE:
        section = model.get(part)
        if section is None:
            continue
        if not isinstance(section, Mapping):
            raise ValueError(f"model.{part} must be a mapping of a config's keys, got {section!r}.")
        _check(f"model.{part}.", section, part_config_class(part, section))


def part_config_class(part: str, section: Mapping[str, Any]) -> type[PreTrainedConfig]:
    """The config class of an "encoder" or "decoder" section: by `model_type`, or our LSTM."""
    model_type = section.get("model_type")
    if model_type is None:
        return NATIVE[part]
    for native in NATIVE.values():
        if model_type == native.model_type:
            return native
    if model_type not in CONFIG_MAPPING:
        near = difflib.get_close_matches(str(model_type), list(CONFIG_MAPPING), n=1, cutoff=0.0)[0]
        raise ValueError(
            f"model.{part}.model_type must be {NATIVE[part].model_type!r} or a model type of "
            "transformers, "
            f"got {model_type!r}. Did you mean {near!r}?"
        )
    return CONFIG_MAPPING[model_type]


def field_names(config_class: type[PreTrainedConfig]) -> set[str]:
    """Names of the fields that a config class declares."""
    return {item.name for item in dataclasses.fields(cast(Any, config_class))}


def _check_language_model(model: Mapping[str, Any]) -> None:
    for key in model:
        if key in LANGUAGE_MODEL_KEYS:
            continue
        if key in _known_keys(SeqVAEConfig):
            raise ValueError(
                f"model.{key} belongs to a VAE: a language_model has neither encoder nor latents "
                f"and reads {', '.join(LANGUAGE_MODEL_KEYS)}. Leave it out."
            )
        raise unknown_key("model.", key, LANGUAGE_MODEL_KEYS)
    convert(model.get("word_dropout", 0.0), float, "model.word_dropout")
    decoder = convert(model.get("decoder", {}), dict, "model.decoder")
    model_type = decoder.get("model_type", SeqVAELSTMConfig.model_type)
    if model_type != SeqVAELSTMConfig.model_type:
        raise ValueError(
            f"model.decoder.model_type must be {SeqVAELSTMConfig.model_type!r} in a "
            f"language_model, got {model_type!r}. Leave it out."
        )
    _check("model.decoder.", decoder, SeqVAELSTMConfig)


def _check(section: str, values: Mapping[str, Any], config_class: type[PreTrainedConfig]) -> None:
    known = _known_keys(config_class)
    for key in values:
        if key in FROM_TOKENIZER:
            raise ValueError(f"{section}{key} comes from the tokenizer. Leave it out.")
        if key not in known:
            raise unknown_key(section, key, known)


def _known_keys(config_class: type[PreTrainedConfig]) -> set[str]:
    """Fields of the class and their aliases, without the book-keeping of all configs."""
    fields = field_names(config_class) | set(config_class.attribute_map)
    bookkeeping = field_names(PreTrainedConfig)
    known = (
        (fields | set(config_class.attribute_map))
        - bookkeeping
        - set(FROM_TOKENIZER)
        - set(FROM_COMPOSITE)
    )
    return known | {"model_type"}
