"""training/train.py: its exit codes and what it says."""

import importlib.util
from pathlib import Path

import pytest

from hf_seqvae.engine import TrainingError, TrainingInterrupted

PATH = Path(__file__).resolve().parent.parent / "training" / "train.py"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("train_script", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


RECIPE = """
name: script
model: {latent_size: 3, encoder: {hidden_size: 8}, decoder: {hidden_size: 8}}
data: {dataset: everyday, num_train: 40, num_validation: 10, num_test: 10}
training: {epochs: 1, logging_steps: 1}
"""


@pytest.fixture
def recipe(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text(RECIPE)
    return [str(path), "--quiet", "--set", f"output_dir={tmp_path / 'run'}"]


def test_a_run_ends_with_0_and_the_figures(script, recipe, capsys, tmp_path):
    assert script.main(recipe) == 0
    printed = capsys.readouterr().out
    assert "test: 10 sentences" in printed and "negative_elbo" in printed
    assert str(tmp_path / "run" / "best") in printed


def test_an_unknown_key_ends_with_1_and_its_name(script, recipe, capsys):
    assert script.main([*recipe, "--set", "training.epoch=3"]) == 1
    assert "Did you mean 'training.epochs'?" in capsys.readouterr().err


def test_too_few_processes_end_with_1_and_the_command(script, recipe, capsys):
    assert script.main([*recipe, "--num-processes", "2"]) == 1
    assert "nproc_per_node 2" in capsys.readouterr().err


def test_a_signal_ends_with_its_code_and_the_command_to_go_on(script, recipe, capsys, monkeypatch):
    def interrupted(*arguments, **options):
        raise TrainingInterrupted("SIGTERM", 143, Path("step-1"), "hf-seqvae train x")

    monkeypatch.setattr(script, "train", interrupted)
    assert script.main(recipe) == 143
    assert "hf-seqvae train x" in capsys.readouterr().err


def test_a_failed_run_ends_with_1_and_the_checkpoint(script, recipe, capsys, monkeypatch):
    def failed(*arguments, **options):
        raise TrainingError("The disk is full.", Path("step-1"))

    monkeypatch.setattr(script, "train", failed)
    assert script.main(recipe) == 1
    assert "The last good checkpoint is kept: step-1" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "resume"), [([], True), (["--fresh"], False), (["--resume", "c"], "c")]
)
def test_the_ways_to_start_reach_the_engine(script, recipe, monkeypatch, arguments, resume):
    seen = []

    def spy(given, **options):
        seen.append(options["resume"])
        raise TrainingError("enough")

    monkeypatch.setattr(script, "train", spy)
    script.main([*recipe, *arguments])
    assert seen == [resume]
