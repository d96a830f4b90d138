"""Decoding: tokens and z as injected -> features of our LSTM, or logits of any other decoder."""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers.cache_utils import Cache, EncoderDecoderCache

from .backbones import FLAGS, DecoderTraits, check_length
from .injection import LatentInjection
from .token_order import take_tokens


class Decoded(NamedTuple):
    """What a decoder says of the given tokens, and not of the prefix before them."""

    features: Tensor | None  # (B, L, H or H + Z), what our LSTM's output layer is to read
    logits: Tensor | None  # (B, L, V) of any other decoder
    past_key_values: Cache | None
    hidden_states: tuple[Tensor, ...] | None
    attentions: tuple[Tensor, ...] | None  # (B, heads, L, K + past + L): of what was read, all


def decode(
    decoder: Any,
    injection: LatentInjection,
    latents: Tensor,
    decoder_input_ids: Tensor,
    *,
    traits: DecoderTraits,
    attention_mask: Tensor | None = None,
    past_key_values: Cache | None = None,
    use_cache: bool | None = None,
    **kwargs,
) -> Decoded:
    """Runs a decoder over tokens that follow what its cache has read.

    Args:
        decoder: our LSTM or any AutoModelForCausalLM.
        injection: the maps from z.
        latents: (B, Z).
        decoder_input_ids: (B, L).
        traits: of the decoder.
        attention_mask: (B, past + L), without the prefix.
        past_key_values: the decoder's cache.
        use_cache: return the cache.
        kwargs: `output_hidden_states`, `output_attentions`.
    """
    num_tokens, num_prefix = decoder_input_ids.shape[1], injection.num_prefix_tokens
    if isinstance(past_key_values, EncoderDecoderCache):
        past_key_values = past_key_values.self_attention_cache
    past = 0 if past_key_values is None else past_key_values.get_seq_length()
    given = injection(latents.to(decoder.dtype), at_start=past == 0)
    if traits.native:
        embeds = decoder.model.embed(decoder_input_ids)  # (B, L, E), after input dropout
    else:
        embeds = decoder.get_input_embeddings()(decoder_input_ids)
    if given.shift is not None:
        embeds = embeds + given.shift
    if given.prefix is not None:
        embeds = torch.cat([given.prefix, embeds], dim=1)  # (B, K + L, E)
    mask = attention_mask
    if mask is not None and num_prefix:
        order, mask = _behind_padding(mask, num_prefix)
        if given.prefix is not None:
            embeds = take_tokens(embeds, order)
    inputs = {name: kwargs[name] for name in FLAGS if kwargs.get(name) is not None}
    inputs |= {
        "inputs_embeds": embeds,
        "attention_mask": mask,
        "past_key_values": past_key_values,
        "use_cache": use_cache,
    }
    features = logits = None
    if traits.native:
        outputs = decoder.model(
            **inputs,
            conditioning=given.conditioning,
            initial_hidden=given.initial_hidden,
            initial_cell=given.initial_cell,
        )
        states = outputs.last_hidden_state[:, -num_tokens:]
        features = decoder.output_features(states, given.output_conditioning)
    else:
        width = embeds.shape[1]
        check_length(past + width, traits.max_tokens, decoder.config, "the decoder's input")
        if "position_ids" in traits.parameters and (mask is not None or traits.first_position):
            if mask is None:
                positions = torch.arange(past, past + width, device=embeds.device)[None]
            else:  # padding before tokens moves no position
                positions = (mask.cumsum(1) - 1).clamp(min=0)[:, -width:]
            inputs["position_ids"] = traits.first_position + positions
        if given.prefix is not None and "logits_to_keep" in traits.parameters:
            inputs["logits_to_keep"] = num_tokens  # the output layer skips the prefix
        outputs = decoder(**inputs)
        logits = outputs.logits[:, -num_tokens:]
    return Decoded(
        features=features,
        logits=logits,
        past_key_values=outputs.past_key_values,
        hidden_states=_of_tokens(outputs.get("hidden_states"), 1, num_tokens),
        attentions=_of_tokens(outputs.get("attentions"), 2, num_tokens),
    )


def _behind_padding(mask: Tensor, num_prefix: int) -> tuple[Tensor, Tensor]:
    """Where prefix and tokens go, so that the prefix stands between padding in front and the text.

    Args:
        mask: (B, P) of the tokens.
        num_prefix: K.

    Returns:
        The order (B, K + P) of prefix and tokens, and their mask in it. Tokens that are no padding
        in front keep their place from the end.
    """
    before = torch.where(mask.cumsum(dim=1) > 0, 2, 0)
    places = torch.cat([torch.ones_like(before[:, :1]).expand(-1, num_prefix), before], dim=1)
    order = places.argsort(dim=1, stable=True)
    whole = torch.cat([mask.new_ones(len(mask), num_prefix), mask], dim=1)
    return order, whole.gather(1, order)


def _of_tokens(values: Any, dim: int, num_tokens: int) -> Any:
    """Each of `values`, layer by layer, without the prefix along `dim`."""
    if values is None:
        return None
    return tuple(
        None if value is None else value.narrow(dim, value.shape[dim] - num_tokens, num_tokens)
        for value in values
    )
