"""From a recipe's `model` section and the tokenizers' ids to the config of a model.

A recipe is checked with a stand-in for the tokenizer, so that what the config refuses is refused
before any text is read.
"""

import copy
from collections.abc import Mapping
from typing import Any, NamedTuple

from huggingface_hub.errors import StrictDataclassError

from hf_seqvae.model.configuration_lstm import SeqVAELSTMConfig
from hf_seqvae.model.configuration_seqvae import SeqVAEConfig
from hf_seqvae.recipe.model_keys import LANGUAGE_MODEL, field_names, part_config_class


class Vocabulary(NamedTuple):
    """What a config needs to know of a tokenizer.

    Attributes:
        size: tokens.
        ids: pad_token_id, bos_token_id, eos_token_id and unk_token_id.
    """

    size: int
    ids: Mapping[str, Any]


STAND_IN = Vocabulary(
    10_000, {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "unk_token_id": 3}
)


def model_config(
    model: Mapping[str, Any], encoder: Vocabulary = STAND_IN, decoder: Vocabulary = STAND_IN
) -> SeqVAEConfig | SeqVAELSTMConfig:
    """The config of a `model` section whose keys were checked.

    Args:
        model: keys of SeqVAEConfig, or of a language model.
        encoder: of the encoder's input.
        decoder: of the labels.

    Raises:
        ValueError: what the config itself refuses.
    """
    keys = copy.deepcopy(dict(model))
    if keys.get("kind") == LANGUAGE_MODEL:
        keys = {**keys.get("decoder", {}), **decoder.ids, "vocab_size": decoder.size}
        return _checked(SeqVAELSTMConfig, keys)
    for part, vocabulary in (("encoder", encoder), ("decoder", decoder)):
        section = keys.get(part) or {}
        config_class = part_config_class(part, section)
        known = field_names(config_class)
        section |= {name: value for name, value in vocabulary.ids.items() if name in known}
        keys[part] = section | {
            "model_type": config_class.model_type,
            "vocab_size": vocabulary.size,
        }
    keys |= decoder.ids
    keys["decoder_start_token_id"] = keys["bos_token_id"]
    keys["special_token_ids"] = sorted({encoder.ids["bos_token_id"], encoder.ids["eos_token_id"]})
    keys["encoder_unk_token_id"] = encoder.ids["unk_token_id"]
    return _checked(SeqVAEConfig, keys)


def kept_rate(model: Mapping[str, Any]) -> float:
    """The KL that the posterior of a `model` section keeps in training, nats a sentence."""
    if model.get("kind") == LANGUAGE_MODEL:
        return 0.0
    config: Any = model_config(model)
    if config.committed_rate is not None:
        return float(config.committed_rate)
    if config.batch_norm_gamma is not None:  # as long as the means spread at all
        return 0.5 * config.batch_norm_gamma**2 * config.latent_size
    return 0.0


def _checked(config_class: Any, keys: dict[str, Any]) -> Any:
    """The config, what it refuses said of the recipe."""
    try:
        return config_class(**keys)
    except StrictDataclassError as error:
        raise ValueError(f"The model of the recipe: {error.__cause__ or error}") from error
