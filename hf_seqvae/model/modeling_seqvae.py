"""SeqVAEModel: tokens -> encoder -> pooling -> posterior -> latents -> injection -> decoder.

Source: Long, Cao and Cheung, arXiv 1911.03976; the LSTM form follows He et al., arXiv 1901.05534.
Departures: padded batches with masks where the literature batches equal lengths; initialisation
and loss scale are choices.
"""

from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, PreTrainedModel
from transformers.cache_utils import Cache

# `as` marks files that are named here only so that a saved repository holds the whole folder
from .backbones import decoder_traits, share_config
from .carried_code import CarriesCode as CarriesCode
from .configuration_lstm import SeqVAELSTMConfig as SeqVAELSTMConfig
from .configuration_seqvae import BIDIRECTIONAL_MODELS, SeqVAEConfig
from .decoder_tokenizer import load_decoder_tokenizer as load_decoder_tokenizer
from .decoding import Decoded, decode
from .estimation import EstimationMixin
from .generation import LatentGenerationMixin
from .injection import LatentInjection
from .interpolation import INTERPOLATIONS as INTERPOLATIONS
from .linear_cross_entropy import linear_cross_entropy as linear_cross_entropy
from .lstm_cache import SeqVAELSTMCacheLayer as SeqVAELSTMCacheLayer
from .modeling_encoder import SeqVAEEncoder, SeqVAEPreTrainedModel
from .modeling_lstm import SeqVAELSTMForCausalLM
from .noising import NOISES as NOISES
from .outputs import SeqVAEEncoderOutput, SeqVAEOutput
from .pipeline_seqvae import SeqVAEPipeline as SeqVAEPipeline
from .pooling import POOLINGS as POOLINGS
from .posterior import DiagonalGaussian
from .posterior_families import POSTERIORS as POSTERIORS
from .scoring import (
    drop_words,
    mask_of_padding_in_front,
    negative_elbo,
    nll_from_features,
    nll_from_logits,
    shift_right,
)
from .size_limits import MAX_WEIGHTS as MAX_WEIGHTS
from .text_space import TextSpace as TextSpace
from .token_order import take_tokens as take_tokens
from .writing import seeded as seeded


class SeqVAEModel(SeqVAEPreTrainedModel, LatentGenerationMixin, EstimationMixin):
    """The sequence VAE, for AutoModel and AutoModelForSeq2SeqLM.

    Args:
        config: SeqVAEConfig.
        backbone: a ready encoder backbone in place of one built from `config.encoder`.
        decoder: a ready decoder in place of one built from `config.decoder`.
    """

    auto_classes = {
        "AutoConfig": "configuration_seqvae.SeqVAEConfig",
        "AutoModel": "modeling_seqvae.SeqVAEModel",
        "AutoModelForSeq2SeqLM": "modeling_seqvae.SeqVAEModel",
    }
    pipelines = {
        "sequence-vae": {
            "impl": "pipeline_seqvae.SeqVAEPipeline",
            "pt": ["AutoModelForSeq2SeqLM"],
            "type": "text",
        }
    }
    encoder: SeqVAEEncoder
    decoder: Any  # our LSTM or any AutoModelForCausalLM

    def __init__(
        self,
        config: SeqVAEConfig,
        backbone: PreTrainedModel | None = None,
        decoder: PreTrainedModel | None = None,
    ):
        super().__init__(config)
        self.encoder = SeqVAEEncoder(config, backbone)
        native, state_size = config.has_lstm_decoder, None
        if decoder is None and native:
            decoder = SeqVAELSTMForCausalLM(config.decoder)
        elif decoder is None:
            decoder = AutoModelForCausalLM.from_config(config.decoder)
        self.decoder = decoder
        share_config(self.decoder, config.decoder)
        if native:
            state_size = (config.decoder.num_hidden_layers, config.decoder.hidden_size)
        self.injection = LatentInjection(
            config.injections,
            config.latent_size,
            embedding_size=self.decoder.get_input_embeddings().weight.shape[1],
            num_prefix_tokens=config.num_prefix_tokens,
            state_size=state_size,
        )
        self._decoder_traits = decoder_traits(self.decoder, native=native)
        self._is_stateful = native
        self._can_compile_fullgraph = not native and self.decoder._can_compile_fullgraph
        # a stock Trainer counts tokens: the per-sentence loss must not be divided by its count
        self.accepts_loss_kwargs = config.loss_normalization == "token"
        if config.tie_word_embeddings:
            parts: tuple[Any, ...] = (self.encoder, self.decoder)
            shapes = [tuple(part.get_input_embeddings().weight.shape) for part in parts]
            if shapes[0] != shapes[1]:
                raise ValueError(
                    "tie_word_embeddings needs encoder and decoder embeddings of one shape, got "
                    f"{shapes[0]} and {shapes[1]}. Use one tokenizer and one width, or untie them."
                )
            self._tied_weights_keys = {
                f"encoder.backbone.{_embedding_name(self.encoder.backbone)}": (
                    f"decoder.{_embedding_name(self.decoder)}"
                )
            }
        self.post_init()

    @classmethod
    def from_encoder_decoder_pretrained(
        cls, encoder: str, decoder: str, *, dtype: torch.dtype | str | None = None, **config
    ) -> "SeqVAEModel":
        """A VAE around two pretrained models, in eval(); pooling, posterior and injection are new.

        Args:
            encoder: folder or Hub id of any AutoModel.
            decoder: folder or Hub id of any AutoModelForCausalLM; BERT and its kin read one way
                then.
            dtype: of the whole model; default: the wider one of the two checkpoints'.
            config: fields of SeqVAEConfig, such as latent_size or pooling.
        """
        kind = AutoConfig.from_pretrained(decoder).model_type
        one_way = {"is_decoder": True} if kind in BIDIRECTIONAL_MODELS else {}
        given = {} if dtype is None else {"dtype": dtype}
        backbone = AutoModel.from_pretrained(encoder, **given)
        language_model = AutoModelForCausalLM.from_pretrained(decoder, **one_way, **given)
        whole = SeqVAEConfig(encoder=backbone.config, decoder=language_model.config, **config)
        places = {
            "conditioning_size": ("embedding", "concat"),
            "output_conditioning_size": ("output state", "output"),
        }
        for size, (place, way) in places.items():
            own, asked = (getattr(c, size, 0) for c in (language_model.config, whole.decoder))
            if own != asked:
                raise ValueError(
                    f"the pretrained LSTM decoder was trained with {own} inputs beside each "
                    f"{place}; latent_injection {whole.latent_injection} asks for {asked}. Choose "
                    f'latent_injection without "{way}", for example ("state", "add").'
                )
        made: Any = cls(whole, backbone=backbone, decoder=language_model)
        return made.to(torch.promote_types(backbone.dtype, language_model.dtype)).eval()

    @property
    def uses_batch_statistics(self) -> bool:
        """Whether, in training, a text's posterior depends on the other texts of its batch.

        Then micro-batches are another step than their whole batch, and a process knows only its
        own rows: a training loop has to refuse both.
        """
        return self.encoder.posterior.uses_batch_statistics

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
            decoder_attention_mask: (B, L), or (B, past + L) with a cache; default: that of labels.
            labels: (B, L), the text's tokens and one EOS, never BOS; -100 = padding.
            latents: (B, Z) in place of texts.
            encoder_outputs: what `encoder` returned, in place of texts.
            past_key_values: the decoder's cache.
            use_cache: return the cache.
            sample_posterior: sample z or take the posterior mean; default: sample in train().
            kl_weight: beta in place of config.kl_weight.
            num_items_in_batch: what the loss is divided by, in units of config.loss_normalization;
                default: those of this batch. A row whose labels are all -100 weighs nothing.
            return_logits: default: False for a native decoder scoring labels in training, else
                True.
            kwargs: `output_hidden_states`, `output_attentions`.

        Returns:
            SeqVAEOutput; `loss` needs labels and texts (given latents have no KL).
        """
        if latents is not None and (input_ids is not None or inputs_embeds is not None):
            raise ValueError("give either texts (input_ids) or latents, not both.")
        if use_cache is None and labels is not None:
            use_cache = past_key_values is not None  # scoring needs no cache
        encoded: Any = encoder_outputs
        if isinstance(encoded, tuple):  # as `encoder(..., return_dict=False)` of other models gives
            encoded = SeqVAEEncoderOutput(*encoded)
        if encoded is None:
            encoded = self.encoder(
                input_ids,
                attention_mask,
                inputs_embeds,
                token_type_ids,
                latents,
                sample_posterior,
                **kwargs,
            )
        z = encoded.latents
        if z is None:
            raise ValueError(
                "encoder_outputs must hold latents (B, Z): take what `encoder` returns."
            )
        if decoder_input_ids is None:
            if labels is None:
                raise ValueError(
                    "give labels or decoder_input_ids: the decoder has nothing to read. A Trainer "
                    "with label_smoothing_factor or compute_loss_func takes the labels away: leave "
                    "both out."
                )
            decoder_input_ids = self.prepare_decoder_input_ids_from_labels(labels)
        if labels is not None and decoder_attention_mask is None and past_key_values is None:
            decoder_attention_mask = mask_of_padding_in_front(labels)
        if self.training and self.config.word_dropout > 0:
            decoder_input_ids = drop_words(
                decoder_input_ids,
                share=self.config.word_dropout,
                unknown=cast(int, self.config.unk_token_id),
                mask=decoder_attention_mask,
            )
        decoded = decode(
            self.decoder,
            self.injection,
            z,
            decoder_input_ids,
            traits=self._decoder_traits,
            attention_mask=decoder_attention_mask,
            past_key_values=past_key_values,
            use_cache=use_cache,
            **kwargs,
        )
        if return_logits is None:
            return_logits = not (
                self.training and self.config.has_lstm_decoder and labels is not None
            )
        nll = logits = num_tokens = kl = loss = None
        if labels is not None:
            num_tokens = (labels != -100).sum(dim=1)
            nll, logits = self._score(decoded, labels, return_logits)
            if encoded.posterior_mean is not None:
                kl = DiagonalGaussian(encoded.posterior_mean, encoded.posterior_logvar).kl()
                loss = negative_elbo(
                    nll,
                    kl,
                    num_tokens,
                    kl_weight=self.config.kl_weight if kl_weight is None else kl_weight,
                    normalization=self.config.loss_normalization,
                    num_items=num_items_in_batch,
                )
        elif return_logits:
            logits = self._logits(decoded)
        return SeqVAEOutput(
            loss=loss,
            logits=logits,
            reconstruction_nll=nll,
            kl=kl,
            num_tokens=num_tokens,
            posterior_mean=encoded.posterior_mean,
            posterior_logvar=encoded.posterior_logvar,
            latents=z,
            pooled=encoded.pooled,
            past_key_values=decoded.past_key_values,
            encoder_last_hidden_state=encoded.last_hidden_state,
            encoder_hidden_states=encoded.hidden_states,
            encoder_attentions=encoded.attentions,
            decoder_hidden_states=decoded.hidden_states,
            decoder_attentions=decoded.attentions,
            cross_attentions=() if kwargs.get("output_attentions") else None,
        )

    def prepare_decoder_input_ids_from_labels(self, labels: Tensor) -> Tensor:
        """Labels (B, L) -> decoder inputs (B, L): shifted right behind the start token."""
        pad, start = self.config.pad_token_id, cast(int, self.config.decoder_start_token_id)
        return shift_right(labels, start=start, filler=0 if pad is None else pad)

    def _logits(self, decoded: Decoded) -> Tensor:
        """(B, L, V)."""
        if decoded.logits is not None:
            return decoded.logits
        return self.decoder.lm_head(decoded.features)

    def _score(
        self, decoded: Decoded, labels: Tensor, with_logits: bool
    ) -> tuple[Tensor, Tensor | None]:
        """-log p of each row's labels in nats (B,), and the logits (B, L, V) if asked for."""
        # a compiled graph wants one shape a batch, which the number of real positions is not
        if with_logits or decoded.features is None or torch.compiler.is_compiling():
            logits = self._logits(decoded)
            return nll_from_logits(logits, labels), logits if with_logits else None
        return nll_from_features(decoded.features, self.decoder.lm_head, labels), None

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
