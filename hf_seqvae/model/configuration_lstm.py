"""Configurations of the LSTM backbones: decoder ("seqvae_lstm"), encoder ("seqvae_lstm_encoder").

Two types, since a composite whose parts share one type cannot load either part on its own.
"""

from typing import Literal

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig

from .size_limits import check_backbone


@strict
class SeqVAELSTMConfig(PreTrainedConfig):
    """An LSTM language model, and the default decoder of SeqVAEConfig.

    Args:
        vocab_size: number of tokens V.
        embedding_size: width E of the token embeddings.
        hidden_size: width H of the LSTM states.
        num_hidden_layers: stacked LSTM layers.
        bidirectional: read both ways; an encoder's choice, refused here.
        input_dropout: dropout on looked-up embeddings (never on z).
        output_dropout: dropout on the last layer's states.
        conditioning_size: width of the vector beside every input; a SeqVAEConfig sets it to its
            latent size where z is injected by "concat".
        output_conditioning_size: width of the vector beside every state that the output layer
            reads; a SeqVAEConfig sets it to its latent size where z is injected by "output".
        initializer: "torch" (torch's own defaults) or "literature" (every parameter
            U(-0.01, 0.01), biases included, embeddings U(-0.1, 0.1)). Source: He et al., arXiv
            1901.05534.
    """

    model_type = "seqvae_lstm"
    base_config_key = "decoder"
    keys_to_ignore_at_inference = ["past_key_values"]

    vocab_size: int = 10_000
    embedding_size: int = 256
    hidden_size: int = 256
    num_hidden_layers: int = 1
    bidirectional: bool = False
    input_dropout: float | int = 0.0
    output_dropout: float | int = 0.0
    conditioning_size: int = 0
    output_conditioning_size: int = 0
    initializer: Literal["torch", "literature"] = "torch"
    use_cache: bool = True
    pad_token_id: int | None = 0
    bos_token_id: int | None = 1
    eos_token_id: int | list[int] | None = 2
    unk_token_id: int | None = 3
    tie_word_embeddings: bool = False

    def __post_init__(self, **kwargs):
        check_backbone(self)  # before transformers asks for a word on each layer
        super().__post_init__(**kwargs)

    @classmethod
    def from_dict(cls, config_dict: dict, **kwargs):
        """As transformers', but for the config of another model, which is an error."""
        kind = config_dict.get("model_type", cls.model_type)
        if kind != cls.model_type:
            raise ValueError(
                f"this is a {kind!r} config and no {cls.model_type!r} one: use AutoConfig."
            )
        return super().from_dict(config_dict, **kwargs)

    @property
    def layer_types(self) -> list[str]:
        """The kind of cache layer each layer keeps."""
        return ["seqvae_lstm"] * self.num_hidden_layers

    @property
    def num_attention_heads(self) -> int:
        """1: an LSTM layer holds one state of width H. Read by generic Hugging Face code."""
        return 1

    @property
    def output_size(self) -> int:
        """Width of the features: H, or 2H when read both ways."""
        return self.hidden_size * (2 if self.bidirectional else 1)

    def validate_layer_type(self):
        """The cache layer type is fixed, so there is nothing to check."""

    def validate_sizes(self):
        """Sizes are positive and dropouts are shares."""
        for name in ("vocab_size", "embedding_size", "hidden_size", "num_hidden_layers"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}.")
        for name in ("input_dropout", "output_dropout"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise ValueError(f"{name} must be in [0, 1), got {getattr(self, name)}.")
        for name in ("conditioning_size", "output_conditioning_size"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}.")

    def validate_direction(self):
        """A language model reads one way."""
        if self.bidirectional:
            raise ValueError(
                "a decoder reads one way: bidirectional must be False. Set it on the encoder's "
                "config."
            )

    def validate_tying(self):
        """A tied output layer needs states as wide as embeddings."""
        if self.tie_word_embeddings and self.hidden_size != self.embedding_size:
            raise ValueError(
                "tie_word_embeddings needs hidden_size == embedding_size, got "
                f"{self.hidden_size} and {self.embedding_size}. Change one, or leave the weights "
                "untied."
            )
        if self.tie_word_embeddings and self.output_conditioning_size:
            raise ValueError(
                "tie_word_embeddings leaves the output layer no weights for the "
                f"{self.output_conditioning_size} inputs of output_conditioning_size. Leave the "
                "weights untied, or inject z elsewhere."
            )


@strict
class SeqVAELSTMEncoderConfig(SeqVAELSTMConfig):
    """An LSTM encoder; the same fields, and `bidirectional` is free to choose."""

    model_type = "seqvae_lstm_encoder"
    base_config_key = "encoder"

    def validate_direction(self):
        """An encoder may read either way, and has no z beside its inputs."""
        given = self.conditioning_size or self.output_conditioning_size
        if given:
            raise ValueError(f"an encoder takes no conditioning, got {given}.")

    def validate_tying(self):
        """An encoder has no output layer to tie."""
