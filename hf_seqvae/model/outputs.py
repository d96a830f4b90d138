"""What the encoder and the model return: terms in nats, unreduced, with their shapes."""

from dataclasses import dataclass

from torch import Tensor
from transformers.cache_utils import Cache
from transformers.utils.generic import ModelOutput


@dataclass
class SeqVAEEncoderOutput(ModelOutput):
    """What the encoder says of a batch of B texts; with given latents, only `latents`."""

    last_hidden_state: Tensor | None = None  # features (B, T, H)
    latents: Tensor | None = None  # (B, Z)
    posterior_mean: Tensor | None = None  # (B, Z)
    posterior_logvar: Tensor | None = None  # (B, Z)
    pooled: Tensor | None = None  # (B, H) or (B, 2H)
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


@dataclass
class SeqVAEOutput(ModelOutput):
    """Terms of the ELBO in nats, unreduced, and what they were made of."""

    loss: Tensor | None = None  # scalar: the negative ELBO at config.kl_weight, normalised
    logits: Tensor | None = None  # (B, L, V); None from a native decoder in training
    reconstruction_nll: Tensor | None = None  # (B,) -log p(x|z), EOS included
    kl: Tensor | None = None  # (B, Z)
    num_tokens: Tensor | None = None  # (B,) predicted tokens
    posterior_mean: Tensor | None = None  # (B, Z)
    posterior_logvar: Tensor | None = None  # (B, Z)
    latents: Tensor | None = None  # (B, Z)
    pooled: Tensor | None = None  # (B, H) or (B, 2H)
    past_key_values: Cache | None = None
    encoder_last_hidden_state: Tensor | None = None  # (B, T, H)
    encoder_hidden_states: tuple[Tensor, ...] | None = None
    encoder_attentions: tuple[Tensor, ...] | None = None
    decoder_hidden_states: tuple[Tensor, ...] | None = None
    decoder_attentions: tuple[Tensor, ...] | None = None
    cross_attentions: tuple[Tensor, ...] | None = None
