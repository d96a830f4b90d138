"""Remedies: every line is one the recipe takes, and none is what the model has already."""

import shlex
from pathlib import Path

import pytest

from hf_seqvae import SeqVAEConfig
from hf_seqvae import recipe as recipes
from hf_seqvae.diagnosis import VERDICTS, Judgement, known_setup, remedies_for

RECIPES = [
    path
    for path in sorted((Path(__file__).parent.parent / "training" / "recipes").glob("*.yaml"))
    if not recipes.load(path).is_language_model  # which has no latent to mend
]
SICK = [verdict for verdict in VERDICTS if verdict != "healthy"]


def config(**options) -> SeqVAEConfig:
    lstm = {"vocab_size": 20, "embedding_size": 4, "hidden_size": 4}
    return SeqVAEConfig(encoder=dict(lstm), decoder=dict(lstm), **options)


def lines(verdict, setup, *, wasteful=False):
    return remedies_for(Judgement(verdict, "", wasteful=wasteful), setup)


def overrides_of(line: str) -> list[str]:
    """The options of a line as a shell hands them to the program."""
    words = shlex.split(line)
    assert words[::2] == ["--set"] * (len(words) // 2)
    return words[1::2]


@pytest.mark.parametrize("verdict", SICK)
@pytest.mark.parametrize("path", ["quickstart", *RECIPES], ids=lambda path: Path(path).stem)
def test_every_line_is_taken_by_the_recipe_it_is_for(path, verdict):
    recipe = recipes.load(path)
    model = {key: recipe.model[key] for key in ("latent_size", "pooling") if key in recipe.model}
    found = lines(verdict, known_setup(config(**model), recipe.to_dict()))
    assert found
    for remedy in found:
        overrides = overrides_of(remedy.line)
        assert overrides == list(remedy.overrides)
        changed = recipes.load(path, overrides)
        assert recipes.differences(recipe, changed), f"{remedy.name} changes nothing"


@pytest.mark.parametrize("verdict", SICK)
@pytest.mark.parametrize("setup", [{}, known_setup(config()), known_setup(config(pooling="last"))])
def test_every_line_for_a_model_of_unknown_recipe_is_taken_by_the_quickstart(setup, verdict):
    found = lines(verdict, setup)
    assert found
    for remedy in found:
        recipes.load("quickstart", overrides_of(remedy.line))


@pytest.mark.parametrize(
    "overrides",
    [
        ["objective.beta={schedule: constant, value: 1.0}"],
        ["objective.beta={schedule: cyclical, num_epochs: 4}", "training.max_steps=100"],
        ["objective.beta={schedule: linear, num_steps: 9}", "training.max_steps=3"],
        ["model.word_dropout=0.2", "model.latent_size=2", "objective.free_bits=1"],
        ["objective.beta={schedule: sigmoid, num_epochs: 2, end: 0.5}"],
        ["objective.beta={schedule: target_rate, rate: 5}"],
        ["objective.kl_term=free_bits_per_sentence_mask", "objective.free_bits=8"],
        ["objective={kl_term: capacity_batch_mean, capacity: 5}"],
        ["training.gradient_accumulation_steps=2", "training.scheduler=linear"],
        ["training.encoder_updates=aggressive"],
        ["phases={autoencoder: {epochs: 2}, vae: {}}"],
    ],
)
def test_lines_fit_a_recipe_that_was_changed_on_the_command_line(overrides):
    recipe = recipes.load("quickstart", overrides)
    setup = known_setup(config(), recipe.to_dict())
    for verdict in SICK:
        for remedy in lines(verdict, setup):
            recipes.load("quickstart", [*overrides, *overrides_of(remedy.line)])


def test_a_stream_is_annealed_in_steps():
    setup = {"data": {"streaming": True}, "objective": {"beta": {"schedule": "constant"}}}
    annealing = next(r for r in lines("collapsed", setup) if r.name == "annealing")
    assert "num_steps: 8000" in annealing.line


def test_what_the_model_has_is_not_proposed_again():
    names = [remedy.name for remedy in lines("collapsed", known_setup(config(pooling="max")))]
    assert "max pooling" not in names
    names = [remedy.name for remedy in lines("collapsed", known_setup(config(pooling="last")))]
    assert "max pooling" in names
    both = known_setup(config(latent_injection=("state", "concat")))
    assert "z at every step" not in [remedy.name for remedy in lines("collapsed", both)]
    one = known_setup(config(latent_injection=("state",)))
    assert "z at every step" in [remedy.name for remedy in lines("collapsed", one)]
    dropped = known_setup(config(word_dropout=0.5, unk_token_id=3))
    assert "word dropout" not in [remedy.name for remedy in lines("collapsed", dropped)]


@pytest.mark.parametrize("term", ["free_bits_per_sentence_mask", "free_bits_batch_mean_mask"])
def test_free_bits_that_there_are_already_are_doubled(term):
    recipe = recipes.load("quickstart", [f"objective.kl_term={term}", "objective.free_bits=3"])
    first = lines("collapsed", known_setup(config(latent_size=16), recipe.to_dict()))[0]
    assert first.overrides == (f"objective.kl_term={term}", "objective.free_bits=6")
    first = lines("collapsed", known_setup(config(latent_size=16)))[0]
    assert first.overrides == (
        "objective.kl_term=free_bits_per_sentence_mask",
        "objective.free_bits=4",
    )


def test_a_rate_paid_dimension_by_dimension_and_lost_is_to_get_one_floor():
    recipe = recipes.load("quickstart").to_dict()  # 0.25 nats in each of 16 dimensions
    first = lines("paid but unused rate", known_setup(config(latent_size=16), recipe))[0]
    assert first.name == "one floor"
    assert first.overrides == (
        "objective.kl_term=free_bits_per_sentence_mask",
        "objective.free_bits=4",
    )
    changed = recipes.load("quickstart", list(first.overrides)).to_dict()
    names = [one.name for one in lines("paid but unused rate", known_setup(config(), changed))]
    assert "one floor" not in names


def test_tied_parts_are_neither_reset_nor_moved_alone():
    tied = ["model.tie_word_embeddings=true"]
    recipe = recipes.load("quickstart", tied)
    found = lines("collapsed", known_setup(config(tie_word_embeddings=True), recipe.to_dict()))
    names = [remedy.name for remedy in found]
    assert "an autoencoder first" not in names and "aggressive updates" not in names
    for remedy in found:
        recipes.load("quickstart", [*tied, *overrides_of(remedy.line)])


def test_nats_of_a_dimension_are_not_doubled_as_nats_of_a_sentence():
    recipe = recipes.load("quickstart").to_dict()
    first = lines("collapsed", known_setup(config(latent_size=16), recipe))[0]
    assert first.overrides[1] == "objective.free_bits=4"


def test_linear_annealing_gives_way_to_cycles_and_cycles_stay():
    def names(schedule):
        setup = {"objective": {"beta": {"schedule": schedule}}}
        return [remedy.name for remedy in lines("collapsed", setup)]

    assert "annealing" in names("constant")
    assert "cyclical annealing" in names("linear")
    assert not any("annealing" in name for name in names("cyclical"))


def test_more_rate_is_no_cure_for_a_rate_that_is_wasted():
    setup = known_setup(config())
    assert lines("partly collapsed", setup)[0].name == "free bits"
    wasted = [remedy.name for remedy in lines("partly collapsed", setup, wasteful=True)]
    assert "free bits" not in wasted and wasted


def test_a_healthy_model_gets_no_medicine():
    assert lines("healthy", known_setup(config())) == ()


@pytest.mark.parametrize(
    ("kl_term", "after"),
    [
        ("free_bits_per_dimension_hinge", "objective.free_bits=2"),
        ("free_bits_batch_dimension_hinge", "objective.free_bits=2"),
        ("free_bits_per_sentence_mask", None),
        ("free_bits_batch_mean_mask", None),
    ],
)
def test_fewer_dimensions_leave_the_free_rate_of_a_sentence_what_it_was(kl_term, after):
    setup = {"model": {"latent_size": 32}, "objective": {"kl_term": kl_term, "free_bits": 0.5}}
    found = {remedy.name: remedy for remedy in lines("paid but unused rate", setup)}
    expected = ("model.latent_size=8", *(() if after is None else (after,)))
    assert found["fewer dimensions"].overrides == expected
