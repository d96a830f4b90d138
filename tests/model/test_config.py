"""SeqVAEConfig: what it fills in, what it refuses and in which words, and that it is saved."""

import json

import pytest
import torch
from huggingface_hub.errors import StrictDataclassError
from tiny import IDS, UNK, V, Z, bert, config, gpt2, llama, lstm_decoder, lstm_encoder, model
from transformers import (
    AutoConfig,
    BartConfig,
    FalconMambaConfig,
    Mamba2Config,
    MambaConfig,
    MiniMaxConfig,
    PreTrainedModel,
    RecurrentGemmaConfig,
    T5Config,
    Zamba2Config,
)

from hf_seqvae.model.configuration_lstm import SeqVAELSTMConfig, SeqVAELSTMEncoderConfig
from hf_seqvae.model.configuration_seqvae import SeqVAEConfig
from hf_seqvae.model.modeling_seqvae import SeqVAEModel


def fields(made):
    return {name: value for name, value in made.to_dict().items() if name != "_name_or_path"}


def refused(message, **kwargs):
    """The error reaches the user inside StrictDataclassError, with our sentence in it whole."""
    with pytest.raises(StrictDataclassError, match=message):
        SeqVAEConfig(**kwargs)


def test_the_defaults_are_our_lstms_and_the_literatures_decoder():
    made = SeqVAEConfig()
    assert type(made.encoder) is SeqVAELSTMEncoderConfig
    assert type(made.decoder) is SeqVAELSTMConfig
    assert made.latent_injection == ["state", "concat"]
    assert (made.pooling, made.posterior, made.loss_normalization) == ("max", "gaussian", "token")
    assert made.decoder.conditioning_size == made.latent_size == 32
    assert (made.encoder.bidirectional, made.pool_special_tokens, made.kl_weight) == (
        False,
        True,
        1,
    )
    assert (made.num_prefix_tokens, made.word_dropout, made.is_encoder_decoder) == (1, 0.0, True)


def test_token_ids_come_from_the_decoder_and_the_start_is_bos():
    made = SeqVAEConfig(decoder={"bos_token_id": 7, "eos_token_id": 8, "pad_token_id": 9})
    assert (made.bos_token_id, made.eos_token_id, made.pad_token_id) == (7, 8, 9)
    assert (made.decoder_start_token_id, made.unk_token_id) == (7, 3)
    assert SeqVAEConfig(bos_token_id=5).decoder_start_token_id == 5
    assert SeqVAEConfig(bos_token_id=5, decoder_start_token_id=6).decoder_start_token_id == 6


def test_native_parts_may_be_dicts_with_or_without_a_model_type():
    made = SeqVAEConfig(
        encoder={"hidden_size": 8, "bidirectional": True},
        decoder={"model_type": "seqvae_lstm", "hidden_size": 9},
    )
    assert type(made.encoder) is SeqVAELSTMEncoderConfig
    assert type(made.decoder) is SeqVAELSTMConfig
    assert (made.encoder.hidden_size, made.encoder.bidirectional) == (8, True)
    assert made.decoder.hidden_size == 9


def test_foreign_parts_may_be_dicts():
    made = SeqVAEConfig(
        encoder=bert().to_dict(), decoder=gpt2().to_dict(), latent_injection=["add"]
    )
    assert (made.encoder.model_type, made.decoder.model_type) == ("bert", "gpt2")
    assert made.decoder.n_embd == 8


@pytest.mark.parametrize(("ways", "size"), [(["concat"], Z), (["state"], 0), (["add"], 0)])
def test_the_composite_sets_how_wide_z_is_beside_the_decoders_inputs(ways, size):
    for before in (0, 3, Z):
        mine = lstm_decoder(conditioning_size=before)
        assert config(decoder=mine, latent_injection=ways).decoder.conditioning_size == size
        assert mine.conditioning_size == before  # the caller's own config is left alone


@pytest.mark.parametrize(("ways", "size"), [(["output", "add"], Z), (["concat"], 0)])
def test_the_composite_sets_how_wide_z_is_beside_the_decoders_states(ways, size):
    mine = lstm_decoder(output_conditioning_size=3)
    assert config(decoder=mine, latent_injection=ways).decoder.output_conditioning_size == size
    assert mine.output_conditioning_size == 3


def test_a_config_survives_a_save(tmp_path):
    made = config(
        "lstm2",
        pooling="mean_max",
        latent_injection=("prefix", "state"),
        num_prefix_tokens=3,
        kl_weight=0.5,
        word_dropout=0.25,
        loss_normalization="sequence",
        pool_special_tokens=False,
        initializer="literature",
    )
    made.save_pretrained(tmp_path)
    loaded = SeqVAEConfig.from_pretrained(tmp_path)
    assert fields(loaded) == fields(made)
    assert type(loaded.encoder) is SeqVAELSTMEncoderConfig and loaded.encoder.bidirectional
    assert json.loads((tmp_path / "config.json").read_text())["model_type"] == "seqvae"
    assert fields(AutoConfig.from_pretrained(tmp_path)) == fields(made)


def test_each_native_part_of_a_saved_composite_loads_on_its_own(tmp_path):
    config(lstm_encoder(hidden_size=5), lstm_decoder(hidden_size=7)).save_pretrained(tmp_path)
    assert SeqVAELSTMEncoderConfig.from_pretrained(tmp_path).hidden_size == 5
    assert SeqVAELSTMConfig.from_pretrained(tmp_path).hidden_size == 7


@pytest.mark.parametrize("gamma", [None, 0.7])
def test_batch_norm_begins_at_a_gamma_of_the_literature_unless_told(gamma, tmp_path):
    made = config(posterior="batch_norm_gaussian", batch_norm_gamma=gamma)
    assert made.batch_norm_gamma == (gamma or 0.5)
    made.save_pretrained(tmp_path)
    assert SeqVAEConfig.from_pretrained(tmp_path).batch_norm_gamma == made.batch_norm_gamma


# refusals: the rule, what came, the cure

NUMBERS = [
    ({"latent_size": 0}, "latent_size must be at least 1, got 0"),
    ({"latent_size": -3}, "latent_size must be at least 1, got -3"),
    ({"num_prefix_tokens": 0}, "num_prefix_tokens must be at least 1, got 0"),
    ({"kl_weight": -0.5}, "kl_weight must be finite and not negative, got -0.5"),
    ({"kl_weight": float("nan")}, "kl_weight must be finite and not negative, got nan"),
    ({"word_dropout": 1.5}, r"word_dropout must be in \[0, 1\], got 1.5"),
]
CHOICES = [
    ({"pooling": "median"}, r"pooling must be one of \['abs_max', 'attention', .*got 'median'"),
    ({"posterior": "laplace"}, r"posterior must be one of \[.*'gaussian'\], got 'laplace'"),
    (
        {"latent_injection": ["memory"]},
        r"latent_injection must be one of .*'concat', 'output', 'prefix'.*, got 'memory'",
    ),
    (
        {"latent_injection": []},
        r"needs one or more different names.*got \[\].*`model: language_model`.*ForCausalLM",
    ),
    ({"latent_injection": ["add", "add"]}, r"needs one or more different names.*\['add', 'add'\]"),
    ({"latent_injection": "add"}, "latent_injection.*str"),
    ({"loss_normalization": "word"}, "loss_normalization.*'token', 'sequence'.*got word"),
    ({"initializer": "xavier"}, "initializer.*'torch', 'literature'.*got xavier"),
    ({"latent_size": "many"}, "latent_size.*int.*'many'"),
    ({"encoder": 3}, "encoder"),
]
BN, RATE = "batch_norm_gaussian", "committed_rate_gaussian"
POSTERIOR_OPTIONS = [
    (
        {"committed_rate": 2.0},
        f"committed_rate is read by posterior '{RATE}' alone, got 2.0 beside",
    ),
    (
        {"committed_rate": 2.0, "posterior": BN},
        f"committed_rate is read .* beside '{BN}'. Set posterior='{RATE}', or leave committed_rate",
    ),
    ({"batch_norm_gamma": 0.6}, f"batch_norm_gamma is read by posterior '{BN}' alone, got 0.6"),
    (
        {"batch_norm_gamma": 0.6, "committed_rate": 1.0, "posterior": RATE},
        f"batch_norm_gamma is read by posterior '{BN}' alone, got 0.6 beside '{RATE}'",
    ),
    ({"posterior": RATE}, f"posterior '{RATE}' needs committed_rate. Set it, in nats a sentence"),
    *(
        (
            {"posterior": RATE, "committed_rate": rate},
            rf"committed_rate must be in \[3.2e-05, 1280\] nats .* 32, .*got {rate}. Choose a rate",
        )
        for rate in (0.0, -1.0, float("nan"), float("inf"), 1e-9, 1281.0)
    ),
    *(
        (
            {"posterior": BN, "batch_norm_gamma": gamma},
            f"batch_norm_gamma must be finite and positive, got {gamma}. The literature's are 0.5",
        )
        for gamma in (0.0, -0.5, float("nan"), float("inf"))
    ),
]
TOKENS = [
    (
        {"word_dropout": 0.1, "decoder": {"unk_token_id": None}},
        r"word_dropout=0.1 replaces words by unk_token_id, which is not set. Set it to the id",
    ),
    (
        {"decoder": {"bos_token_id": None}},
        "decoder_start_token_id is unknown.*Set one of them",
    ),
    (
        {"pool_special_tokens": False, "encoder": {"bos_token_id": None, "eos_token_id": None}},
        r"pool_special_tokens=False needs special_token_ids.*or set pool_special_tokens=True",
    ),
]


@pytest.mark.parametrize(
    ("kwargs", "message"),
    NUMBERS + CHOICES + POSTERIOR_OPTIONS + TOKENS,
    ids=[str(k) for k, _ in NUMBERS + CHOICES + POSTERIOR_OPTIONS + TOKENS],
)
def test_a_wrong_value_is_refused_in_our_words(kwargs, message):
    refused(f"(?s){message}", **kwargs)


@pytest.mark.parametrize("decoder", [gpt2, llama])
@pytest.mark.parametrize("way", ["state", "concat", "output"])
def test_ways_that_only_an_lstm_can_read_are_refused_elsewhere(decoder, way):
    refused(
        rf"latent_injection \['{way}'\] needs an LSTM decoder \('seqvae_lstm'\), got "
        rf"'{decoder().model_type}'. Use 'add' or 'prefix' with it",
        decoder=decoder(),
        latent_injection=["add", way],
    )


@pytest.mark.parametrize(
    "kind",
    [
        *(MambaConfig, Mamba2Config, FalconMambaConfig),
        *(MiniMaxConfig, RecurrentGemmaConfig, Zamba2Config),
    ],
)
def test_decoders_of_another_state_are_refused_with_the_reason(kind):
    refused(
        f"decoder '{kind.model_type}' cannot be used: generate.* `past_key_values`, and this model "
        "keeps its state in another way. Use an attention decoder or 'seqvae_lstm'",
        decoder=kind(),
        latent_injection=["add"],
    )


def test_mamba_is_welcome_as_an_encoder():
    tiny = MambaConfig(
        vocab_size=V, hidden_size=8, state_size=4, num_hidden_layers=1, conv_kernel=2, **IDS
    )
    assert config(tiny).encoder.model_type == "mamba"


@pytest.mark.parametrize("kind", [T5Config, BartConfig])
@pytest.mark.parametrize("part", ["encoder", "decoder"])
def test_a_part_that_is_itself_an_encoder_decoder_is_refused(part, kind):
    refused(
        f"{part} '{kind.model_type}' is itself an encoder-decoder. Give a config with one stack",
        **{part: kind(), "latent_injection": ["add"], "bos_token_id": 1},
    )


def test_a_decoder_that_would_see_the_words_it_predicts_is_refused():
    refused(
        "decoder 'bert' reads both ways.*is_decoder=True",
        decoder=bert(),
        latent_injection=["add"],
    )
    made = model(decoder=bert(is_decoder=True), latent_injection=["add"])
    words = torch.tensor([[1, 4, 5, 6], [1, 4, 7, 8]])
    logits = made(latents=torch.zeros(2, Z), decoder_input_ids=words).logits
    assert torch.allclose(logits[0, :2], logits[1, :2], atol=1e-6)
    assert not torch.allclose(logits[0, 2], logits[1, 2], atol=1e-3)


def test_a_decoder_without_a_cache_of_the_usual_name_is_refused_by_the_model():
    class Odd(PreTrainedModel):
        config: SeqVAELSTMConfig

        def __init__(self, config):
            super().__init__(config)
            self.embed = torch.nn.Embedding(V, 6)

        def get_input_embeddings(self):
            return self.embed

        def forward(self, inputs_embeds=None, state=None):
            return inputs_embeds

    with pytest.raises(ValueError, match="decoder Odd does not take `past_key_values`.*Choose"):
        SeqVAEModel(config(), decoder=Odd(lstm_decoder()))


LSTM = [
    ({"hidden_size": 0}, "hidden_size must be at least 1, got 0"),
    ({"vocab_size": 0}, "vocab_size must be at least 1, got 0"),
    ({"embedding_size": -1}, "embedding_size must be at least 1, got -1"),
    ({"num_hidden_layers": 0}, "num_hidden_layers must be at least 1, got 0"),
    ({"input_dropout": 1.0}, r"input_dropout must be in \[0, 1\), got 1.0"),
    ({"output_dropout": -0.1}, r"output_dropout must be in \[0, 1\), got -0.1"),
    ({"conditioning_size": -1}, "conditioning.*, got -1"),
    ({"output_conditioning_size": -2}, "conditioning.*, got -2"),
]


@pytest.mark.parametrize("kind", [SeqVAELSTMConfig, SeqVAELSTMEncoderConfig])
@pytest.mark.parametrize(("kwargs", "message"), LSTM, ids=[str(k) for k, _ in LSTM])
def test_a_wrong_size_of_an_lstm_is_refused(kind, kwargs, message):
    with pytest.raises(StrictDataclassError, match=message):
        kind(**kwargs)


def test_a_decoder_read_both_ways_and_a_conditioned_encoder_are_refused():
    with pytest.raises(StrictDataclassError, match="a decoder reads one way.*encoder's config"):
        SeqVAELSTMConfig(bidirectional=True)
    with pytest.raises(StrictDataclassError, match="an encoder takes no conditioning, got 3"):
        SeqVAELSTMEncoderConfig(conditioning_size=3)
    with pytest.raises(StrictDataclassError, match="an encoder takes no conditioning, got 2"):
        SeqVAELSTMEncoderConfig(output_conditioning_size=2)


def test_a_tied_lstm_needs_states_as_wide_as_embeddings():
    with pytest.raises(
        StrictDataclassError, match="needs hidden_size == embedding_size, got 8 and 6"
    ):
        lstm_decoder(tie_word_embeddings=True)


def test_an_output_layer_tied_to_the_embeddings_has_no_room_for_z():
    tied = {"tie_word_embeddings": True, "hidden_size": 6}
    with pytest.raises(StrictDataclassError, match="no weights for the 3 inputs.*untied, or"):
        lstm_decoder(output_conditioning_size=3, **tied)
    refused(
        "'output' widens the decoder's output layer.*decoder.tie_word_embeddings=False, or",
        decoder=lstm_decoder(**tied),
        latent_injection=["output"],
    )


def test_the_loss_is_normalised_for_a_trainers_count_of_tokens_and_nothing_else():
    assert SeqVAEModel(config(loss_normalization="token")).accepts_loss_kwargs is True
    assert SeqVAEModel(config(loss_normalization="sequence")).accepts_loss_kwargs is False


def test_generic_code_reads_the_decoders_sizes():
    made = config(decoder=gpt2(n_embd=16, n_layer=3, n_head=4))
    assert (made.hidden_size, made.num_hidden_layers, made.num_attention_heads) == (16, 3, 4)
    native = config()
    assert (native.hidden_size, native.num_hidden_layers, native.num_attention_heads) == (8, 2, 1)
    assert native.unk_token_id == UNK


def test_the_encoders_type_is_no_decoder():
    with pytest.raises(StrictDataclassError, match="is the encoder's type. Use 'seqvae_lstm'"):
        SeqVAEConfig(decoder={"model_type": "seqvae_lstm_encoder"})


def test_an_lstm_config_is_not_read_from_another_model():
    with pytest.raises(ValueError, match="this is a 'gpt2' config and no 'seqvae_lstm' one"):
        SeqVAELSTMConfig.from_dict({"model_type": "gpt2"})
