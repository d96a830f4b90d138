"""hf-seqvae diagnose: verdict, evidence, remedies, pictures, JSON, and how it refuses."""

import json
import logging
import shlex
from types import SimpleNamespace

import pytest
import torch
from datasets import Dataset
from diagnosis_standins import report
from matplotlib.image import imread
from rich.console import Console
from typer.testing import CliRunner

from hf_seqvae import SeqVAEConfig, SeqVAEModel, everyday
from hf_seqvae import recipe as recipes
from hf_seqvae.cli import app
from hf_seqvae.cli.closing import print_verdict
from hf_seqvae.cli.diagnosing import (
    command_of,
    figure_text,
    picture_folder,
    print_diagnosis,
    run_folder,
)
from hf_seqvae.data import tokenizer_from_words
from hf_seqvae.diagnosis import VERDICTS, Evidence, diagnose

PICTURES = [
    "dispersion.png",
    "information.png",
    "kl_per_dimension.png",
    "latent_map.png",
    "position_profile.png",
    "spectrum.png",
    "water_level.png",
]


@pytest.fixture(autouse=True)
def terminal(monkeypatch):
    """A terminal of 100 columns; loggers are put back as they were."""
    from transformers.utils import logging as transformers_logging

    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("TERM", "dumb")
    ours, verbosity = logging.getLogger("hf_seqvae"), transformers_logging.get_verbosity()
    handlers, propagate = list(ours.handlers), ours.propagate
    yield
    ours.handlers, ours.propagate = handlers, propagate
    transformers_logging.set_verbosity(verbosity)
    transformers_logging.enable_progress_bar()


def call(*arguments, code=0):
    result = CliRunner().invoke(app, ["diagnose", *[str(argument) for argument in arguments]])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result


def refused(*arguments):
    """The one line that a wrong call gives on stderr; no result on stdout."""
    result = call(*arguments, code=2)
    assert not result.stdout.strip()
    lines = result.stderr.splitlines()
    assert lines[-1].startswith("error: "), result.stderr
    return lines[-1]


def save_model(folder, *, spread=None) -> None:
    """An untrained model of everyday words; `spread` scales what its posterior says."""
    tokenizer = tokenizer_from_words(everyday.vocabulary(), max_length=32)
    lstm = {
        "vocab_size": len(tokenizer),
        "embedding_size": 8,
        "hidden_size": 8,
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
    }
    torch.manual_seed(0)
    model = SeqVAEModel(SeqVAEConfig(encoder=dict(lstm), decoder=dict(lstm), latent_size=4))
    if spread is not None:
        with torch.no_grad():
            for parameter in model.encoder.posterior.parameters():
                parameter.mul_(spread)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run folder: best/, recipe.yaml and log.jsonl."""
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    save_model(folder / "best")
    recipes.save(recipes.load("quickstart", ["model.latent_size=4"]), folder / "recipe.yaml")
    line = {"step": 5, "eval/kl": 1.0, "eval/mutual_information": 0.5}
    (folder / "log.jsonl").write_text(json.dumps(line) + "\n")
    return folder


@pytest.fixture
def sentences(tmp_path):
    """A csv file of 40 sentences with their tense and a number; the third text is blank."""
    texts, factors = everyday.generate(40, 3)
    tenses = [row["tense"] for row in factors]
    rows = {
        "text": [*texts[:2], "  ", *texts[2:]],
        "tense": [*tenses[:2], "blank", *tenses[2:]],
        "number": list(range(41)),
    }
    Dataset.from_dict(rows).to_csv(tmp_path / "sentences.csv")
    return tmp_path / "sentences.csv"


@pytest.fixture
def no_pictures(monkeypatch):
    """Nothing is drawn, which takes the most of the time."""
    monkeypatch.setattr("hf_seqvae.cli.pictures.draw_pictures", lambda *given, **options: {})


# -- what it prints


def test_the_command_explains_itself_with_an_example_and_every_verdict():
    text = " ".join(call("--help").stdout.split())
    assert "Example: hf-seqvae diagnose" in text
    assert [verdict for verdict in VERDICTS if verdict not in text.lower()] == []


def test_verdict_comes_first_then_evidence_meaning_remedies_and_pictures(run):
    text = call(run, "everyday", "--num-texts", 60).stdout
    folder = run / "diagnosis"
    assert sorted(path.name for path in folder.glob("*.png")) == PICTURES
    for name in PICTURES:
        assert str(folder / name) in text
        assert imread(folder / name).std() > 0.02
    assert f"{run} on 60 sentences of everyday" in " ".join(text.split())
    order = ["COLLAPSED", "by the rule: KL", "how to read it", "loss, shuffled z"]
    order += [
        "What it means",
        "What to try next",
        f"hf-seqvae train {run}/recipe.yaml --set",
        "Pictures",
    ]
    places = [text.index(words) for words in order]
    assert places == sorted(places)
    long = ("hf-seqvae train", str(run))
    assert max(len(line) for line in text.splitlines() if not any(w in line for w in long)) <= 100


def test_remedies_know_the_recipe_of_the_run(run, no_pictures):
    found = json.loads(call(run, "everyday", "--num-texts", 60, "--json").stdout)
    names = [remedy["name"] for remedy in found["remedies"]]
    assert found["remedies"][0]["overrides"][0] == "objective.kl_term=free_bits_per_sentence_mask"
    assert "cyclical annealing" in names  # the recipe has the linear one
    assert "max pooling" not in names
    for remedy in found["remedies"]:
        recipes.load(run / "recipe.yaml", shlex.split(remedy["line"])[1::2])


def test_best_of_a_run_is_known_to_belong_to_it(run):
    assert run_folder(str(run / "best")) == run_folder(str(run)) == run
    assert picture_folder(str(run / "best"), run) == run / "diagnosis"


def test_json_is_alone_on_stdout_and_holds_the_diagnosis(run, no_pictures):
    found = json.loads(call(run, "everyday", "--num-texts", 60, "--json").stdout)
    assert found["verdict"] in VERDICTS
    assert found["num_sentences"] == 60
    evidence = {line["name"]: line for line in found["evidence"]}
    gap = evidence["exchanged_nll"]["value"] - evidence["reconstruction_nll"]["value"]
    assert evidence["swap_gap"]["value"] == pytest.approx(gap, abs=1e-9)
    assert len(evidence["kl_per_dimension"]["value"]) == 4


def test_the_command_of_a_remedy_trains_the_same_recipe_with_one_change_in_a_new_folder(run):
    remedy = diagnose(report(kl=0.02)).remedies[0]
    words = shlex.split(command_of(remedy, run))
    assert words[:3] == ["hf-seqvae", "train", str(run / "recipe.yaml")]
    assert words[-2:] == ["--output-dir", f"{run}-free-bits"]
    recipes.load(words[2], words[4:-2:2])
    assert command_of(remedy, None) == f"hf-seqvae train ... {remedy.line}"


def test_a_model_folder_without_a_run_has_its_pictures_beside_it(tmp_path):
    save_model(tmp_path / "model")
    found = json.loads(call(tmp_path / "model", "everyday", "--num-texts", 30, "--json").stdout)
    assert "MI and KL over training" not in found["plots"]
    assert (tmp_path / "model" / "diagnosis" / "latent_map.png").is_file()


def test_the_same_seed_gives_the_same_figures_whatever_the_batch_size(run, no_pictures):
    def evidence(*options):
        text = call(run, "everyday", "--num-texts", 60, "--json", *options).stdout
        return [line["value"] for line in json.loads(text)["evidence"]]

    def flat(values):
        return [x for v in values for x in (v if isinstance(v, list) else [v]) if x is not None]

    first = flat(evidence("--seed", 1))
    assert flat(evidence("--seed", 1, "--batch-size", 7)) == pytest.approx(first, abs=1e-5)
    assert flat(evidence("--seed", 2)) != pytest.approx(first, abs=1e-5)


@pytest.mark.parametrize(("verdict", "kl"), [("healthy", 4.8), ("partly collapsed", 0.5)])
def test_every_verdict_can_be_printed(verdict, kl, capsys):
    found = diagnose(report(kl=kl, mutual_information=kl))
    print_diagnosis(Console(width=100), found, "a model on text")
    text = capsys.readouterr().out
    assert verdict.upper() in text
    assert ("What to try next" in text) == (verdict != "healthy")


def test_figures_are_printed_with_their_error_their_cap_or_as_a_range():
    def text(value, **more):
        return figure_text(Evidence("", "", value, "", **more))

    assert text(1.234, standard_error=0.056) == "1.23 ± 0.06"
    assert text(3, cap=16) == "3 of 16"
    assert text([0.5, 0.1]) == "0.10 to 0.50"
    assert text(None) == "-"


# -- colours


def test_the_map_is_coloured_by_a_factor_of_everyday(run, drawn_labels):
    call(run, "everyday", "--num-texts", 30, "--color-by", "tense")
    sentences = [everyday.parse(text)["tense"] for text in drawn_labels["texts"]]
    assert drawn_labels["labels"] == sentences
    assert drawn_labels["label_name"] == "tense"


@pytest.mark.parametrize("column", ["tense", "number"])
def test_the_map_is_coloured_by_a_second_column_row_by_row(run, drawn_labels, sentences, column):
    call(run, sentences, "--color-by", column, "--num-texts", 25)
    expected = [everyday.parse(text)["tense"] for text in drawn_labels["texts"]]
    if column == "number":
        expected = [str(number) for number in range(26) if number != 2]
    assert drawn_labels["labels"] == expected


@pytest.fixture
def drawn_labels(monkeypatch):
    """The texts that were read, and what the latent map was given."""
    from hf_seqvae import plots
    from hf_seqvae.cli import diagnosing

    seen, read, draw = {}, diagnosing.load_texts, plots.latent_map

    def load_texts(*arguments):
        texts = read(*arguments)
        seen["texts"] = texts["text"][:]
        return texts

    def latent_map(means, path, **options):
        seen.update(options)
        return draw(means, path, **options)

    monkeypatch.setattr(diagnosing, "load_texts", load_texts)
    monkeypatch.setattr(plots, "latent_map", latent_map)
    return seen


def test_colours_that_there_are_not_are_refused_with_those_there_are(run, sentences, tmp_path):
    assert "must be a factor of everyday, one of ['" in refused(
        run, "everyday", "--color-by", "tenses"
    )
    assert "'tenses'" in refused(run, sentences, "--color-by", "tenses")
    (tmp_path / "plain.txt").write_text("the girl reads .\nthe girl sleeps .\n")
    line = refused(run, tmp_path / "plain.txt", "--color-by", "tense")
    assert "needs a file with a second column" in line


# -- bad input


def test_one_sentence_is_refused_with_the_cure(run, tmp_path):
    (tmp_path / "one.txt").write_text("the girl reads a book .\n")
    line = refused(run, tmp_path / "one.txt")
    assert "compares sentences with each other, got one. Give two or more" in line


def test_equal_sentences_are_refused(run, tmp_path):
    (tmp_path / "equal.txt").write_text("the girl reads a book .\n" * 5)
    assert "all 5 sentences are equal" in refused(run, tmp_path / "equal.txt")


def test_sentences_that_the_model_cannot_tell_apart_are_refused(run, tmp_path):
    (tmp_path / "unknown.txt").write_text("xyzzy .\nplugh .\n")
    line = refused(run, tmp_path / "unknown.txt")
    assert "reads all 2 sentences alike" in line


def test_an_empty_file_is_refused(run, tmp_path):
    (tmp_path / "empty.txt").write_text("")
    assert "is empty" in refused(run, tmp_path / "empty.txt")
    (tmp_path / "blank.txt").write_text(" \n\n")
    assert "is empty: no row of it holds text" in refused(run, tmp_path / "blank.txt")


def test_a_text_too_long_for_the_model_is_refused_or_cut(run, tmp_path, no_pictures):
    (tmp_path / "long.txt").write_text("the girl reads " * 20 + "\nthe girl sleeps .\n")
    assert "1 of 2 texts have more than max_length=32" in refused(run, tmp_path / "long.txt")
    call(run, tmp_path / "long.txt", "--truncate")


def test_weights_that_diverged_are_refused(tmp_path):
    save_model(tmp_path / "model", spread=float("nan"))
    line = refused(tmp_path / "model", "everyday", "--num-texts", 10)
    assert "hold NaN or infinity" in line
    assert "earlier checkpoint" in line


def test_a_folder_that_cannot_be_written_to_is_refused_before_the_work(run, tmp_path):
    (tmp_path / "file").write_text("")
    line = refused(run, "everyday", "--output-dir", tmp_path / "file" / "pictures")
    assert "must be a folder that can be written to" in line


# -- where things lie


def test_a_model_of_the_hub_has_its_pictures_under_runs():
    assert run_folder("someone/a-model") is None
    assert str(picture_folder("someone/a-model", None)) == "runs/diagnosis/someone--a-model"


# -- the end of train


def test_train_ends_with_the_verdict_in_one_line(capsys):
    result = SimpleNamespace(report={"validation": report(kl=0.02), "test": report()})
    print_verdict(Console(width=300), result)
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line]
    assert line.startswith("The latent: healthy (KL 4.80 >= 1 nats a sentence")


def test_train_says_nothing_of_the_latent_where_nothing_could_be_compared(capsys):
    print_verdict(Console(), SimpleNamespace(report={}))
    print_verdict(Console(), SimpleNamespace(report={"test": report(num_sentences=1)}))
    assert capsys.readouterr().out == ""
