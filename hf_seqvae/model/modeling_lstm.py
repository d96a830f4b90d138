"""The LSTM backbones as ordinary Hugging Face models, and the cache layer that carries their state."""

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence
from transformers import GenerationMixin, PreTrainedModel
from transformers import initialization as init
from transformers.cache_utils import STATIC_LAYER_TYPE_MAPPING, Cache, CacheLayerMixin, DynamicCache
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_outputs import BaseModelOutputWithPast, CausalLMOutputWithPast
from transformers.utils.generic import can_return_tuple, merge_with_config_defaults
from transformers.utils.output_capturing import capture_outputs

from .configuration_lstm import SeqVAELSTMConfig, SeqVAELSTMEncoderConfig


def initialize_module(module: nn.Module, initializer: str) -> None:
    """Initialises the parameters a module owns itself; parameters loaded from a checkpoint are kept.

    Args:
        module: nn.LSTM, nn.Linear or nn.Embedding; others own nothing here.
        initializer: "torch" (torch's defaults) or "literature" (U(-0.01, 0.01), embeddings U(-0.1, 0.1)).
            Source: He et al., arXiv 1901.05534.
    """
    if initializer == "literature":
        bound = 0.1 if isinstance(module, nn.Embedding) else 0.01
        for parameter in module.parameters(recurse=False):
            init.uniform_(parameter, -bound, bound)
    elif isinstance(module, nn.LSTM):
        for parameter in module.parameters(recurse=False):
            init.uniform_(parameter, -(module.hidden_size**-0.5), module.hidden_size**-0.5)
    elif isinstance(module, nn.Linear):
        for parameter in module.parameters(
            recurse=False
        ):  # torch: kaiming with a = sqrt(5) is this
            init.uniform_(parameter, -(module.in_features**-0.5), module.in_features**-0.5)
    elif isinstance(module, nn.Embedding):
        init.normal_(module.weight)


class SeqVAELSTMCacheLayer(CacheLayerMixin):
    """The state of one LSTM layer: h in `keys`, c in `values`, (B, H) each, whatever the length."""

    _layer_type = "seqvae_lstm"  # DynamicCache(config=...) finds this class by it

    def __init__(self, **kwargs):
        super().__init__()  # a static cache passes max_cache_len: a state of fixed size has no use for it
        self.cumulative_length = 0

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Remembers where the states live."""
        self.dtype, self.device = key_states.dtype, key_states.device
        self.is_initialized = True

    def update(self, key_states: Tensor, value_states: Tensor, num_tokens: int = 1, **kwargs):
        """Replaces (h, c) by the states after `num_tokens` more tokens."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        self.keys, self.values = key_states, value_states
        self.cumulative_length += num_tokens
        return self.keys, self.values

    def get_seq_length(self) -> int:
        """Tokens read so far."""
        return self.cumulative_length

    def get_max_length(self) -> int:
        """-1: no limit."""
        return -1

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """(length, offset) of a mask over everything read."""
        return self.cumulative_length + query_length, 0

    def batch_repeat_interleave(self, repeats: int) -> None:
        """Repeats each row's state."""
        if self.get_seq_length() > 0:
            self.keys = self.keys.repeat_interleave(repeats, dim=0)
            self.values = self.values.repeat_interleave(repeats, dim=0)

    def batch_select_indices(self, indices: Tensor) -> None:
        """Keeps the states of some rows."""
        if self.get_seq_length() > 0:
            self.keys, self.values = self.keys[indices], self.values[indices]


# transformers fills this table only for subclasses of its own static layer
STATIC_LAYER_TYPE_MAPPING["seqvae_lstm"] = SeqVAELSTMCacheLayer


class SeqVAELSTMLayer(GradientCheckpointingLayer):
    """One LSTM layer over right-padded inputs, one way or both."""

    def __init__(self, input_size: int, hidden_size: int, bidirectional: bool):
        super().__init__()
        self.lstm = nn.LSTM(input_size, hidden_size, batch_first=True)
        self.reverse_lstm = (
            nn.LSTM(input_size, hidden_size, batch_first=True) if bidirectional else None
        )

    def forward(
        self,
        inputs: Tensor,
        initial_hidden: Tensor | None = None,
        initial_cell: Tensor | None = None,
        lengths: Tensor | None = None,
        exact_state: bool = False,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Inputs (B, T, I), states (B, H), lengths (B,) of the real tokens -> outputs (B, T, H or 2H), h, c (B, H).

        With `exact_state` the returned state is the one after each row's last real token.
        """
        state = None
        if initial_hidden is not None and initial_cell is not None:
            state = (initial_hidden[None].contiguous(), initial_cell[None].contiguous())
        if exact_state and lengths is not None:
            packed = pack_padded_sequence(
                inputs, lengths.cpu(), batch_first=True, enforce_sorted=False
            )
            packed, (hidden, cell) = self.lstm(packed, state)
            outputs, _ = pad_packed_sequence(packed, batch_first=True, total_length=inputs.shape[1])
        else:
            outputs, (hidden, cell) = self.lstm(inputs, state)
        if self.reverse_lstm is not None:
            order = reversed_order(inputs.shape[1], lengths, inputs.device)  # (1 or B, T)
            backward, _ = self.reverse_lstm(take_tokens(inputs, order))
            outputs = torch.cat([outputs, take_tokens(backward, order)], dim=-1)
        return outputs, hidden[0], cell[0]


def take_tokens(values: Tensor, order: Tensor) -> Tensor:
    """Values (B, T, H) reordered along T by order (1 or B, T)."""
    return values.gather(1, order.expand(values.shape[0], -1)[..., None].expand_as(values))


def reversed_order(num_tokens: int, lengths: Tensor | None, device: torch.device) -> Tensor:
    """Positions that reverse the first `lengths` tokens of a row and leave its padding, (1 or B, T)."""
    positions = torch.arange(num_tokens, device=device)[None]
    if lengths is None:
        return positions.flip(1)
    lengths = lengths[:, None].to(device)
    return torch.where(positions < lengths, lengths - 1 - positions, positions)


class SeqVAELSTMPreTrainedModel(PreTrainedModel):
    """Flags and initialisation that the LSTM models share."""

    config: SeqVAELSTMConfig
    base_model_prefix = "model"
    supports_gradient_checkpointing = True
    _no_split_modules = ["SeqVAELSTMLayer"]
    # no attention here: whatever implementation a user asks of a composite is fine
    _supports_sdpa = _supports_flash_attn = _supports_flex_attn = True
    _is_stateful = True
    _can_record_outputs = {"hidden_states": SeqVAELSTMLayer}

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        initialize_module(module, self.config.initializer)


class SeqVAELSTMModel(SeqVAELSTMPreTrainedModel):
    """Token embeddings and stacked LSTM layers: tokens -> features.

    Source of the decoder's form (z beside every input, state from z): He et al., arXiv 1901.05534.
    """

    def __init__(self, config: SeqVAELSTMConfig):
        super().__init__(config)
        self.embed_tokens = nn.Embedding(config.vocab_size, config.embedding_size)
        self.input_dropout = nn.Dropout(config.input_dropout)
        self.output_dropout = nn.Dropout(config.output_dropout)
        sizes = [config.embedding_size + config.conditioning_size]
        sizes += [config.output_size] * (config.num_hidden_layers - 1)
        self.layers = nn.ModuleList(
            SeqVAELSTMLayer(size, config.hidden_size, config.bidirectional) for size in sizes
        )
        self.post_init()

    def embed(self, input_ids: Tensor) -> Tensor:
        """Token ids (B, T) -> embeddings (B, T, E) after input dropout."""
        return self.input_dropout(self.embed_tokens(input_ids))

    @merge_with_config_defaults
    @capture_outputs
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        past_key_values: Cache | None = None,
        use_cache: bool | None = None,
        conditioning: Tensor | None = None,
        initial_hidden: Tensor | None = None,
        initial_cell: Tensor | None = None,
        **kwargs,
    ) -> BaseModelOutputWithPast:
        """Reads tokens after what the cache has read.

        Args:
            input_ids: (B, T); or `inputs_embeds` (B, T, E), taken as they are, without dropout.
            attention_mask: (B, T) or, with a cache, (B, past + T); 0 = padding, on any side.
            past_key_values: cache of SeqVAELSTMCacheLayer.
            use_cache: return the cache.
            conditioning: (B, C) beside every input, never dropped.
            initial_hidden, initial_cell: (layers, B, H), used while the cache is empty.
            kwargs: recording flags (`output_hidden_states`).

        Returns:
            last_hidden_state (B, T, H or 2H) and past_key_values.
        """
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("give either input_ids or inputs_embeds, and not both.")
        if inputs_embeds is None:
            inputs_embeds = self.embed(input_ids)
        if (self.config.conditioning_size > 0) != (conditioning is not None):
            raise ValueError(
                f"conditioning_size is {self.config.conditioning_size}, so conditioning must "
                f"{'be given' if conditioning is None else 'not be given'}."
            )
        num_tokens = inputs_embeds.shape[1]
        if use_cache and past_key_values is None and not self.config.bidirectional:
            past_key_values = DynamicCache(config=self.config)
        if attention_mask is not None:
            attention_mask = attention_mask[:, -num_tokens:].bool()
        order = lengths = None
        if attention_mask is not None and not bool(attention_mask.all()):
            lengths = attention_mask.sum(dim=1)
            if bool((attention_mask[:, 1:] > attention_mask[:, :-1]).any()):
                # padding before tokens: bring the tokens to the front, in their order
                order = attention_mask.logical_not().int().argsort(dim=1, stable=True)
                inputs_embeds = take_tokens(inputs_embeds, order)
        features = inputs_embeds
        if conditioning is not None:
            conditioning = conditioning[:, None].expand(-1, num_tokens, -1)
            features = torch.cat([features, conditioning.to(features.dtype)], dim=-1)
        for index, layer in enumerate(self.layers):
            hidden = cell = None
            if past_key_values is not None and past_key_values.get_seq_length(index) > 0:
                hidden, cell = (
                    past_key_values.layers[index].keys,
                    past_key_values.layers[index].values,
                )
            elif initial_hidden is not None and initial_cell is not None:
                hidden = initial_hidden[index].to(features.dtype)
                cell = initial_cell[index].to(features.dtype)
            exact_state = past_key_values is not None and lengths is not None
            features, hidden, cell = layer(features, hidden, cell, lengths, exact_state)
            if past_key_values is not None:
                past_key_values.update(hidden, cell, index, num_tokens)
        features = self.output_dropout(features)
        if order is not None:
            features = take_tokens(features, order.argsort(dim=1))
        return BaseModelOutputWithPast(
            last_hidden_state=features, past_key_values=past_key_values if use_cache else None
        )


class SeqVAELSTMEncoderModel(SeqVAELSTMModel):
    """The same layers under the encoder's own model type."""

    config: SeqVAELSTMEncoderConfig


class SeqVAELSTMForCausalLM(SeqVAELSTMPreTrainedModel, GenerationMixin):
    """An LSTM language model: the default decoder, and on its own the model without latents."""

    _tied_weights_keys = {"lm_head.weight": "model.embed_tokens.weight"}

    def __init__(self, config: SeqVAELSTMConfig):
        super().__init__(config)
        self.model = SeqVAELSTMModel(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        past_key_values: Cache | None = None,
        use_cache: bool | None = None,
        labels: Tensor | None = None,
        conditioning: Tensor | None = None,
        initial_hidden: Tensor | None = None,
        initial_cell: Tensor | None = None,
        logits_to_keep: int | Tensor = 0,
        **kwargs,
    ) -> CausalLMOutputWithPast:
        """As SeqVAELSTMModel, plus logits (B, T, V); `labels` (B, T) are shifted inside, -100 is ignored."""
        outputs = self.model(
            input_ids=input_ids,
            attention_mask=attention_mask,
            inputs_embeds=inputs_embeds,
            past_key_values=past_key_values,
            use_cache=use_cache,
            conditioning=conditioning,
            initial_hidden=initial_hidden,
            initial_cell=initial_cell,
            **kwargs,
        )
        kept = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        logits = self.lm_head(outputs.last_hidden_state[:, kept])
        loss = None
        if labels is not None:
            loss = self.loss_function(
                logits=logits, labels=labels, vocab_size=self.config.vocab_size, **kwargs
            )
        return CausalLMOutputWithPast(
            loss=loss,
            logits=logits,
            past_key_values=outputs.past_key_values,
            hidden_states=outputs.hidden_states,
        )
