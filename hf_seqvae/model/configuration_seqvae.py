"""SeqVAEConfig: the configuration of the whole model, one word for each exchangeable part."""

import copy
import math
from typing import TYPE_CHECKING, Any, Literal

from huggingface_hub.dataclasses import strict
from transformers import AutoConfig, PreTrainedConfig
from transformers.configuration_utils import SubConfigSpec

from .configuration_lstm import SeqVAELSTMConfig, SeqVAELSTMEncoderConfig
from .injection import INJECTIONS, LSTM_ONLY_INJECTIONS
from .noising import check_noise, check_noise_tokens
from .pooling import POOLINGS
from .posterior_families import POSTERIORS, check_options
from .size_limits import check_backbone, check_layers, check_size

# decoders whose generation state is not a `past_key_values` cache, or not one that an
# encoder-decoder can hold
UNSUPPORTED_DECODERS = (
    *("mamba", "mamba2", "falcon_mamba", "xlstm", "rwkv"),
    *("minimax", "recurrent_gemma", "zamba2"),
)
# read both ways unless their config says is_decoder=True
BIDIRECTIONAL_MODELS = (
    "bert",
    "bert-generation",
    "big_bird",
    "camembert",
    "data2vec-text",
    "electra",
    "ernie",
    "megatron-bert",
    "rembert",
    "roberta",
    "roberta-prelayernorm",
    "roc_bert",
    "roformer",
    "xlm-roberta",
    "xlm-roberta-xl",
    "xmod",
)
SPECIAL_TOKEN_FIELDS = ("bos_token_id", "eos_token_id", "cls_token_id", "sep_token_id")


# what a user may give; after construction it is always a config
if TYPE_CHECKING:
    SubConfig = Any
else:
    SubConfig = PreTrainedConfig | dict | None


def _choose(name: str, value: str, choices: dict | tuple) -> None:
    if value not in choices:
        raise ValueError(f"{name} must be one of {sorted(choices)}, got {value!r}.")


class PartSpec(SubConfigSpec):
    """A part of any model type, whose native type is the sibling file's class.

    The registry is one for the process: were native types looked up there, a second repository of
    this code would silently run with the configs of the first.
    """

    def __init__(self, native: type[PreTrainedConfig]):
        super().__init__(AutoConfig, model_type=native.model_type)
        self.native = native

    def get_config_class(self, model_type: str | None = None) -> type[PreTrainedConfig]:
        """The config class of a model type."""
        if model_type == self.native.model_type:
            return self.native
        return super().get_config_class(model_type)


@strict
class SeqVAEConfig(PreTrainedConfig):
    """Configuration of SeqVAEModel, from the encoder to the decoder.

    Args:
        encoder: config of any AutoModel, or a dict of one; default SeqVAELSTMEncoderConfig.
        decoder: config of any AutoModelForCausalLM, or a dict of one; default SeqVAELSTMConfig.
        latent_size: Z.
        pooling: last, first, mean, max, abs_max, mean_max or attention.
        posterior: family of q(z|x): gaussian, batch_norm_gaussian or committed_rate_gaussian.
        batch_norm_gamma: for batch_norm_gaussian, the standard deviation of each posterior mean
            over a batch; default 0.5.
        committed_rate: for committed_rate_gaussian, the nats of KL that every sentence keeps.
        latent_injection: how the decoder reads z: out of state, concat, output (LSTM decoders),
            add, prefix. Default ("state", "concat") for an LSTM decoder, ("add", "prefix") for
            others.
        num_prefix_tokens: inputs that "prefix" puts before the text.
        kl_weight: beta of the model's own loss.
        word_dropout: share of decoder inputs replaced by `unk_token_id` in training. Source:
            Bowman et al., arXiv 1511.06349.
        input_noise: noise on the encoder's input in training: token_dropout, deletion,
            substitution or shuffle; default: none.
        input_noise_rate: the share of tokens that the first three of them touch.
        shuffle_distance: how many places a shuffled token moves at most; default 3.
        encoder_unk_token_id: what token_dropout puts in; default: unk of the encoder's config.
        loss_normalization: the loss is divided by "token"s (labels) or by "sequence"s (sentences).
        pool_special_tokens: whether the special tokens at the ends of the encoder's input count in
            pooling.
        special_token_ids: which ids those are; default: the bos, eos, cls and sep ids of the
            encoder's config.
        initializer: "torch" or "literature", for the layers between encoder and decoder.
        pad_token_id, bos_token_id, eos_token_id, unk_token_id, decoder_start_token_id: ids of the
            decoder's tokenizer; default: those of the decoder's config, and bos for the start.
        tie_word_embeddings: encoder and decoder share one embedding matrix.

    Raises:
        A StrictDataclassError that names the field, what came and what is allowed.
    """

    model_type = "seqvae"
    keys_to_ignore_at_inference = ["past_key_values"]
    sub_configs_defaults = {
        "encoder": PartSpec(SeqVAELSTMEncoderConfig),
        "decoder": PartSpec(SeqVAELSTMConfig),
    }

    encoder: SubConfig = None
    decoder: SubConfig = None
    latent_size: int = 32
    pooling: str = "max"
    posterior: str = "gaussian"
    batch_norm_gamma: float | int | None = None
    committed_rate: float | int | None = None
    latent_injection: list[str] | tuple[str, ...] | None = None
    num_prefix_tokens: int = 1
    kl_weight: float | int = 1.0
    word_dropout: float | int = 0.0
    input_noise: str | None = None
    input_noise_rate: float | int | None = None
    shuffle_distance: int | None = None
    encoder_unk_token_id: int | None = None
    loss_normalization: Literal["token", "sequence"] = "token"
    pool_special_tokens: bool = True
    special_token_ids: list[int] | None = None
    initializer: Literal["torch", "literature"] = "torch"
    pad_token_id: int | None = None
    bos_token_id: int | None = None
    eos_token_id: int | list[int] | None = None
    unk_token_id: int | None = None
    decoder_start_token_id: int | None = None
    is_encoder_decoder: bool = True
    tie_word_embeddings: bool = False

    def __post_init__(self, **kwargs):
        for part in (self.encoder, self.decoder):
            check_layers(part)
        # transformers writes into the parts of a composite: into those of a model in use it would
        # write another attention, and so take its causal mask away
        self.encoder, self.decoder = copy.deepcopy(self.encoder), copy.deepcopy(self.decoder)
        super().__post_init__(**kwargs)
        if self.latent_injection is None:
            self.latent_injection = (
                ("state", "concat") if self.has_lstm_decoder else ("add", "prefix")
            )
        self.latent_injection = list(self.latent_injection)
        if self.batch_norm_gamma is None and self.posterior == "batch_norm_gaussian":
            self.batch_norm_gamma = 0.5
        if self.shuffle_distance is None and self.input_noise == "shuffle":
            self.shuffle_distance = 3
        if self.encoder_unk_token_id is None:
            self.encoder_unk_token_id = getattr(self.encoder, "unk_token_id", None)
        for name in ("pad_token_id", "bos_token_id", "eos_token_id", "unk_token_id"):
            if getattr(self, name) is None:
                setattr(self, name, getattr(self.decoder, name, None))
        if self.decoder_start_token_id is None:
            self.decoder_start_token_id = self.bos_token_id
        if self.special_token_ids is None:
            self.special_token_ids = self._known_special_tokens()
        if self.has_lstm_decoder:
            width = max(self.latent_size, 0)
            self.decoder.conditioning_size = width if "concat" in self.injections else 0
            self.decoder.output_conditioning_size = width if "output" in self.injections else 0

    @classmethod
    def from_dict(cls, config_dict: dict, **kwargs):
        """As transformers', but for the config of another model, which is an error.

        The installed package goes before the code of a repository, for the pipeline too: only code
        that was loaded from there keeps `custom_pipelines`, where the repository says it is.
        """
        kind = config_dict.get("model_type", cls.model_type)
        if kind != cls.model_type:
            raise ValueError(
                f"this is a {kind!r} model and no {cls.model_type!r} one. Load it by AutoModel, or "
                "build a VAE around it by SeqVAEModel.from_encoder_decoder_pretrained."
            )
        if not cls.__module__.startswith("transformers_modules."):
            config_dict = {k: v for k, v in config_dict.items() if k != "custom_pipelines"}
        return super().from_dict(config_dict, **kwargs)

    def _known_special_tokens(self) -> list[int]:
        known = {
            token
            for name in SPECIAL_TOKEN_FIELDS
            for token in _as_list(getattr(self.encoder, name, None))
        }
        return sorted(known)

    @property
    def untouched_token_ids(self) -> list[int]:
        """The ids of the encoder's input that noise never changes or moves."""
        pads = _as_list(getattr(self.encoder, "pad_token_id", None))
        return sorted({*(self.special_token_ids or ()), *pads})

    @property
    def has_lstm_decoder(self) -> bool:
        """Whether the decoder is our own LSTM, which can read z as state and beside its inputs."""
        return self.decoder.model_type == SeqVAELSTMConfig.model_type

    @property
    def has_lstm_encoder(self) -> bool:
        """Whether the encoder is our own LSTM."""
        return self.encoder.model_type == SeqVAELSTMEncoderConfig.model_type

    @property
    def injections(self) -> tuple[str, ...]:
        """The ways in which the decoder reads z, after the default was chosen."""
        return tuple(self.latent_injection or ())

    @property
    def hidden_size(self) -> int:
        """The decoder's width, for generic Hugging Face code."""
        return self.decoder.hidden_size

    @property
    def num_hidden_layers(self) -> int:
        """The decoder's depth, for generic Hugging Face code."""
        return self.decoder.num_hidden_layers

    @property
    def num_attention_heads(self) -> int:
        """The decoder's heads, for generic Hugging Face code."""
        return self.decoder.num_attention_heads

    def validate_numbers(self):
        """Sizes and weights are in range."""
        if self.latent_size < 1:
            raise ValueError(f"latent_size must be at least 1, got {self.latent_size}.")
        if self.num_prefix_tokens < 1:
            raise ValueError(f"num_prefix_tokens must be at least 1, got {self.num_prefix_tokens}.")
        if not (math.isfinite(self.kl_weight) and self.kl_weight >= 0):
            raise ValueError(f"kl_weight must be finite and not negative, got {self.kl_weight}.")
        if not 0.0 <= self.word_dropout <= 1.0:
            raise ValueError(f"word_dropout must be in [0, 1], got {self.word_dropout}.")

    def validate_sizes(self):
        """No size is absurd, of the parts that are not our LSTM either."""
        for part in (self.encoder, self.decoder):
            check_backbone(part)
        size, tokens, width = self.latent_size, self.num_prefix_tokens, self.hidden_size
        check_size(
            size * tokens * width,
            f"latent_size={size}, num_prefix_tokens={tokens}, decoder.hidden_size={width}",
        )

    def validate_choices(self):
        """Every choice is one that exists."""
        _choose("pooling", self.pooling, POOLINGS)
        _choose("posterior", self.posterior, POSTERIORS)
        options = {name: getattr(self, name) for name in ("batch_norm_gamma", "committed_rate")}
        check_options(self.posterior, self.latent_size, options)
        check_noise(self.input_noise, rate=self.input_noise_rate, distance=self.shuffle_distance)
        for name in self.injections:
            _choose("latent_injection", name, INJECTIONS)
        if not self.injections or len(set(self.injections)) < len(self.injections):
            raise ValueError(
                f"latent_injection needs one or more different names out of {sorted(INJECTIONS)}, "
                f"got {self.latent_injection}. For a model without latents, write `model: "
                "language_model` in the recipe: it trains SeqVAELSTMForCausalLM itself."
            )

    def validate_injection_fits_decoder(self):
        """State, concat and output need our LSTM, and output a layer of its own."""
        wrong = [name for name in self.injections if name in LSTM_ONLY_INJECTIONS]
        if wrong and not self.has_lstm_decoder:
            raise ValueError(
                f"latent_injection {wrong} needs an LSTM decoder "
                f"({SeqVAELSTMConfig.model_type!r}), got {self.decoder.model_type!r}. Use 'add' or "
                "'prefix' with it."
            )
        if "output" in self.injections and self.decoder.tie_word_embeddings:
            raise ValueError(
                "latent_injection 'output' widens the decoder's output layer by z, which a layer "
                "tied to the embeddings cannot be. Set decoder.tie_word_embeddings=False, or "
                "inject z elsewhere."
            )

    def validate_backbones(self):
        """The decoder reads one way, with a `past_key_values` cache; neither part is a pair."""
        kind = self.decoder.model_type
        if kind in UNSUPPORTED_DECODERS:
            raise ValueError(
                f"decoder {kind!r} cannot be used: generate() hands an encoder-decoder its cache "
                "as `past_key_values`, and this model keeps its state in another way. Use an "
                "attention decoder or 'seqvae_lstm'."
            )
        if kind == SeqVAELSTMEncoderConfig.model_type:
            raise ValueError(
                f"decoder {kind!r} is the encoder's type. Use {SeqVAELSTMConfig.model_type!r}."
            )
        if kind in BIDIRECTIONAL_MODELS and not self.decoder.is_decoder:
            raise ValueError(
                f"decoder {kind!r} reads both ways, so it would see the tokens it predicts. Give "
                "its config with is_decoder=True, or use a language model such as GPT-2."
            )
        for name in ("encoder", "decoder"):
            if getattr(self, name).is_encoder_decoder:
                raise ValueError(
                    f"{name} {getattr(self, name).model_type!r} is itself an encoder-decoder. Give "
                    "a config with one stack, such as BERT's or GPT-2's."
                )

    def validate_tokens(self):
        """Ids that the chosen parts need are there."""
        if self.decoder_start_token_id is None:
            raise ValueError(
                "decoder_start_token_id is unknown: neither it nor a bos_token_id was given. Set "
                "one of them."
            )
        if self.word_dropout > 0 and self.unk_token_id is None:
            raise ValueError(
                f"word_dropout={self.word_dropout} replaces words by unk_token_id, which is not "
                "set. Set it to the id of your tokenizer's unknown (or mask) token."
            )
        if self.input_noise is not None:
            check_noise_tokens(
                self.input_noise,
                unknown=self.encoder_unk_token_id,
                special=self.untouched_token_ids,
                vocab_size=self.encoder.vocab_size,
            )
        if not self.pool_special_tokens and not self.special_token_ids:
            raise ValueError(
                "pool_special_tokens=False needs special_token_ids, which the encoder's config "
                "does not tell. Give the ids that your encoder's tokenizer puts at the ends, or "
                "set pool_special_tokens=True."
            )


def _as_list(token: int | list[int] | None) -> list[int]:
    if token is None:
        return []
    return token if isinstance(token, list) else [token]
