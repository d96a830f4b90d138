"""Foreign backbones: what one takes, how long a text it reads, and what of it is not needed."""

import inspect
from typing import Any, NamedTuple

from torch import nn
from transformers import PreTrainedConfig

FLAGS = ("output_attentions", "output_hidden_states")


class DecoderTraits(NamedTuple):
    """What decoding must know of a decoder."""

    native: bool  # our LSTM
    parameters: frozenset[str]  # that its forward takes
    first_position: int
    max_tokens: int | None


def decoder_traits(decoder: nn.Module, *, native: bool) -> DecoderTraits:
    """The traits of a decoder.

    Raises:
        ValueError: it cannot be given z, or cannot generate.
    """
    parameters = frozenset(inspect.signature(decoder.forward).parameters)
    for name in ("past_key_values", "inputs_embeds"):
        if name not in parameters:
            raise ValueError(
                f"decoder {type(decoder).__name__} does not take `{name}`, which the VAE "
                "needs to pass z and to generate. Choose an attention decoder or our LSTM."
            )
    return DecoderTraits(native, parameters, first_position(decoder), max_tokens(decoder))


def first_position(model: nn.Module) -> int:
    """The position of a text's first token: RoBERTa and its kin count from behind padding's own."""
    for name, module in model.named_modules():
        padding = getattr(module, "padding_idx", None)
        if name.endswith("position_embeddings") and padding is not None:
            return padding + 1
    return 0


def max_tokens(model: Any) -> int | None:
    """The longest text that a model's table of positions holds; None without such a table."""
    config = model.config
    limit = getattr(config, "max_position_embeddings", None)
    if limit is None or limit < 1 or getattr(config, "rope_parameters", None) is not None:
        return None
    if getattr(config, "position_embedding_type", None) == "rotary":
        return None
    if not getattr(config, "position_biased_input", True):  # DeBERTa's positions are relative
        return None
    return limit - first_position(model)


def check_length(num_tokens: int, limit: int | None, config: PreTrainedConfig, what: str) -> None:
    """Raises where a text is longer than a backbone's table of positions."""
    if limit is not None and num_tokens > limit:
        raise ValueError(
            f"{what} has {num_tokens} tokens, but {config.model_type!r} has {limit} positions. "
            "Truncate the texts (max_length in the data), generate fewer tokens (max_new_tokens), "
            "or choose a backbone with more positions."
        )


def feature_width(config: PreTrainedConfig) -> int:
    """H, the width of a foreign backbone's last hidden states."""
    text = config.get_text_config()
    narrowed = getattr(text, "word_embed_proj_dim", None)  # of OPT
    return text.hidden_size if narrowed is None else narrowed


def check_encoder(backbone: nn.Module) -> frozenset[str]:
    """The names that an encoder's forward takes.

    Raises:
        ValueError: it is an encoder and a decoder, whatever its config says.
    """
    parameters = frozenset(inspect.signature(backbone.forward).parameters)
    if "decoder_input_ids" in parameters:
        raise ValueError(
            f"encoder {type(backbone).__name__} has a decoder too. Give a config with one stack, "
            "such as BERT's or GPT-2's."
        )
    return parameters


class NoPooler(nn.Module):
    """In the place of a backbone's own pooler, whose weights would get no gradient."""

    def forward(self, *args: Any, **kwargs: Any) -> None:
        """Nothing."""


def share_config(part: Any, config: PreTrainedConfig) -> None:
    """Makes a sub-model read the composite's nested config, so that later changes reach both."""
    old = part.config
    config._attn_implementation = old._attn_implementation
    module: Any
    for module in part.modules():  # layers hold the config of their model too
        if getattr(module, "config", None) is old:
            module.config = config
