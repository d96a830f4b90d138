"""A run that a card can be made of, trained in a second, and facts small enough to read."""

from pathlib import Path
from typing import Any

import yaml
from cli_standins import call

RECIPE = {
    "name": "tiny",
    "model": {
        "latent_size": 4,
        "encoder": {"embedding_size": 8, "hidden_size": 12},
        "decoder": {"embedding_size": 8, "hidden_size": 12},
    },
    "data": {
        "dataset": "everyday",
        "num_train": 160,
        "num_validation": 30,
        "num_test": 24,
        "batch_size": 32,
    },
    "training": {"epochs": 1, "learning_rate": 0.01, "logging_steps": 2},
}


def trained_run(folder: Path) -> Path:
    """A run folder, by the command that a user calls."""
    recipe = folder / "tiny.yaml"
    recipe.write_text(yaml.safe_dump(RECIPE))
    call("train", recipe, "--output-dir", folder / "run", "--device", "cpu")
    return folder / "run"


def figure(value: Any, definition: str, **rest: Any) -> dict[str, Any]:
    return {
        "value": value,
        "definition": definition,
        "standard_error": None,
        "cap": None,
        "reason": None,
    } | rest


def small_facts(**changed: Any) -> dict[str, Any]:
    """Facts as `collect_facts` gives them, of a model that nobody trained."""
    facts: dict[str, Any] = {
        "format": 1,
        "name": "small",
        "repo_id": "me/small",
        "license": "mit",
        "language": ["de"],
        "base_models": [],
        "model": {
            "class": "SeqVAEModel",
            "num_parameters": 1234,
            "weights_sha256": "ab" * 32,
            "encoder": {"model_type": "seqvae_lstm_encoder", "tokens": 20},
            "decoder": {"model_type": "seqvae_lstm", "tokens": 20},
            "latent_size": 4,
            "pooling": "max",
            "posterior": "gaussian",
            "latent_injection": ["state"],
            "decoder_tokenizer": None,
        },
        "data": {
            "name": "letters.txt",
            "is_everyday": False,
            "hub_id": None,
            "origin": "letters of two friends",
            "license": "theirs",
            "num_texts": {"train": 100, "test": 10},
            "entropy": None,
        },
        "recipe": {"name": "small", "data": {"text_column": "text"}},
        "training": {
            "steps": 7,
            "best_step": 5,
            "wall_seconds": 7200.0,
            "cpu_seconds": 3600.0,
            "environment": {
                "versions": {"torch": "2.13.0"},
                "device": "cuda",
                "device_name": "a processor",
                "system": "Linux",
                "num_cores": 2,
                "num_processes": 2,
                "num_threads": 1,
            },
        },
        "evaluation": {
            "figures": {
                "negative_elbo": figure(20.5, "upper bound, nats", standard_error=0.25),
                "iw_nll": figure(19.75, "of 8 importance weights, nats", standard_error=0.125),
                "mutual_information": figure(1.5, "I(x; z), nats", cap=2.302585),
                "used_fraction": figure(None, "share", reason="KL is below 0.05"),
                "kl_per_dimension": figure(
                    [0.5, 1.25], "KL of each, nats", standard_error=[0.05, 0.125]
                ),
            },
            "headlines": ["negative_elbo", "iw_nll", "mutual_information", "used_fraction"],
            "num_sentences": 10,
            "num_tokens": 80,
            "num_words": 70,
            "settings": {"seed": 3, "num_samples": 2, "iw_samples": 8, "num_generated": 0},
            "cpu_seconds": 12.0,
            "device": "cpu",
            "num_processes": 1,
            "versions": {"torch": "2.13.0"},
            "data": {"name": "letters.txt", "tokens_sha256": "cd" * 32},
            "split": "test",
        },
        "diagnosis": {
            "verdict": "healthy",
            "rule": "KL 1.75 >= 1",
            "meaning": "z is in use.",
            "evidence": [
                {
                    "label": "KL",
                    "value": 1.75,
                    "unit": "nats",
                    "standard_error": 0.1,
                    "reading": "what z costs",
                }
            ],
        },
        "samples": {"seed": 0, "rule": "the first two", "sentences": ["a dog .", "a cat ."]},
        "interpolations": {
            "seed": 0,
            "rule": "shuffled",
            "split": "test",
            "method": "straight line",
            "steps": 2,
            "walks": [{"a": "one .", "b": "two .", "sentences": ["one .", "two ."]}],
        },
        "examples": ["one .", "two ."],
        "pictures": [{"file": "assets/curves.png", "title": "Training", "text": "Curves."}],
    }
    return facts | changed
