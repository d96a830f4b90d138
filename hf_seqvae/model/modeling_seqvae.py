"""SeqVAEModel: tokens -> encoder -> pooling -> posterior -> latents -> injection -> decoder -> tokens.

Source: Long, Cao and Cheung, arXiv 1911.03976; the LSTM form follows He et al., arXiv 1901.05534. Departures:
padded batches with masks where the literature batches equal lengths; initialisation and loss scale are choices.
"""

import inspect
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AutoModel, AutoModelForCausalLM, GenerationMixin, PreTrainedModel
from transformers.cache_utils import Cache, EncoderDecoderCache
from transformers.masking_utils import create_masks_for_generate

from .configuration_seqvae import SeqVAEConfig
from .injection import LatentInjection
from .modeling_encoder import (
    BACKBONE_FLAGS,
    SeqVAEEncoder,
    SeqVAEPreTrainedModel,
    check_length,
    share_config,
)
from .modeling_lstm import SeqVAELSTMForCausalLM
from .outputs import SeqVAEEncoderOutput, SeqVAEOutput
from .posterior import DiagonalGaussian


class SeqVAEModel(SeqVAEPreTrainedModel, GenerationMixin):
    """The sequence VAE, for AutoModel and AutoModelForSeq2SeqLM.

    Args:
        config: SeqVAEConfig.
        backbone: a ready encoder backbone in place of one built from `config.encoder`.
        decoder: a ready decoder in place of one built from `config.decoder`.
    """

    def __init__(
        self,
        config: SeqVAEConfig,
        backbone: PreTrainedModel | None = None,
        decoder: PreTrainedModel | None = None,
    ):
        super().__init__(config)
        self.encoder = SeqVAEEncoder(config, backbone)
        native = config.has_lstm_decoder
        if decoder is None:
            decoder = (
                SeqVAELSTMForCausalLM(config.decoder)
                if native
                else AutoModelForCausalLM.from_config(config.decoder)
            )
        self.decoder = decoder
        share_config(decoder, config.decoder)
        self.injection = LatentInjection(
            tuple(config.latent_injection),
            config.latent_size,
            embedding_size=decoder.get_input_embeddings().weight.shape[1],
            num_prefix_tokens=config.num_prefix_tokens,
            state_size=(decoder.config.num_hidden_layers, decoder.config.hidden_size)
            if native
            else None,
        )
        parameters = inspect.signature(decoder.forward).parameters
        for name in ("past_key_values", "inputs_embeds"):
            if name not in parameters:
                raise ValueError(
                    f"decoder {type(decoder).__name__} does not take `{name}`, which the VAE needs to pass z "
                    "and to generate. Choose an attention decoder or our LSTM."
                )
        self._takes_position_ids = "position_ids" in parameters
        self._is_stateful = native
        self._can_compile_fullgraph = False if native else decoder._can_compile_fullgraph
        # a stock Trainer counts tokens: the per-sentence loss must not be divided by its count
        self.accepts_loss_kwargs = config.loss_normalization == "token"
        if config.tie_word_embeddings:
            self._tied_weights_keys = {
                f"encoder.backbone.{_embedding_name(self.encoder.backbone)}": (
                    f"decoder.{_embedding_name(decoder)}"
                )
            }
        self.post_init()

    @classmethod
    def from_encoder_decoder_pretrained(cls, encoder: str, decoder: str, **config) -> "SeqVAEModel":
        """A VAE around two pretrained models; pooling, posterior and injection layers are new.

        Args:
            encoder: folder or Hub id of any AutoModel.
            decoder: folder or Hub id of any AutoModelForCausalLM.
            config: fields of SeqVAEConfig, such as latent_size or pooling.
        """
        backbone = AutoModel.from_pretrained(encoder)
        language_model = AutoModelForCausalLM.from_pretrained(decoder)
        own = getattr(language_model.config, "conditioning_size", 0)
        whole = SeqVAEConfig(encoder=backbone.config, decoder=language_model.config, **config)
        if whole.has_lstm_decoder and whole.decoder.conditioning_size != own:
            raise ValueError(
                f"the pretrained LSTM decoder was trained with {own} inputs beside each embedding; "
                f"latent_injection {whole.latent_injection} asks for {whole.decoder.conditioning_size}. "
                'Choose latent_injection without "concat", for example ("state", "add").'
            )
        return cls(whole, backbone=backbone, decoder=language_model)

    # -- the estimators' protocol

    def posterior(self, batch: Mapping[str, Tensor]) -> DiagonalGaussian:
        """q(z|x) of a batch with input_ids and attention_mask (B, T)."""
        encoded = self.encoder(batch["input_ids"], batch.get("attention_mask"))
        return DiagonalGaussian(encoded.posterior_mean, encoded.posterior_logvar)

    def prior(self) -> DiagonalGaussian:
        """p(z) = N(0, I), over latents (Z,)."""
        zeros = torch.zeros(self.config.latent_size, device=self.device)
        return DiagonalGaussian(zeros, zeros)

    def log_likelihood(self, batch: Mapping[str, Tensor], latents: Tensor) -> Tensor:
        """log p(x|z) in nats, EOS included: labels (B, L) under latents (S, B, Z) -> (S, B)."""
        num_samples, num_rows = latents.shape[:2]
        labels = batch["labels"].expand(num_samples, -1, -1).flatten(0, 1)
        output = self(latents=latents.flatten(0, 1), labels=labels, return_logits=False)
        return -output.reconstruction_nll.view(num_samples, num_rows)

    # -- training and decoding

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        decoder_input_ids: Tensor | None = None,
        decoder_attention_mask: Tensor | None = None,
        labels: Tensor | None = None,
        latents: Tensor | None = None,
        encoder_outputs: SeqVAEEncoderOutput | None = None,
        past_key_values: Cache | None = None,
        use_cache: bool | None = None,
        sample_posterior: bool | None = None,
        kl_weight: float | Tensor | None = None,
        num_items_in_batch: int | Tensor | None = None,
        return_logits: bool | None = None,
        **kwargs,
    ) -> SeqVAEOutput:
        """Encodes texts (or takes latents) and scores or continues the decoder's tokens.

        Args:
            input_ids, attention_mask, inputs_embeds, token_type_ids: the encoder's inputs, (B, T).
            decoder_input_ids: (B, L); default: labels shifted right behind decoder_start_token_id.
            decoder_attention_mask: (B, L), or (B, past + L) with a cache; default: no padding before tokens.
            labels: (B, L), the text's tokens and one EOS, never BOS; -100 = padding.
            latents: (B, Z) in place of texts.
            encoder_outputs: what `encoder` returned, in place of texts.
            past_key_values: the decoder's cache.
            use_cache: return the cache.
            sample_posterior: sample z or take the posterior mean; default: sample in train().
            kl_weight: beta in place of config.kl_weight.
            num_items_in_batch: what the loss is divided by, in units of config.loss_normalization; default:
                those of this batch. A row whose labels are all -100 weighs nothing.
            return_logits: default: False for a native decoder in training, else True.
            kwargs: `output_hidden_states`, `output_attentions`.

        Returns:
            SeqVAEOutput; `loss` needs labels and texts (given latents have no KL).
        """
        if latents is not None and (input_ids is not None or inputs_embeds is not None):
            raise ValueError("give either texts (input_ids) or latents, not both.")
        if use_cache is None and labels is not None:
            use_cache = past_key_values is not None  # scoring needs no cache
        if encoder_outputs is None:
            encoder_outputs = self.encoder(
                input_ids,
                attention_mask,
                inputs_embeds,
                token_type_ids,
                latents,
                sample_posterior,
                **kwargs,
            )
        z = encoder_outputs.latents
        if decoder_input_ids is None:
            if labels is None:
                raise ValueError(
                    "give labels or decoder_input_ids: the decoder has nothing to read."
                )
            decoder_input_ids = self.prepare_decoder_input_ids_from_labels(labels)
        if self.training and self.config.word_dropout > 0:
            decoder_input_ids = self._drop_words(decoder_input_ids)
        decoded = self._decode(
            z, decoder_input_ids, decoder_attention_mask, past_key_values, use_cache, **kwargs
        )
        if return_logits is None:
            return_logits = not (
                self.training and self.config.has_lstm_decoder and labels is not None
            )
        nll = logits = num_tokens = None
        if labels is not None:
            num_tokens = (labels != -100).sum(dim=1)
            nll, logits = self._score(decoded, labels, return_logits)
        elif return_logits:
            logits = self._logits(decoded)
        output = SeqVAEOutput(
            logits=logits,
            reconstruction_nll=nll,
            num_tokens=num_tokens,
            posterior_mean=encoder_outputs.posterior_mean,
            posterior_logvar=encoder_outputs.posterior_logvar,
            latents=z,
            pooled=encoder_outputs.pooled,
            past_key_values=decoded["past_key_values"],
            encoder_last_hidden_state=encoder_outputs.last_hidden_state,
            encoder_hidden_states=encoder_outputs.hidden_states,
            encoder_attentions=encoder_outputs.attentions,
            decoder_hidden_states=decoded["hidden_states"],
            decoder_attentions=decoded["attentions"],
            cross_attentions=() if kwargs.get("output_attentions") else None,
        )
        if labels is not None and output.posterior_mean is not None:
            output.kl = DiagonalGaussian(output.posterior_mean, output.posterior_logvar).kl()
            output.loss = self._loss(output, kl_weight, num_items_in_batch)
        return output

    def prepare_decoder_input_ids_from_labels(self, labels: Tensor) -> Tensor:
        """Labels (B, L) -> decoder inputs (B, L): shifted right behind the start token."""
        start = torch.full_like(labels[:, :1], self.config.decoder_start_token_id)
        filler = self.config.pad_token_id if self.config.pad_token_id is not None else 0
        return torch.cat([start, labels[:, :-1].masked_fill(labels[:, :-1] == -100, filler)], dim=1)

    def _drop_words(self, decoder_input_ids: Tensor) -> Tensor:
        dropped = torch.rand(decoder_input_ids.shape, device=decoder_input_ids.device)
        dropped = dropped < self.config.word_dropout
        is_start = torch.arange(decoder_input_ids.shape[1], device=dropped.device) == 0
        return decoder_input_ids.masked_fill(dropped & ~is_start, self.config.unk_token_id)

    def _decode(self, z, decoder_input_ids, mask, past_key_values, use_cache, **kwargs) -> dict:
        """Runs the decoder; `features` (native) or `logits` (foreign) of the given tokens, prefix cut off."""
        if isinstance(past_key_values, EncoderDecoderCache):
            past_key_values = past_key_values.self_attention_cache
        past = 0 if past_key_values is None else past_key_values.get_seq_length()
        given = self.injection(z.to(self.decoder.dtype), at_start=past == 0)
        if self.config.has_lstm_decoder:
            embeds = self.decoder.model.embed(decoder_input_ids)  # (B, L, E)
        else:
            embeds = self.decoder.get_input_embeddings()(decoder_input_ids)
        if given.shift is not None:
            embeds = embeds + given.shift
        if given.prefix is not None:
            embeds = torch.cat([given.prefix, embeds], dim=1)  # (B, K + L, E)
        if mask is not None and mask.dim() == 2 and self.injection.num_prefix_tokens:
            mask = torch.cat(
                [mask.new_ones(len(mask), self.injection.num_prefix_tokens), mask], dim=1
            )
        inputs = {name: kwargs[name] for name in BACKBONE_FLAGS if kwargs.get(name) is not None}
        inputs |= {
            "inputs_embeds": embeds,
            "attention_mask": mask,
            "past_key_values": past_key_values,
            "use_cache": use_cache,
        }
        cut = 0 if given.prefix is None else given.prefix.shape[1]
        if self.config.has_lstm_decoder:
            outputs = self.decoder.model(
                **inputs,
                conditioning=given.conditioning,
                initial_hidden=given.initial_hidden,
                initial_cell=given.initial_cell,
            )
            decoded = {"features": outputs.last_hidden_state[:, cut:]}
        else:
            check_length(past + embeds.shape[1], self.config.decoder, "the decoder's input")
            if mask is not None and mask.dim() == 2 and self._takes_position_ids:
                # padding before tokens moves no position
                inputs["position_ids"] = (mask.cumsum(1) - 1).clamp(min=0)[:, -embeds.shape[1] :]
            outputs = self.decoder(**inputs)
            decoded = {"logits": outputs.logits[:, cut:]}
        return decoded | {
            "past_key_values": outputs.past_key_values,
            "hidden_states": outputs.get("hidden_states"),
            "attentions": outputs.get("attentions"),
        }

    def _logits(self, decoded: dict) -> Tensor:
        """(B, L, V)."""
        return (
            decoded["logits"] if "logits" in decoded else self.decoder.lm_head(decoded["features"])
        )

    def _score(
        self, decoded: dict, labels: Tensor, with_logits: bool
    ) -> tuple[Tensor, Tensor | None]:
        """-log p of each row's labels in nats (B,), and the logits (B, L, V) if asked for."""
        real = labels != -100
        if with_logits or "logits" in decoded or torch.compiler.is_compiling():
            logits = self._logits(decoded)
            # ignored positions come back as exact zeros
            nll = F.cross_entropy(
                logits.flatten(0, 1).float(), labels.flatten(), ignore_index=-100, reduction="none"
            )
            return nll.view_as(labels).sum(dim=1), logits if with_logits else None
        logits = self.decoder.lm_head(decoded["features"][real])  # (N, V): real positions only
        nll = F.cross_entropy(logits.float(), labels[real], reduction="none")
        return nll.new_zeros(labels.shape).masked_scatter(real, nll).sum(dim=1), None

    def _loss(self, output: SeqVAEOutput, kl_weight, num_items_in_batch) -> Tensor:
        weight = self.config.kl_weight if kl_weight is None else kl_weight
        real = output.num_tokens > 0
        if num_items_in_batch is None:
            counted = output.num_tokens if self.config.loss_normalization == "token" else real
            num_items_in_batch = counted.sum().clamp(min=1)
        kl = output.kl.sum(dim=1).masked_fill(~real, 0.0)  # a row without labels weighs nothing
        return (output.reconstruction_nll.sum() + weight * kl.sum()) / num_items_in_batch

    # -- generation: what the shared code cannot know

    def generate(self, inputs: Tensor | None = None, **kwargs):
        """As transformers' generate(), from texts (`input_ids`) or from `latents` (B, Z), not both."""
        texts = inputs is not None or any(
            kwargs.get(n) is not None for n in ("input_ids", "inputs_embeds")
        )
        if texts and kwargs.get("latents") is not None:
            raise ValueError("give either texts (input_ids) or latents to generate(), not both.")
        if kwargs.get("latents") is not None:
            kwargs["latents"] = self.encoder.checked_latents(kwargs["latents"])
        return super().generate(inputs, **kwargs)

    def create_masks_for_generate(self, *, attention_mask: Tensor | None = None, **kwargs):
        """Prefix inputs lengthen every mask, so the 2-D mask is kept and the decoder makes its own of it."""
        if self.injection.num_prefix_tokens:
            return attention_mask
        return create_masks_for_generate(attention_mask=attention_mask, **kwargs)

    def _prepare_static_cache(
        self, cache_implementation, batch_size, max_cache_len, *args, **kwargs
    ):
        max_cache_len += self.injection.num_prefix_tokens
        return super()._prepare_static_cache(
            cache_implementation, batch_size, max_cache_len, *args, **kwargs
        )

    # -- embeddings

    def get_input_embeddings(self) -> nn.Module:
        """The encoder's token embeddings."""
        return self.encoder.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Replaces the encoder's token embeddings."""
        self.encoder.set_input_embeddings(value)

    def get_output_embeddings(self) -> nn.Module:
        """The decoder's output layer."""
        return self.decoder.get_output_embeddings()

    def set_output_embeddings(self, new_embeddings: nn.Module) -> None:
        """Replaces the decoder's output layer."""
        self.decoder.set_output_embeddings(new_embeddings)

    def resize_token_embeddings(self, new_num_tokens: int | None = None, **kwargs) -> nn.Module:
        """Resizes the decoder's vocabulary, and the encoder's too if they had the same size."""
        shared = self.config.encoder.vocab_size == self.config.decoder.vocab_size
        resized = self.decoder.resize_token_embeddings(new_num_tokens, **kwargs)
        if shared:
            resized = self.encoder.backbone.resize_token_embeddings(new_num_tokens, **kwargs)
        self.tie_weights()
        return resized


def _embedding_name(model: PreTrainedModel) -> str:
    """The parameter name of a model's token embeddings."""
    embeddings = model.get_input_embeddings()
    return next(name for name, module in model.named_modules() if module is embeddings) + ".weight"
