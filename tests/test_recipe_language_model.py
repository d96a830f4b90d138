"""`model: language_model` in a recipe: what it may say, what is built, and what it leaves alone."""

import dataclasses
from pathlib import Path

import pytest
import torch

from hf_seqvae import SeqVAELSTMConfig, everyday, recipe
from hf_seqvae.data import tokenizer_from_words
from hf_seqvae.language_model import WithoutLatents
from hf_seqvae.recipe import Recipe, differences

RECIPES = Path(__file__).parents[1] / "training" / "recipes"
WORDS = ["a", "b", "c"]


@pytest.fixture(scope="module")
def tokenizer():
    return tokenizer_from_words(WORDS)


def with_model(model, **sections) -> Recipe:
    return Recipe.from_dict({"model": model} | sections)


# what it may say


def test_the_word_alone_is_the_mapping_with_that_kind():
    assert with_model("language_model") == with_model({"kind": "language_model"})
    assert with_model("language_model").is_language_model


def test_a_vae_is_the_default_and_its_kind_is_never_written():
    """A recipe saved before there were kinds compares equal to one of today."""
    keys = {"latent_size": 4, "pooling": "mean"}
    old, new = with_model(keys), with_model({"kind": "seqvae"} | keys)
    assert new.model == keys and not new.is_language_model
    assert old.fingerprint() == new.fingerprint() and not differences(old, new)
    assert with_model("seqvae") == with_model({})


def test_a_saved_language_model_comes_back_equal(tmp_path):
    made = with_model({"kind": "language_model", "decoder": {"hidden_size": 8}})
    recipe.save(made, tmp_path / "recipe.yaml")
    back = recipe.load(tmp_path / "recipe.yaml")
    assert back == made and not differences(back, made)


def test_another_kind_is_another_run():
    changed = differences(with_model({}), with_model("language_model"))
    assert changed == {"model.kind": (None, "language_model")}


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("language-model", r"one of \['seqvae', 'language_model'\], got 'language-model'"),
        ({"kind": "lm"}, "model.kind must be one of .* got 'lm'"),
        ({"kind": "language_model", "pooling": "max"}, "model.pooling belongs to a VAE"),
        ({"kind": "language_model", "latent_size": 8}, "model.latent_size belongs to a VAE"),
        ({"kind": "language_model", "encoder": {}}, "model.encoder belongs to a VAE"),
        ({"kind": "language_model", "latent_injection": []}, "Leave it out"),
        ({"kind": "language_model", "word_droput": 0.1}, "Did you mean 'model.word_dropout'"),
        ({"kind": "language_model", "word_dropout": "much"}, "word_dropout must be a number"),
        ({"kind": "language_model", "decoder": 3}, "model.decoder must be a mapping"),
        ({"kind": "language_model", "decoder": {"hiden_size": 3}}, "model.decoder.hidden_size"),
        ({"kind": "language_model", "decoder": {"vocab_size": 3}}, "comes from the tokenizer"),
        ({"kind": "language_model", "decoder": {"conditioning_size": 3}}, "Unknown key"),
        ({"kind": "language_model", "decoder": {"model_type": "gpt2"}}, "must be 'seqvae_lstm'"),
    ],
)
def test_what_only_a_vae_reads_is_refused_with_the_cure(model, said):
    with pytest.raises(ValueError, match=said):
        with_model(model)


@pytest.mark.parametrize(
    ("sections", "said"),
    [
        ({"objective": {"beta": {"value": 0.5}}}, "objective.beta.value is 0.5"),
        (
            {"objective": {"beta": {"schedule": "linear", "num_epochs": 2}}},
            "objective.beta.schedule is 'linear'.*--set objective={}",
        ),
        (
            {"objective": {"kl_term": "free_bits_per_dimension_hinge", "free_bits": 0.25}},
            "objective.kl_term is 'free_bits_per_dimension_hinge'",
        ),
        ({"training": {"num_eval_samples": 4}}, "training.num_eval_samples is 4"),
        ({"training": {"encoder_updates": "aggressive"}}, "encoder_updates is 'aggressive'"),
        ({"phases": {"autoencoder": {"epochs": 1}, "vae": {}}}, "phases is .*no encoder"),
    ],
)
def test_an_objective_without_a_kl_to_weigh_is_refused(sections, said):
    with pytest.raises(ValueError, match=said):
        with_model("language_model", **sections)
    with_model({}, **sections)  # and is a VAE's to choose


def test_no_injection_at_all_names_the_recipe_of_the_language_model(tokenizer):
    with pytest.raises(ValueError, match="model: language_model"):
        recipe.build_config(with_model({"latent_injection": []}), tokenizer)


# what is built


def test_the_config_is_the_decoder_s_with_the_tokenizer_s_ids(tokenizer):
    config = recipe.build_config(
        with_model({"kind": "language_model", "decoder": {"hidden_size": 8}}), tokenizer
    )
    assert isinstance(config, SeqVAELSTMConfig)
    assert (config.hidden_size, config.embedding_size) == (8, 256)
    assert (config.vocab_size, config.conditioning_size) == (len(tokenizer), 0)
    assert config.bos_token_id == tokenizer.bos_token_id
    assert config.unk_token_id == tokenizer.unk_token_id


def test_a_value_that_the_config_refuses_is_said_of_the_recipe_before_any_text_is_read():
    with pytest.raises(ValueError, match="The model of the recipe: a decoder reads one way"):
        with_model({"kind": "language_model", "decoder": {"bidirectional": True}})


def test_the_seed_makes_the_weights_and_word_dropout_is_the_recipe_s(tokenizer):
    made = with_model({"kind": "language_model", "word_dropout": 0.25})
    before = torch.get_rng_state()
    first, second = (recipe.build_model(made, tokenizer) for _ in range(2))
    other = recipe.build_model(dataclasses.replace(made, seed=1), tokenizer)
    assert torch.equal(torch.get_rng_state(), before)
    assert isinstance(first, WithoutLatents) and first.word_dropout == 0.25
    weights = [model.language_model.lm_head.weight for model in (first, second, other)]
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])


def test_the_loss_s_unit_is_the_recipe_s():
    for unit in ("token", "sequence"):
        made = with_model({"kind": "language_model", "loss_normalization": unit})
        assert recipe.build_objective(made).normalization == unit
    assert recipe.build_objective(with_model("language_model")).normalization == "token"


# the files


@pytest.mark.parametrize(
    ("name", "twin"), [("ptb_lstm_lm", "ptb_lstm"), ("tatoeba_lstm_lm_cpu", "tatoeba_lstm_cpu")]
)
def test_a_language_model_s_recipe_is_its_twin_s_without_latents(name, twin):
    """Same text, optimiser, budget, decoder and unit of the loss."""
    ours, theirs = (recipe.load(RECIPES / f"{stem}.yaml") for stem in (name, twin))
    assert ours.is_language_model
    for section in ("seed", "tokenizer", "data", "training"):
        assert getattr(ours, section) == getattr(theirs, section)
    assert ours.model["decoder"] == theirs.model["decoder"]
    unit = [made.model.get("loss_normalization") for made in (ours, theirs)]
    assert unit[0] == unit[1]


def test_everyday_s_words_build_a_language_model():
    words = tokenizer_from_words(everyday.vocabulary())
    config = recipe.build_config(with_model("language_model"), words)
    assert config.vocab_size == len(words)
