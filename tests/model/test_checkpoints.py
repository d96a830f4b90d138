"""Folders: two pretrained parts made one, safetensors only, vocabularies resized, weights tied."""

import copy
import json

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from tiny import V, Z, batch, bert, config, gpt2, latents, llama, lstm_decoder, lstm_encoder, model
from torch.testing import assert_close
from transformers import (
    AutoModel,
    AutoModelForSeq2SeqLM,
    BertModel,
    GPT2LMHeadModel,
)

from hf_seqvae.model.configuration_seqvae import SeqVAEConfig
from hf_seqvae.model.modeling_lstm import SeqVAELSTMEncoderModel, SeqVAELSTMForCausalLM
from hf_seqvae.model.modeling_seqvae import SeqVAEModel


def saved(made, folder):
    made.save_pretrained(folder)
    return str(folder)


def kept(part, loaded):
    """Every weight of `part` is in `loaded`, bit for bit."""
    there = loaded.state_dict()
    for name, value in part.state_dict().items():
        if "pooler" not in name:
            assert torch.equal(there[name], value), name


PAIRS = {
    "bert-gpt2": (lambda: BertModel(bert()), lambda: GPT2LMHeadModel(gpt2()), {}),
    "lstm-lstm": (
        lambda: SeqVAELSTMEncoderModel(lstm_encoder(bidirectional=True)),
        lambda: SeqVAELSTMForCausalLM(lstm_decoder()),
        {"latent_injection": ("state", "add")},
    ),
    "lstm-lstm-with-room-for-z": (
        lambda: SeqVAELSTMEncoderModel(lstm_encoder()),
        lambda: SeqVAELSTMForCausalLM(lstm_decoder(output_conditioning_size=Z)),
        {"latent_injection": ("output",)},
    ),
    "lstm-gpt2": (
        lambda: SeqVAELSTMEncoderModel(lstm_encoder()),
        lambda: GPT2LMHeadModel(gpt2()),
        {"latent_injection": ("prefix",), "num_prefix_tokens": 2},
    ),
}


@pytest.mark.parametrize("pair", PAIRS)
def test_a_vae_from_two_folders_keeps_every_pretrained_weight_through_a_save(pair, tmp_path):
    encoder, decoder, settings = PAIRS[pair]
    torch.manual_seed(0)
    encoder, decoder = encoder(), decoder()
    made = SeqVAEModel.from_encoder_decoder_pretrained(
        saved(encoder, tmp_path / "encoder"),
        saved(decoder, tmp_path / "decoder"),
        latent_size=Z,
        pooling="mean",
        **settings,
    )
    assert (made.config.latent_size, made.config.pooling) == (Z, "mean")
    kept(encoder, made.encoder.backbone)
    kept(decoder, made.decoder)
    texts = batch(3)
    expected = made.eval()(**texts)
    assert torch.isfinite(expected.loss)
    loaded = AutoModel.from_pretrained(saved(made, tmp_path / "whole"))
    kept(encoder, loaded.encoder.backbone)
    kept(decoder, loaded.decoder)
    assert torch.equal(loaded(**texts).logits, expected.logits)
    assert loaded.generate(latents=latents(2), max_new_tokens=3).shape[0] == 2


def test_new_layers_around_pretrained_parts_begin_by_the_composites_initializer(tmp_path):
    made = SeqVAEModel.from_encoder_decoder_pretrained(
        saved(SeqVAELSTMEncoderModel(lstm_encoder()), tmp_path / "encoder"),
        saved(SeqVAELSTMForCausalLM(lstm_decoder()), tmp_path / "decoder"),
        latent_injection=("state", "add"),
        initializer="literature",
    )
    for new in (made.encoder.posterior, made.injection):
        for parameter in new.parameters():
            assert 0 < parameter.abs().max() <= 0.01
    assert made.decoder.lm_head.weight.abs().max() > 0.1


def test_a_pretrained_lstm_decoder_without_room_for_z_is_refused_with_the_cure(tmp_path):
    encoder = saved(SeqVAELSTMEncoderModel(lstm_encoder()), tmp_path / "encoder")
    decoder = saved(SeqVAELSTMForCausalLM(lstm_decoder()), tmp_path / "decoder")
    with pytest.raises(
        ValueError, match=r'trained with 0 inputs.*without "concat".*\("state", "add"\)'
    ):
        SeqVAEModel.from_encoder_decoder_pretrained(encoder, decoder)
    with pytest.raises(ValueError, match=r'0 inputs beside each output state.*without "output"'):
        SeqVAEModel.from_encoder_decoder_pretrained(encoder, decoder, latent_injection=["output"])


# safetensors


NEWER = {
    "batch_norm_gamma",
    "committed_rate",
    "input_noise",
    "input_noise_rate",
    "shuffle_distance",
    "encoder_unk_token_id",
    "output_conditioning_size",
}


def test_a_folder_from_before_the_newer_words_is_the_same_model(tmp_path):
    made, texts = model(latent_injection=("state", "concat")), batch(3)
    made.save_pretrained(tmp_path)
    written = json.loads((tmp_path / "config.json").read_text())
    found = set()
    for part in (written, written["encoder"], written["decoder"]):
        found |= NEWER & set(part)
        for name in NEWER & set(part):
            del part[name]
    assert found == NEWER
    (tmp_path / "config.json").write_text(json.dumps(written))
    loaded, report = SeqVAEModel.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(report[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    torch.manual_seed(0)
    expected = made.train()(**texts).loss
    torch.manual_seed(0)
    assert torch.equal(loaded.train()(**texts).loss, expected)
    names = {name for name in load_file(tmp_path / "model.safetensors") if ".layers." not in name}
    assert names == {
        "encoder.backbone.embed_tokens.weight",
        "encoder.posterior.projection.weight",
        "injection.to_state.weight",
        "decoder.model.embed_tokens.weight",
        "decoder.lm_head.weight",
    }


def test_weights_are_saved_as_safetensors_alone(tmp_path):
    saved(model(), tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        "config.json",
        "generation_config.json",
        "model.safetensors",
    }


@pytest.mark.parametrize("auto", [AutoModel, AutoModelForSeq2SeqLM])
def test_the_auto_classes_load_a_saved_folder(auto, tmp_path):
    made = model("lstm2")
    loaded = auto.from_pretrained(saved(made, tmp_path))
    assert type(loaded) is SeqVAEModel
    assert torch.equal(loaded(**batch()).logits, made(**batch()).logits)


def test_a_corrupt_safetensors_file_is_an_error_and_no_silent_beginning(tmp_path):
    saved(model(), tmp_path)
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(SafetensorError, match="(?i)incomplete|header|metadata"):
        SeqVAEModel.from_pretrained(tmp_path)
    weights.write_bytes(b"\xff" * 400)
    with pytest.raises(SafetensorError, match="(?i)header"):
        SeqVAEModel.from_pretrained(tmp_path)


def test_a_folder_of_pickled_weights_is_refused(tmp_path):
    made = model()
    saved(made, tmp_path)
    (tmp_path / "model.safetensors").unlink()
    torch.save(made.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises((OSError, ValueError), match="safetensors"):
        SeqVAEModel.from_pretrained(tmp_path)


def test_a_folder_without_weights_is_refused(tmp_path):
    saved(model(), tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(OSError, match="model.safetensors"):
        SeqVAEModel.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    "other", [lambda: BertModel(bert()), lambda: SeqVAELSTMForCausalLM(lstm_decoder())]
)
def test_a_checkpoint_of_another_model_is_refused(other, tmp_path):
    theirs = other()
    with pytest.raises(
        ValueError, match=f"this is a '{theirs.config.model_type}' model.*SeqVAEModel"
    ):
        SeqVAEModel.from_pretrained(saved(theirs, tmp_path))


# vocabularies


@pytest.mark.parametrize("decoder", ["lstm", "gpt2", "llama"])
@pytest.mark.parametrize("encoder", ["lstm", "bert"])
@pytest.mark.parametrize("size", [V + 5, V - 4])
def test_a_resized_vocabulary_is_that_of_both_parts_and_of_the_saved_folder(
    encoder, decoder, size, tmp_path
):
    made = model(encoder, decoder)
    smaller = min(size, V)
    before = made.decoder.get_input_embeddings().weight[:smaller].clone()
    made.resize_token_embeddings(size)
    for part in (made.encoder.backbone, made.decoder):
        assert part.get_input_embeddings().weight.shape[0] == part.config.vocab_size == size
    assert made.get_output_embeddings().weight.shape[0] == size
    assert made.config.encoder.vocab_size == made.config.decoder.vocab_size == size
    assert torch.equal(made.decoder.get_input_embeddings().weight[:smaller], before)
    texts = {name: value.clamp(max=size - 1) for name, value in batch(3).items()}
    texts["input_ids"][0, 1] = texts["labels"][0, 0] = size - 1
    output = made(**texts)
    assert output.logits.shape[-1] == size
    loaded = SeqVAEModel.from_pretrained(saved(made, tmp_path))
    assert torch.equal(loaded(**texts).logits, output.logits)


def test_an_encoder_with_a_vocabulary_of_its_own_keeps_it():
    made = model(bert(vocab_size=V + 7), "gpt2")
    made.resize_token_embeddings(V + 2)
    assert made.encoder.get_input_embeddings().weight.shape[0] == V + 7
    assert made.decoder.get_input_embeddings().weight.shape[0] == V + 2


def test_embeddings_are_got_and_set():
    made = model()
    assert made.get_input_embeddings() is made.encoder.backbone.embed_tokens
    assert made.get_output_embeddings() is made.decoder.lm_head
    new = torch.nn.Embedding(V, 6)
    made.set_input_embeddings(new)
    assert made.encoder.backbone.embed_tokens is new
    head = torch.nn.Linear(8, V, bias=False)
    made.set_output_embeddings(head)
    assert made.decoder.lm_head is head


# tied weights


def storage(tensor):
    return tensor.untyped_storage().data_ptr()


TIED = {
    "composite": (lambda: model(tie_word_embeddings=True), True, False),
    "decoder": (
        lambda: model(decoder=lstm_decoder(embedding_size=8, tie_word_embeddings=True)),
        False,
        True,
    ),
    "both": (
        lambda: model(
            lstm_encoder(embedding_size=8),
            lstm_decoder(embedding_size=8, tie_word_embeddings=True),
            tie_word_embeddings=True,
        ),
        True,
        True,
    ),
    "bert-gpt2-decoder": (lambda: model("bert", "gpt2"), False, True),
    "bert-gpt2-both": (lambda: model("bert", "gpt2", tie_word_embeddings=True), True, True),
    "bert-llama": (lambda: model("bert", "llama", tie_word_embeddings=True), True, False),
    "none": (lambda: model(), False, False),
}


def shares(made):
    words = storage(made.decoder.get_input_embeddings().weight)
    return (
        storage(made.get_input_embeddings().weight) == words,
        storage(made.get_output_embeddings().weight) == words,
    )


@pytest.mark.parametrize("name", TIED)
def test_tied_weights_are_one_tensor_and_are_saved_once(name, tmp_path):
    build, *expected = TIED[name]
    made = build()
    assert list(shares(made)) == expected
    saved(made, tmp_path)
    stored = load_file(tmp_path / "model.safetensors")
    assert len(made.state_dict()) - len(stored) == sum(expected)
    loaded, report = SeqVAEModel.from_pretrained(tmp_path, output_loading_info=True)
    assert not report["missing_keys"] and not report["unexpected_keys"]
    assert list(shares(loaded)) == expected
    assert torch.equal(loaded(**batch()).logits, made(**batch()).logits)


def test_tied_weights_stay_tied_when_the_vocabulary_grows():
    for name in ("both", "bert-gpt2-both", "bert-llama"):
        made = TIED[name][0]()
        made.resize_token_embeddings(V + 3)
        assert list(shares(made)) == list(TIED[name][1:]), name


def test_parts_of_different_widths_cannot_share_embeddings():
    with pytest.raises(ValueError, match=r"tie_word_embeddings needs.*\(23, 6\).*\(23, 8\)"):
        SeqVAEModel(config(lstm_encoder(), "gpt2", tie_word_embeddings=True))


# one config, read by all


def test_a_choice_of_attention_reaches_the_layers_of_both_parts():
    made = model("bert", "gpt2")
    texts = batch(2)
    made.set_attn_implementation("eager")
    eager = made(**texts, output_attentions=True)
    assert eager.encoder_attentions[0] is not None and eager.decoder_attentions[0] is not None
    made.set_attn_implementation("sdpa")
    assert_close(made(**texts).logits, eager.logits)
    layer = made.encoder.backbone.encoder.layer[0].attention.self
    assert layer.config is made.config.encoder
    assert layer.config._attn_implementation == "sdpa"


def test_a_model_in_use_keeps_its_config_when_a_vae_is_made_around_it():
    encoder, decoder = BertModel(bert()), GPT2LMHeadModel(gpt2())
    before = encoder.config.to_dict(), decoder.config.to_dict()
    attention = decoder.config._attn_implementation
    settings = {"encoder": encoder.config, "decoder": decoder.config, "latent_injection": ["add"]}
    SeqVAEModel(SeqVAEConfig(**settings))
    assert (encoder.config.to_dict(), decoder.config.to_dict()) == before
    assert decoder.config._attn_implementation == attention is not None


def test_a_pretrained_decoder_never_sees_the_words_it_predicts(tmp_path):
    made = SeqVAEModel.from_encoder_decoder_pretrained(
        saved(BertModel(bert()), tmp_path / "encoder"),
        saved(GPT2LMHeadModel(gpt2()), tmp_path / "decoder"),
    ).eval()
    assert made.decoder.config._attn_implementation == "sdpa"
    z = torch.zeros(2, made.config.latent_size)
    words = torch.tensor([[1, 4, 5, 6], [1, 4, 7, 8]])
    logits = made(latents=z, decoder_input_ids=words).logits
    assert_close(logits[0, :2], logits[1, :2])


def test_two_models_of_one_config_do_not_share_a_vocabulary():
    shared = config("bert", "gpt2")
    one, two = SeqVAEModel(shared), SeqVAEModel(copy.deepcopy(shared))
    one.resize_token_embeddings(V + 3)
    assert two.config.decoder.vocab_size == V


def test_hidden_states_and_attentions_stay_where_the_tokens_are_under_left_padding():
    made = model("bert", "gpt2")
    made.set_attn_implementation("eager")
    right, left = batch(2), batch(2, left=True)
    one, two = (
        made.encoder(
            b["input_ids"], b["attention_mask"], output_hidden_states=True, output_attentions=True
        )
        for b in (right, left)
    )
    for row in range(2):
        a, b = right["attention_mask"][row].bool(), left["attention_mask"][row].bool()
        for first, second in zip(one.hidden_states, two.hidden_states, strict=True):
            assert_close(first[row][a], second[row][b])
        for first, second in zip(one.attentions, two.attentions, strict=True):
            assert_close(first[row][:, a][:, :, a], second[row][:, b][:, :, b])


def test_models_of_one_seed_begin_alike():
    torch.manual_seed(0)
    one = SeqVAEModel(config("bert", llama()))
    torch.manual_seed(0)
    two = SeqVAEModel(config("bert", llama()))
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
