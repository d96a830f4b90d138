"""Remedies put together at random: a recipe is refused with its reason, or it trains."""

import random
from typing import Any

import pytest
import torch

from hf_seqvae import everyday
from hf_seqvae.data import tokenizer_from_words
from hf_seqvae.engine import train
from hf_seqvae.objectives import KL_TERMS
from hf_seqvae.recipe import Recipe, build_model

LSTM = {"embedding_size": 6, "hidden_size": 8}
AXES: dict[str, list[dict[str, Any]]] = {
    "model": [
        {},
        {"pooling": "last"},
        {"pooling": "mean_max"},
        {"pooling": "abs_max", "latent_injection": ["output"]},
        {"latent_injection": ["state", "concat", "output"], "word_dropout": 0.3},
        {"pooling": "attention", "tie_word_embeddings": True},
    ],
    "posterior": [
        {},
        {"posterior": "batch_norm_gaussian", "batch_norm_gamma": 0.6},
        {"posterior": "committed_rate_gaussian", "committed_rate": 1.5},
        {"posterior": "batch_norm_gaussian", "committed_rate": 1.5},
    ],
    "noise": [
        {},
        {"input_noise": "deletion", "input_noise_rate": 0.3},
        {"input_noise": "shuffle"},
    ],
    "beta": [
        {"schedule": "constant", "value": 0.5},
        {"schedule": "linear", "num_epochs": 1},
        {"schedule": "sigmoid", "num_steps": 3},
        {"schedule": "cyclical", "num_steps": 4, "num_cycles": 2},
        {"schedule": "cyclical_zero", "num_steps": 4, "num_cycles": 1},
        {"schedule": "target_rate", "rate": 1.0},
        {"schedule": "linear", "num_epochs": 1, "rate": 2.0},
    ],
    "objective": [
        {"kl_term": name, **({term.amount: 1.0} if term.amount else {})}
        for name, term in KL_TERMS.items()
    ]
    + [{"mmd_weight": 2.0}, {"free_bits": 1.0}],
    "training": [
        {},
        {},
        {"encoder_updates": "aggressive", "max_inner_updates": 3, "inner_window": 2},
        {"gradient_accumulation_steps": 2},
        {"scheduler": "plateau_halving"},
        {"scheduler": "linear"},
    ],
    "phases": [{}, {}, {"autoencoder": {"epochs": 1}, "vae": {"reset": ["decoder"]}}],
}


def drawn(seed: int) -> dict[str, dict[str, Any]]:
    generator = random.Random(seed)
    return {name: generator.choice(choices) for name, choices in AXES.items()}


def values_of(draw: dict[str, dict[str, Any]], folder) -> dict[str, Any]:
    lstm = {"encoder": dict(LSTM), "decoder": dict(LSTM), "latent_size": 3}
    return {
        "name": "drawn",
        "output_dir": str(folder),
        "model": {**lstm, **draw["model"], **draw["posterior"], **draw["noise"]},
        "data": {
            "dataset": "everyday",
            "num_train": 24,
            "num_validation": 6,
            "num_test": 4,
            "batch_size": 8,
        },
        "objective": {"beta": draw["beta"], **draw["objective"]},
        "training": {"epochs": 2, "logging_steps": 1, **draw["training"]},
        "phases": draw["phases"],
    }


def reasons(draw: dict[str, dict[str, Any]]) -> list[str]:
    """What should refuse a draw, in words of its message; empty where it composes."""
    found = []
    cut = "gradient_accumulation_steps" in draw["training"]
    term = KL_TERMS.get(draw["objective"].get("kl_term", "plain"))
    bn = draw["posterior"].get("posterior") == "batch_norm_gaussian"
    if cut and (bn or "mmd_weight" in draw["objective"] or (term and term.per_batch)):
        found.append("whole batch")
    if bn and "committed_rate" in draw["posterior"]:
        found.append("committed_rate")
    if draw["objective"] == {"free_bits": 1.0}:
        found.append("has no free bits")
    if draw["beta"].get("schedule") == "linear" and "rate" in draw["beta"]:
        found.append("not read by the schedule 'linear'")
    given = {draw["beta"].get("rate"), draw["objective"].get("capacity")}
    if draw["posterior"].get("posterior") == "committed_rate_gaussian" and 1.0 in given:
        found.append("out of reach")
    floors = ("free_bits_batch_mean_mask", "free_bits_per_sentence_mask")  # 1 of 1.5 nats kept
    committed = draw["posterior"].get("posterior") == "committed_rate_gaussian"
    if committed and draw["objective"].get("kl_term") in floors:
        found.append("does nothing")
    tied = draw["model"].get("tie_word_embeddings", False)
    if tied and draw["training"].get("encoder_updates") == "aggressive":
        found.append("tie_word_embeddings")
    if draw["phases"] and tied:
        found.append("tie_word_embeddings")
    if draw["phases"] and draw["training"].get("scheduler") == "linear":
        found.append("each of the phases begins anew|phases begins anew")
    return found


TOKENIZER = tokenizer_from_words(everyday.vocabulary())


@pytest.mark.parametrize("first", range(0, 400, 100))
def test_a_combination_is_refused_with_one_of_its_reasons_or_builds(first, tmp_path):
    refused = 0
    for seed in range(first, first + 100):
        draw = drawn(seed)
        expected = reasons(draw)
        if not expected:
            build_model(Recipe.from_dict(values_of(draw, tmp_path)), TOKENIZER)
            continue
        refused += 1
        with pytest.raises(ValueError, match="|".join(expected)):
            build_model(Recipe.from_dict(values_of(draw, tmp_path)), TOKENIZER)
    assert 10 < refused < 90


COMPOSING = [seed for seed in range(400) if not reasons(drawn(seed))][:10]


@pytest.mark.parametrize("seed", COMPOSING)
def test_a_combination_that_composes_trains_to_finite_figures(seed, tmp_path):
    result = train(Recipe.from_dict(values_of(drawn(seed), tmp_path)), progress=False)
    assert result.progress.finished and result.progress.step == 6
    elbo = result.report["test"]["elbo"].value
    assert isinstance(elbo, float) and torch.isfinite(torch.tensor(elbo))
