"""SeqVAEEncoder: tokens -> backbone -> pooling -> posterior -> latents; or given latents, at once."""

import inspect

import torch
from torch import Tensor, nn
from transformers import AutoModel, PreTrainedConfig, PreTrainedModel

from .configuration_seqvae import SeqVAEConfig
from .modeling_lstm import SeqVAELSTMEncoderModel, initialize_module
from .outputs import SeqVAEEncoderOutput
from .pooling import POOLINGS, AttentionPool, last_pool_both_ways
from .posterior import POSTERIORS

BACKBONE_FLAGS = ("output_attentions", "output_hidden_states")


class SeqVAEPreTrainedModel(PreTrainedModel):
    """Flags and initialisation that encoder and model share."""

    config: SeqVAEConfig
    base_model_prefix = "seqvae"
    main_input_name = "input_ids"
    supports_gradient_checkpointing = True
    # the backbones decide; these only let a user's choice reach them
    _supports_sdpa = _supports_flash_attn = _supports_flex_attn = True

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        initialize_module(module, self.config.initializer)


class SeqVAEEncoder(SeqVAEPreTrainedModel):
    """Backbone, pooling and posterior head: tokens -> q(z|x) -> latents."""

    def __init__(self, config: SeqVAEConfig, backbone: PreTrainedModel | None = None):
        super().__init__(config)
        if backbone is None:
            native = config.has_lstm_encoder
            backbone = (
                SeqVAELSTMEncoderModel(config.encoder)
                if native
                else AutoModel.from_config(config.encoder)
            )
        self.backbone = backbone
        share_config(backbone, config.encoder)
        if getattr(backbone, "pooler", None) is not None:
            backbone.pooler = None  # unused, so it would get no gradient
        width = backbone.config.get_text_config().hidden_size
        if config.has_lstm_encoder:
            width = backbone.config.output_size
        self.attention_pool = AttentionPool(width) if config.pooling == "attention" else None
        pooled_size = 2 * width if config.pooling == "mean_max" else width
        self.posterior = POSTERIORS[config.posterior](pooled_size, config.latent_size)
        self._takes_use_cache = "use_cache" in inspect.signature(backbone.forward).parameters
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        """The backbone's token embeddings."""
        return self.backbone.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Replaces the backbone's token embeddings."""
        self.backbone.set_input_embeddings(value)

    def pool(self, features: Tensor, mask: Tensor) -> Tensor:
        """Features (B, T, H) and mask (B, T) -> (B, H), or (B, 2H) for mean_max."""
        if self.attention_pool is not None:
            return self.attention_pool(features, mask)
        if self.config.pooling == "last" and getattr(self.backbone.config, "bidirectional", False):
            return last_pool_both_ways(features, mask)
        return POOLINGS[self.config.pooling](features, mask)

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        latents: Tensor | None = None,
        sample_posterior: bool | None = None,
        **kwargs,
    ) -> SeqVAEEncoderOutput:
        """Texts -> their posterior and latents; given latents (B, Z) are returned at once.

        Args:
            input_ids: (B, T), or inputs_embeds (B, T, E).
            attention_mask: (B, T), 0 = padding on any side; default: no padding.
            token_type_ids: (B, T) for backbones that take them.
            latents: (B, Z); nothing is encoded then.
            sample_posterior: sample z, or take the mean; default: sample in train(), mean in eval().
            kwargs: `output_hidden_states`, `output_attentions`.
        """
        if latents is not None:
            latents = self.checked_latents(latents)
            # three dimensions, as generate() sizes a static cross-attention cache by it
            return SeqVAEEncoderOutput(last_hidden_state=latents[:, None], latents=latents)
        if input_ids is None and inputs_embeds is None:
            raise ValueError("nothing to encode: give input_ids, inputs_embeds or latents.")
        if attention_mask is None:
            given = input_ids if input_ids is not None else inputs_embeds[..., 0]
            attention_mask = torch.ones_like(given, dtype=torch.long)
        check_length(attention_mask.shape[1], self.backbone.config, "the encoder's input")
        inputs = {name: kwargs[name] for name in BACKBONE_FLAGS if kwargs.get(name) is not None}
        if token_type_ids is not None:
            inputs["token_type_ids"] = token_type_ids
        if self._takes_use_cache:
            inputs["use_cache"] = False
        outputs = self.backbone(
            input_ids=input_ids,
            inputs_embeds=inputs_embeds,
            attention_mask=attention_mask,
            **inputs,
        )
        features = outputs.last_hidden_state  # (B, T, H)
        pooled = self.pool(features, self._pooling_mask(input_ids, attention_mask))
        q = self.posterior(pooled)  # q(z|x) = N(mu(x), diag exp logvar(x))
        sample = self.training if sample_posterior is None else sample_posterior
        latents = q.rsample(1)[0] if sample else q.mean
        return SeqVAEEncoderOutput(
            last_hidden_state=features,
            latents=latents,
            posterior_mean=q.mean,
            posterior_logvar=q.logvar,
            pooled=pooled,
            hidden_states=outputs.get("hidden_states"),
            attentions=outputs.get("attentions"),
        )

    def _pooling_mask(self, input_ids: Tensor | None, attention_mask: Tensor) -> Tensor:
        """The tokens that count in pooling, (B, T)."""
        if self.config.pool_special_tokens:
            return attention_mask
        if input_ids is None:
            raise ValueError(
                "pool_special_tokens=False needs input_ids: ids tell which tokens are special."
            )
        special = torch.tensor(self.config.special_token_ids, device=input_ids.device)
        inner = attention_mask.bool() & ~torch.isin(input_ids, special)
        # between the first and the last ordinary token everything counts: only the ends are cut off
        seen, ahead = inner.cumsum(1) > 0, inner.flip(1).cumsum(1).flip(1) > 0
        return attention_mask.bool() & seen & ahead

    def checked_latents(self, latents: Tensor) -> Tensor:
        """Latents (..., Z) in the posterior's dtype; raises on a wrong width or integers."""
        if latents.shape[-1] != self.config.latent_size or latents.dim() < 2:
            raise ValueError(
                f"latents must be (B, {self.config.latent_size}), got {tuple(latents.shape)}."
            )
        if not latents.is_floating_point():
            raise ValueError(
                f"latents must be floating point, got {latents.dtype}. Token ids go to input_ids."
            )
        return latents.to(torch.promote_types(self.dtype, torch.float32))


def check_length(num_tokens: int, config: PreTrainedConfig, what: str) -> None:
    """Raises where a text is longer than a backbone's table of positions."""
    limit = getattr(config, "max_position_embeddings", None)
    if limit is None or hasattr(config, "rope_parameters"):
        return
    if num_tokens > limit:
        raise ValueError(
            f"{what} has {num_tokens} tokens, but {config.model_type!r} has {limit} positions. Truncate the "
            "texts (max_length in the data) or choose a backbone with more positions."
        )


def share_config(part: PreTrainedModel, config: PreTrainedConfig) -> None:
    """Makes a sub-model read the composite's own nested config, so that later changes reach both."""
    config._attn_implementation = part.config._attn_implementation
    part.config = config
