"""hf-seqvae with a language model: trained, measured, sampled, and refused where z is needed."""

import json

import pytest
from cli_standins import call, refused, terminal

from hf_seqvae import everyday

SETTINGS = [
    "model={kind: language_model, decoder: {hidden_size: 16, embedding_size: 16}}",
    "objective={}",
    "data.num_train=300",
    "data.num_validation=40",
    "data.num_test=40",
    "training.epochs=1",
    "training.learning_rate=0.02",
]
TEXT = everyday.generate(1, seed=3)[0][0]


@pytest.fixture(autouse=True)
def clean(monkeypatch):
    with terminal(monkeypatch):
        yield


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The run folder of the quickstart recipe without latents, and what was printed."""
    folder = tmp_path_factory.mktemp("runs") / "lm"
    settings = [part for setting in SETTINGS for part in ("--set", setting)]
    with pytest.MonkeyPatch.context() as patch, terminal(patch):
        return folder, call("train", *settings, "--device", "cpu", "--output-dir", folder).stdout


def test_train_ends_in_exact_figures_and_samples_and_walks_nowhere(trained):
    folder, text = trained
    words = " ".join(text.split())
    assert "exact: the model has no latents" in words and "-log p(x)" in text
    for absent in ("ELBO", "On the way", "The latent:", "interpolate", "traverse", "MI"):
        assert absent not in text.split("Out of nothing")[0].partition("best weights")[2], absent
    after = text.split("Out of nothing: samples")[1]
    assert "hf-seqvae sample" in after and "interpolate" not in after and "traverse" not in after
    samples = [line for line in after.splitlines() if line.startswith("  ")][:3]
    vocabulary = set(everyday.vocabulary())
    assert samples and all(set(line.split()) <= vocabulary for line in samples)
    assert (folder / "curves.png").is_file()


def test_samples_are_the_seed_s(trained):
    first, again, other = (
        json.loads(call("sample", trained[0], "-n", 4, "--seed", seed, "--json").stdout)
        for seed in (1, 1, 2)
    )
    assert len(first["sentences"]) == 4
    assert first["sentences"] == again["sentences"] != other["sentences"]


def test_a_cold_sample_is_the_likeliest_and_beams_are_refused(trained):
    arguments = ("sample", trained[0], "-n", 3, "--temperature", 1e-5, "--json")
    assert len(set(json.loads(call(*arguments).stdout)["sentences"])) == 1
    assert "its samples are drawn" in refused("sample", trained[0], "--num-beams", 3)


def test_evaluate_measures_the_run_and_holds_it_against_itself(trained, tmp_path):
    data = ("everyday", "--num-texts", 20)
    figures = json.loads(
        call("evaluate", trained[0], *data, "--output-dir", tmp_path / "a", "--json").stdout
    )["figures"]
    assert figures["exact_model_nll"]["value"] > figures["exact_nll"]["value"]
    compare = ("--compare", tmp_path / "a", tmp_path / "a", "--json")
    (item,) = json.loads(call("evaluate", *compare).stdout)["differences"]
    assert item["name"] == "exact_model_nll" and item["difference"] == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ("diagnose", "everyday"),
        ("reconstruct", TEXT),
        ("interpolate", TEXT, TEXT),
        ("analogy", TEXT, TEXT, TEXT),
        ("traverse", TEXT, "--dim", 0),
        ("neighbours", TEXT),
    ],
    ids=lambda arguments: arguments[0],
)
def test_what_needs_latents_says_that_there_are_none(trained, arguments):
    command, *rest = arguments
    line = refused(command, trained[0], *rest)
    assert "a language model, which has no latents" in line
    assert "hf-seqvae evaluate and hf-seqvae sample take it" in line
