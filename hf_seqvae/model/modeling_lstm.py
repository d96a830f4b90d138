"""The LSTM backbones as ordinary Hugging Face models."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence
from transformers import GenerationMixin, PreTrainedModel
from transformers import initialization as init
from transformers.cache_utils import Cache, DynamicCache
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_outputs import BaseModelOutputWithPast, CausalLMOutputWithPast
from transformers.utils.generic import can_return_tuple, merge_with_config_defaults

from .carried_code import CarriesCode
from .configuration_lstm import SeqVAELSTMConfig, SeqVAELSTMEncoderConfig
from .lstm_cache import own_empty_layers
from .scoring import (
    drop_words,
    mask_of_padding_in_front,
    nll_from_features,
    nll_from_logits,
    shift_right,
)
from .token_order import order_of_tokens, reversed_order, take_tokens


def initialize_module(module: nn.Module, initializer: str) -> None:
    """Initialises the parameters that a module owns itself, but for those of a checkpoint.

    Args:
        module: nn.LSTM, nn.Linear or nn.Embedding; others own nothing here.
        initializer: "torch" (torch's defaults) or "literature" (U(-0.01, 0.01), embeddings
            U(-0.1, 0.1)). Source: He et al., arXiv 1901.05534.
    """
    if initializer == "literature":
        bound = 0.1 if isinstance(module, nn.Embedding) else 0.01
        for parameter in module.parameters(recurse=False):
            init.uniform_(parameter, -bound, bound)
    elif isinstance(module, nn.LSTM):
        for parameter in module.parameters(recurse=False):
            init.uniform_(parameter, -(module.hidden_size**-0.5), module.hidden_size**-0.5)
    elif isinstance(module, nn.Linear):
        # torch's own kaiming_uniform_(a=sqrt(5)) comes to this bound
        for parameter in module.parameters(recurse=False):
            init.uniform_(parameter, -(module.in_features**-0.5), module.in_features**-0.5)
    elif isinstance(module, nn.Embedding):
        init.normal_(module.weight)


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
        """Inputs (B, T, I), states (B, H), lengths (B,) -> outputs (B, T, H or 2H), h, c (B, H).

        With `exact_state` the returned state is the one after each row's last real token.
        """
        state = None
        if initial_hidden is not None and initial_cell is not None:
            state = (initial_hidden[None].contiguous(), initial_cell[None].contiguous())
        if exact_state and lengths is not None:
            packed = pack_padded_sequence(
                inputs, lengths.cpu().clamp(min=1), batch_first=True, enforce_sorted=False
            )
            packed, after = run_lstm(self.lstm, packed, state)
            outputs, _ = pad_packed_sequence(packed, batch_first=True, total_length=inputs.shape[1])
            # a row of padding alone reads nothing
            before = (0.0, 0.0) if state is None else state
            has_tokens = lengths.to(inputs.device)[:, None] > 0
            hidden, cell = (
                torch.where(has_tokens, new, old) for new, old in zip(after, before, strict=True)
            )
        else:
            outputs, (hidden, cell) = run_lstm(self.lstm, inputs, state)
        if self.reverse_lstm is not None:
            order = reversed_order(inputs.shape[1], lengths, inputs.device)  # (1 or B, T)
            backward, _ = run_lstm(self.reverse_lstm, take_tokens(inputs, order))
            outputs = torch.cat([outputs, take_tokens(backward, order)], dim=-1)
        return outputs, hidden[0], cell[0]


def run_lstm(lstm: nn.LSTM, inputs: Any, state: tuple[Tensor, Tensor] | None = None) -> Any:
    """As lstm(inputs, state); outside of autocast where a CPU has no LSTM of its type."""
    if lstm.weight_hh_l0.device.type != "cpu" or _cpu_has_lstm_of_autocast():
        return lstm(inputs, state)
    with torch.autocast("cpu", enabled=False):
        return lstm(inputs, state)


def _cpu_has_lstm_of_autocast() -> bool:
    if not torch.is_autocast_enabled("cpu"):
        return True
    is_bf16 = torch.get_autocast_dtype("cpu") == torch.bfloat16
    return is_bf16 and torch.ops.mkldnn._is_mkldnn_bf16_supported()


class SeqVAELSTMPreTrainedModel(CarriesCode, PreTrainedModel):
    """Flags and initialisation that the LSTM models share."""

    config: SeqVAELSTMConfig
    base_model_prefix = "model"
    supports_gradient_checkpointing = True
    _no_split_modules = ["SeqVAELSTMLayer"]
    # no attention here: whatever implementation a user asks of a composite is fine
    _supports_sdpa = _supports_flash_attn = _supports_flex_attn = True
    _is_stateful = True

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

    @can_return_tuple
    @merge_with_config_defaults
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
        output_hidden_states: bool | None = None,
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
            output_hidden_states: return the inputs of the first layer and the features of each.
            kwargs: what other backbones take; not read.

        Returns:
            last_hidden_state (B, T, H or 2H) and past_key_values.
        """
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("give either input_ids or inputs_embeds, and not both.")
        inputs = self.embed(input_ids) if input_ids is not None else inputs_embeds
        assert inputs is not None
        if (self.config.conditioning_size > 0) != (conditioning is not None):
            raise ValueError(
                f"conditioning_size is {self.config.conditioning_size}, so conditioning must "
                f"{'be given' if conditioning is None else 'not be given'}."
            )
        num_tokens = inputs.shape[1]
        if use_cache and past_key_values is None and not self.config.bidirectional:
            past_key_values = DynamicCache(config=self.config)
        if attention_mask is not None:
            attention_mask = attention_mask[:, -num_tokens:].bool()
        if past_key_values is not None:
            own_empty_layers(past_key_values, len(self.layers))
        order = lengths = None
        if attention_mask is not None and not bool(attention_mask.all()):
            lengths = attention_mask.sum(dim=1)
            order = order_of_tokens(attention_mask)
            if order is not None:
                inputs = take_tokens(inputs, order)
        back = None if order is None else order.argsort(dim=1)
        features = inputs
        hidden_states = [features]
        if conditioning is not None:
            conditioning = conditioning[:, None].expand(-1, num_tokens, -1)
            features = torch.cat([features, conditioning.to(features.dtype)], dim=-1)
        for index, layer in enumerate(self.layers):
            hidden = cell = None
            if past_key_values is not None and past_key_values.get_seq_length(index) > 0:
                cached: Any = past_key_values.layers[index]
                hidden, cell = cached.keys, cached.values
            elif initial_hidden is not None and initial_cell is not None:
                hidden = initial_hidden[index].to(features.dtype)
                cell = initial_cell[index].to(features.dtype)
            exact_state = past_key_values is not None and lengths is not None
            features, hidden, cell = layer(features, hidden, cell, lengths, exact_state)
            hidden_states.append(features)
            if past_key_values is not None:
                past_key_values.update(hidden, cell, index, num_tokens)
        hidden_states[-1] = self.output_dropout(features)
        if back is not None:
            hidden_states = [take_tokens(states, back) for states in hidden_states]
        return BaseModelOutputWithPast(
            last_hidden_state=hidden_states[-1],
            past_key_values=past_key_values if use_cache else None,
            hidden_states=tuple(hidden_states) if output_hidden_states else None,
        )


class SeqVAELSTMEncoderModel(SeqVAELSTMModel):
    """The same layers under the encoder's own model type."""

    config: SeqVAELSTMEncoderConfig


class SeqVAELSTMForCausalLM(SeqVAELSTMPreTrainedModel, GenerationMixin):
    """An LSTM language model: the default decoder, and on its own the model without latents."""

    auto_classes = {
        "AutoConfig": "configuration_lstm.SeqVAELSTMConfig",
        "AutoModel": "modeling_lstm.SeqVAELSTMModel",
        "AutoModelForCausalLM": "modeling_lstm.SeqVAELSTMForCausalLM",
    }
    _tied_weights_keys = {"lm_head.weight": "model.embed_tokens.weight"}

    def __init__(self, config: SeqVAELSTMConfig):
        super().__init__(config)
        self.model = SeqVAELSTMModel(config)
        width = config.hidden_size + config.output_conditioning_size
        self.lm_head = nn.Linear(width, config.vocab_size, bias=False)
        self.post_init()

    def output_features(self, states: Tensor, output_conditioning: Tensor | None) -> Tensor:
        """What the output layer reads: states (B, T, H), each with the same (B, C) behind it."""
        if (self.config.output_conditioning_size > 0) != (output_conditioning is not None):
            raise ValueError(
                f"output_conditioning_size is {self.config.output_conditioning_size}, so "
                "output_conditioning must "
                f"{'be given' if output_conditioning is None else 'not be given'}."
            )
        if output_conditioning is None:
            return states
        beside = output_conditioning[:, None].expand(-1, states.shape[1], -1)
        return torch.cat([states, beside.to(states.dtype)], dim=-1)

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
        output_conditioning: Tensor | None = None,
        logits_to_keep: int | Tensor = 0,
        **kwargs,
    ) -> CausalLMOutputWithPast:
        """As SeqVAELSTMModel, plus logits (B, T, V).

        `labels` (B, T) are shifted inside, and -100 is ignored. `output_conditioning` (B, C) stands
        beside every state that the output layer reads, never dropped.
        """
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
        states = outputs.last_hidden_state[:, kept]
        logits = self.lm_head(self.output_features(states, output_conditioning))
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

    def log_prob(self, batch: Mapping[str, Tensor], *, word_dropout: float = 0.0) -> Tensor:
        """log p(x) in nats, EOS included, of labels (B, L) as a text VAE's: (B,).

        Labels are a text's tokens and one EOS, never BOS, which the shift supplies; -100 = padding.

        Args:
            batch: holds `labels`.
            word_dropout: share of the inputs to replace by `unk_token_id`, in whatever mode.
        """
        labels = batch["labels"]
        start, pad = self.config.bos_token_id, self.config.pad_token_id
        if start is None:
            raise ValueError("scoring starts behind BOS, and the config's bos_token_id is None.")
        inputs = shift_right(labels, start=start, filler=0 if pad is None else pad)
        mask = mask_of_padding_in_front(labels)
        if word_dropout > 0:
            unknown = self.config.unk_token_id
            if unknown is None:
                raise ValueError(
                    f"word_dropout={word_dropout} replaces words by unk_token_id, which is not "
                    "set. Set it to the id of your tokenizer's unknown (or mask) token."
                )
            inputs = drop_words(inputs, share=word_dropout, unknown=unknown, mask=mask)
        outputs = self.model(input_ids=inputs, attention_mask=mask, use_cache=False)
        features = self.output_features(outputs.last_hidden_state, None)
        # a compiled graph wants one shape a batch, which the number of real positions is not
        if torch.compiler.is_compiling():
            return -nll_from_logits(self.lm_head(features), labels)
        return -nll_from_features(features, self.lm_head, labels)
