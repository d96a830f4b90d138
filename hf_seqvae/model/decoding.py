"""Decoding: tokens and z as injected -> features of our LSTM, or logits of any other decoder."""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers.cache_utils import Cache, EncoderDecoderCache

from .injection import LatentInjection
from .modeling_encoder import BACKBONE_FLAGS, check_length


class Decoded(NamedTuple):
    """What a decoder says of the given tokens; prefix inputs are cut off."""

    features: Tensor | None  # (B, L, H or H + Z), what our LSTM's output layer is to read
    logits: Tensor | None  # (B, L, V) of any other decoder
    past_key_values: Cache | None
    hidden_states: tuple[Tensor, ...] | None
    attentions: tuple[Tensor, ...] | None


def decode(
    decoder: Any,
    injection: LatentInjection,
    latents: Tensor,
    decoder_input_ids: Tensor,
    *,
    native: bool,
    parameters: frozenset[str],
    attention_mask: Tensor | None = None,
    past_key_values: Cache | None = None,
    use_cache: bool | None = None,
    **kwargs,
) -> Decoded:
    """Runs a decoder over tokens that follow what its cache has read.

    Args:
        decoder: our LSTM (`native`) or any AutoModelForCausalLM.
        injection: the maps from z.
        latents: (B, Z).
        decoder_input_ids: (B, L).
        native: whether the decoder is our LSTM.
        parameters: names that the decoder's forward takes.
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
    if native:
        embeds = decoder.model.embed(decoder_input_ids)  # (B, L, E), after input dropout
    else:
        embeds = decoder.get_input_embeddings()(decoder_input_ids)
    if given.shift is not None:
        embeds = embeds + given.shift
    if given.prefix is not None:
        embeds = torch.cat([given.prefix, embeds], dim=1)  # (B, K + L, E)
    mask = attention_mask
    if mask is not None and num_prefix:
        mask = torch.cat([mask.new_ones(len(mask), num_prefix), mask], dim=1)
    inputs = {name: kwargs[name] for name in BACKBONE_FLAGS if kwargs.get(name) is not None}
    inputs |= {
        "inputs_embeds": embeds,
        "attention_mask": mask,
        "past_key_values": past_key_values,
        "use_cache": use_cache,
    }
    features = logits = None
    if native:
        outputs = decoder.model(
            **inputs,
            conditioning=given.conditioning,
            initial_hidden=given.initial_hidden,
            initial_cell=given.initial_cell,
        )
        states = outputs.last_hidden_state[:, embeds.shape[1] - num_tokens :]
        features = decoder.output_features(states, given.output_conditioning)
    else:
        check_length(past + embeds.shape[1], decoder.config, "the decoder's input")
        if mask is not None and "position_ids" in parameters:
            # padding before tokens moves no position
            inputs["position_ids"] = (mask.cumsum(1) - 1).clamp(min=0)[:, -embeds.shape[1] :]
        if given.prefix is not None and "logits_to_keep" in parameters:
            inputs["logits_to_keep"] = num_tokens  # the output layer skips the prefix
        outputs = decoder(**inputs)
        logits = outputs.logits[:, -num_tokens:]
    return Decoded(
        features=features,
        logits=logits,
        past_key_values=outputs.past_key_values,
        hidden_states=outputs.get("hidden_states"),
        attentions=outputs.get("attentions"),
    )
