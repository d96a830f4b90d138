"""SeqVAEEncoder: tokens -> backbone -> pooling -> posterior -> latents."""

from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import AutoModel, PreTrainedModel, PreTrainedTokenizerBase
from transformers import initialization as init
from transformers.modeling_outputs import BaseModelOutput

from .backbones import (
    FLAGS,
    NoPooler,
    check_encoder,
    check_length,
    feature_width,
    max_tokens,
    share_config,
)
from .carried_code import CarriesCode
from .configuration_seqvae import SeqVAEConfig
from .decoder_tokenizer import DECODER_TOKENIZER, load_decoder_tokenizer
from .modeling_lstm import (
    SeqVAELSTMEncoderModel,
    initialize_module,
)
from .noising import (
    drop_tokens,
    order_without_deleted,
    ordinary_tokens,
    shuffled_order,
    substitute_tokens,
)
from .outputs import SeqVAEEncoderOutput
from .pooling import POOLINGS, AttentionPool, last_pool_both_ways
from .posterior_families import POSTERIORS, FixedScaleBatchNorm
from .token_order import order_of_tokens, take_tokens

HUB_KEYWORDS = ("cache_dir", "local_files_only", "revision", "subfolder", "token")


class SeqVAEPreTrainedModel(CarriesCode, PreTrainedModel):
    """Flags and initialisation that encoder and model share."""

    config: SeqVAEConfig
    base_model_prefix = "seqvae"
    main_input_name = "input_ids"
    model_tags = ["seqvae", "vae"]
    supports_gradient_checkpointing = True
    # variances of 5e-9 are 0 in float16
    _keep_in_fp32_modules_strict = [
        "posterior.batch_norm.running_mean",
        "posterior.batch_norm.running_var",
    ]
    # the backbones decide; these only let a user's choice reach them
    _supports_sdpa = _supports_flash_attn = _supports_flex_attn = True
    # of a decoder that has its own: found beside the weights, and saved there
    decoder_tokenizer: PreTrainedTokenizerBase | None = None

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | Path | None,
        *args,
        use_safetensors: bool | None = True,
        **kwargs,
    ):
        """As transformers', from safetensors alone unless told otherwise.

        A decoder's own tokenizer comes with the model, under the same revision and token:
        `pipeline` loads one tokenizer itself, and tells the pipeline it makes of neither.
        """
        source = pretrained_model_name_or_path
        loaded = super().from_pretrained(source, *args, use_safetensors=use_safetensors, **kwargs)
        if source is not None:
            model = loaded[0] if isinstance(loaded, tuple) else loaded
            hub = {name: kwargs[name] for name in HUB_KEYWORDS if kwargs.get(name) is not None}
            model.decoder_tokenizer = load_decoder_tokenizer(source, **hub)
        return loaded

    def save_pretrained(
        self, save_directory: str | Path, is_main_process: bool = True, *args, **kwargs
    ) -> None:
        """As transformers', with the decoder's own tokenizer: its ids mean nothing without it."""
        if self.decoder_tokenizer is not None and is_main_process:
            self.decoder_tokenizer.save_pretrained(Path(save_directory) / DECODER_TOKENIZER)
        super().save_pretrained(save_directory, is_main_process, *args, **kwargs)

    def _get_files_timestamps(self, working_dir: str | Path) -> dict[str, float]:
        # push_to_hub=True sends what is newer than this; rewritten files leave their folder as old
        times = super()._get_files_timestamps(working_dir)
        times.pop(DECODER_TOKENIZER, None)
        return times

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, FixedScaleBatchNorm):  # by either initializer
            init.zeros_(module.bias)
            init.zeros_(module.running_mean)
            init.ones_(module.running_var)
            init.zeros_(module.num_batches_tracked)
        else:
            initialize_module(module, self.config.initializer)


class SeqVAEEncoder(SeqVAEPreTrainedModel):
    """Backbone, pooling and posterior head: tokens -> q(z|x) -> latents."""

    base_model_prefix = "encoder"  # in a SeqVAEModel's checkpoint
    backbone: Any  # our LSTM or any AutoModel

    def __init__(self, config: SeqVAEConfig, backbone: PreTrainedModel | None = None):
        super().__init__(config)
        if backbone is None and config.has_lstm_encoder:
            backbone = SeqVAELSTMEncoderModel(config.encoder)
        elif backbone is None:
            backbone = AutoModel.from_config(config.encoder)
        self.backbone = backbone
        share_config(self.backbone, config.encoder)
        if getattr(self.backbone, "pooler", None) is not None:
            self.backbone.pooler = NoPooler()
        width = feature_width(config.encoder)
        if config.has_lstm_encoder:
            width = config.encoder.output_size
        self.attention_pool = AttentionPool(width) if config.pooling == "attention" else None
        pooled_size = 2 * width if config.pooling == "mean_max" else width
        head = POSTERIORS[config.posterior]
        options: Any = {name: getattr(config, name) for name in head.options}
        self.posterior = head(pooled_size, config.latent_size, **options)
        self._takes_use_cache = "use_cache" in check_encoder(self.backbone)
        self._max_tokens = max_tokens(self.backbone)
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

        In training the texts are read with `config.input_noise`: deleted and shuffled tokens stand
        elsewhere in `last_hidden_state` then.

        Args:
            input_ids: (B, T), or inputs_embeds (B, T, E).
            attention_mask: (B, T), 0 = padding on any side; default: no padding.
            token_type_ids: (B, T) for backbones that take them.
            latents: (B, Z); nothing is encoded then.
            sample_posterior: sample z, or take the mean; default: sample in train(), else the mean.
            kwargs: `output_hidden_states`, `output_attentions`.
        """
        if latents is not None:
            latents = self.checked_latents(latents)
            # three dimensions, as generate() sizes a static cross-attention cache by it
            return SeqVAEEncoderOutput(last_hidden_state=latents[:, None], latents=latents)
        given = input_ids if input_ids is not None else inputs_embeds
        if given is None:
            raise ValueError("nothing to encode: give input_ids, inputs_embeds or latents.")
        if attention_mask is None:
            attention_mask = given.new_ones(given.shape[:2], dtype=torch.long)
        num_tokens = attention_mask.shape[1]
        check_length(num_tokens, self._max_tokens, self.backbone.config, "the encoder's input")
        if self.training and self.config.input_noise is not None:
            if input_ids is None:
                raise ValueError(
                    f"input_noise {self.config.input_noise!r} changes token ids, and inputs_embeds "
                    "were given. Give input_ids, or call eval() for texts without noise."
                )
            input_ids, attention_mask, order = self._with_noise(input_ids, attention_mask)
            if token_type_ids is not None and order is not None:
                token_type_ids = token_type_ids.gather(1, order)
        inputs = {
            "input_ids": input_ids,
            "inputs_embeds": inputs_embeds,
            "token_type_ids": token_type_ids,
        }
        outputs = self._read(
            {name: value for name, value in inputs.items() if value is not None},
            attention_mask,
            {name: kwargs[name] for name in FLAGS if kwargs.get(name) is not None},
        )
        features = outputs.last_hidden_state  # (B, T, H)
        pooled = self.pool(features, self.pooling_mask(input_ids, attention_mask))
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

    def _with_noise(
        self, input_ids: Tensor, attention_mask: Tensor
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Ids and mask (B, T) with the config's noise, and the order that they now stand in."""
        config, share = self.config, self.config.input_noise_rate or 0.0
        special = config.untouched_token_ids
        ordinary = ordinary_tokens(input_ids, attention_mask, special)
        if config.input_noise == "token_dropout":
            unknown = cast(int, config.encoder_unk_token_id)
            dropped = drop_tokens(input_ids, ordinary, share=share, unknown=unknown)
            return dropped, attention_mask, None
        if config.input_noise == "substitution":
            ids = torch.arange(config.encoder.vocab_size, device=input_ids.device)
            choices = ids[ordinary_tokens(ids, torch.ones_like(ids), special)]
            substituted = substitute_tokens(input_ids, ordinary, share=share, choices=choices)
            return substituted, attention_mask, None
        if config.input_noise == "deletion":
            order, attention_mask = order_without_deleted(attention_mask, ordinary, share=share)
        else:
            order = shuffled_order(ordinary, distance=cast(int, config.shuffle_distance))
        return input_ids.gather(1, order), attention_mask, order

    def _read(
        self, inputs: dict[str, Tensor], attention_mask: Tensor, flags: dict[str, bool]
    ) -> Any:
        """The backbone's output; padding before tokens moves no position and stays where it was."""
        if self._takes_use_cache:
            flags = flags | {"use_cache": False}
        order = None if self.config.has_lstm_encoder else order_of_tokens(attention_mask)
        if order is None:
            return self.backbone(**inputs, attention_mask=attention_mask, **flags)
        inputs = {
            name: value.gather(1, order) if value.dim() == 2 else take_tokens(value, order)
            for name, value in inputs.items()
        }
        outputs = self.backbone(**inputs, attention_mask=attention_mask.gather(1, order), **flags)
        back = order.argsort(dim=1)
        hidden_states, attentions = outputs.get("hidden_states"), outputs.get("attentions")
        if hidden_states is not None:
            hidden_states = tuple(take_tokens(states, back) for states in hidden_states)
        if attentions is not None:  # (B, heads, T, T), both lengths
            rows = back[:, None, :, None]
            attentions = tuple(
                weights.gather(2, rows.expand_as(weights)).gather(3, rows.mT.expand_as(weights))
                for weights in attentions
            )
        return BaseModelOutput(
            last_hidden_state=take_tokens(outputs.last_hidden_state, back),
            hidden_states=hidden_states,
            attentions=attentions,
        )

    def pooling_mask(self, input_ids: Tensor | None, attention_mask: Tensor) -> Tensor:
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
        """Latents (B, Z) in the posterior's dtype; raises on a wrong width or integers."""
        if not isinstance(latents, Tensor) or not latents.is_floating_point():
            came = latents.dtype if isinstance(latents, Tensor) else type(latents).__name__
            raise ValueError(
                f"latents must be a floating point tensor, got {came}. Token ids go to input_ids."
            )
        if latents.dim() != 2 or latents.shape[1] != self.config.latent_size:
            raise ValueError(
                f"latents must be (B, {self.config.latent_size}), got {tuple(latents.shape)}. "
                "The width is the config's latent_size."
            )
        return latents.to(torch.promote_types(self.dtype, torch.float32))
