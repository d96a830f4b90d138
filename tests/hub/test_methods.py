"""What a card cites: the paper of each method in use, the one that README's table names."""

import re
from pathlib import Path

import pytest
from card_standins import small_facts

from hf_seqvae.hub.card import render_card
from hf_seqvae.hub.methods import methods
from hf_seqvae.model.injection import INJECTIONS
from hf_seqvae.model.posterior_families import POSTERIORS
from hf_seqvae.objectives import KL_TERMS, SCHEDULES

README = Path(__file__).resolve().parents[2] / "README.md"
RECIPE_WORDS = [
    *({"beta": {"schedule": word}} for word in SCHEDULES if word != "constant"),
    *({"kl_term": word} for word in KL_TERMS if word != "plain"),
]


def readmes_papers(word: str) -> set[str]:
    """The arXiv numbers of the rows of README's table that hold a word of the config."""
    found = set()
    for line in README.read_text(encoding="utf-8").splitlines():
        if line.startswith("| ") and "arxiv.org/abs/" in line:
            quoted = re.findall(r'[\w."]+', " ".join(re.findall(r"`([^`]+)`", line)))
            ends = [part.strip('"').removeprefix("...") for part in quoted]
            if word in ends or any(end.startswith("_") and word.endswith(end) for end in ends):
                found |= set(re.findall(r"abs/([\d.]+)", line))
    return found


def made_with(recipe: dict | None = None, **model):
    facts = small_facts(recipe=recipe)
    facts["model"] |= {"latent_injection": [], "posterior": "gaussian"} | model
    return facts


@pytest.mark.parametrize("objective", RECIPE_WORDS, ids=str)
def test_schedules_and_kl_terms_are_cited_as_readme_does(objective):
    (cited,) = methods(made_with({"objective": objective}))
    word = objective.get("kl_term") or objective["beta"]["schedule"]
    assert readmes_papers(word) == {cited.arxiv}


@pytest.mark.parametrize("word", INJECTIONS)
def test_injections_are_cited_as_readme_does(word):
    (cited,) = methods(made_with(latent_injection=[word]))
    assert cited.arxiv in readmes_papers(word)


@pytest.mark.parametrize("word", [word for word in POSTERIORS if word != "gaussian"])
def test_posteriors_are_cited_as_readme_does(word):
    (cited,) = methods(made_with(posterior=word))
    assert {cited.arxiv} == readmes_papers(word)


def test_what_is_switched_on_is_cited_and_what_is_off_is_not():
    recipe = {
        "model": {"word_dropout": 0.3, "input_noise": None},
        "objective": {"beta": {"schedule": "constant"}, "kl_term": "plain", "mmd_weight": 0.0},
        "training": {"encoder_updates": "aggressive"},
        "phases": {"autoencoder": {"epochs": 5}},
    }
    assert [one.arxiv for one in methods(made_with(recipe))] == [
        "1511.06349",  # word dropout
        "1909.00868",  # an autoencoder first
        "1901.05534",  # aggressive updates
    ]
    assert methods(made_with()) == []


def test_the_card_links_each_of_them_once():
    card = render_card(made_with(posterior="batch_norm_gaussian"))
    assert card.count("https://arxiv.org/abs/2004.12585") == 1
    assert "What else it was made with" not in render_card(made_with())
