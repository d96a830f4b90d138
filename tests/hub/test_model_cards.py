"""The cards in model_cards/: rendered from their facts, small, true to the text they name."""

import random
import re
from pathlib import Path

import pytest
from hub.cards import problems
from typer.main import get_command

from hf_seqvae import everyday
from hf_seqvae import recipe as recipes
from hf_seqvae.cli import app
from hf_seqvae.hub.card import read_facts, render_card

CARDS = Path(__file__).parents[2] / "model_cards"
FOLDERS = sorted(path for path in CARDS.iterdir() if path.is_dir())
everyone = pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)


def test_there_is_a_card_of_the_quickstart():
    assert "everyday-quickstart" in [folder.name for folder in FOLDERS]


@everyone
def test_the_card_is_what_its_facts_render_to_byte_for_byte(folder):
    assert (folder / "README.md").read_bytes() == render_card(read_facts(folder)).encode()


@everyone
def test_card_facts_and_small_pictures_are_all_there_is(folder):
    pictures = {picture["file"] for picture in read_facts(folder)["pictures"]}
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert there == {"README.md", "facts.json"} | pictures
    for file in pictures:
        data = (folder / file).read_bytes()
        assert data.startswith(b"\x89PNG") and len(data) < 150_000


@everyone
def test_the_hub_would_take_it_and_it_tells_no_path(folder):
    text = (folder / "README.md").read_text()
    assert problems(text) == ([], [])
    assert not re.search(r"/(tmp|home|root|work|Users)/", text)


@everyone
def test_the_walks_go_between_the_sentences_that_the_seed_draws(folder):
    facts = read_facts(folder)
    assert facts["data"]["is_everyday"], "the text of a card in the repository is our own"
    walks, recipe = facts["interpolations"], facts["recipe"]
    place = ("train", "validation", "test").index(walks["split"])
    texts = everyday.generate(recipe["data"]["num_test"], 3 * recipe["data"]["seed"] + place)[0]
    rows = list(range(len(texts)))
    random.Random(walks["seed"]).shuffle(rows)
    ends = list(dict.fromkeys(texts[row] for row in rows))[: 2 * len(walks["walks"])]
    assert [text for walk in walks["walks"] for text in (walk["a"], walk["b"])] == ends


def test_the_quickstart_card_is_of_the_recipe_that_is_packaged():
    packaged = recipes.load("quickstart").to_dict()
    del packaged["output_dir"]
    facts = read_facts(CARDS / "everyday-quickstart")
    assert facts["recipe"] == packaged
    assert facts["evaluation"]["settings"]["iw_samples"] == 500
    assert facts["evaluation"]["split"] == "test" and facts["training"]["cpu_seconds"] is not None


def test_the_commands_that_make_a_card_parse():
    text = (CARDS / "README.md").read_text()
    group = get_command(app)
    lines = re.findall(r"^hf-seqvae (\w+) (.*)$", text, re.MULTILINE)
    assert [name for name, _ in lines] == ["train", "evaluate", "card"]
    for name, rest in lines:
        group.commands[name].make_context(name, rest.split())  # raises for an unknown option
