"""Options of a recipe, each through a whole run: streams, token budgets, trackers, decays."""

import dataclasses
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from engine_standins import read_log
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from hf_seqvae import everyday
from hf_seqvae.data import Collator
from hf_seqvae.engine import lock, train
from hf_seqvae.recipe import Recipe

HALVED = {"scheduler": "plateau_halving", "patience": 1}
HALVED |= {"optimizer": "sgd", "learning_rate": 30.0, "max_grad_norm": 1.0}
HOLD = """
import fcntl, sys
file = open(sys.argv[1], "a")
fcntl.flock(file, fcntl.LOCK_EX)
print("held", flush=True)
input()
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, str]:
    """Two jsonl files as a recipe names them."""
    folder = tmp_path_factory.mktemp("texts")
    for name, count in (("train", 60), ("validation", 12)):
        lines = [json.dumps({"text": text}) for text in everyday.generate(count, seed=count)[0]]
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
    return {f"{name}_file": str(folder / f"{name}.jsonl") for name in ("train", "validation")}


def tiny_recipe(folder: Path, data: dict, **training) -> Recipe:
    lstm = {"embedding_size": 6, "hidden_size": 8}
    return Recipe.from_dict(
        {
            "name": "tiny",
            "output_dir": str(folder),
            "model": {"latent_size": 3, "encoder": lstm, "decoder": lstm},
            "data": data,
            "training": {"epochs": 2, "learning_rate": 0.01, "logging_steps": 1} | training,
        }
    )


def test_a_streamed_file_trains_and_a_run_cut_short_ends_with_the_same_weights(tmp_path, files):
    """8 steps an epoch: the checkpoint gone on from is in the middle of the second."""
    data = files | {"streaming": True, "batch_size": 8}
    recipe = tiny_recipe(tmp_path / "whole", data, max_steps=14, save_steps=3, keep_checkpoints=9)
    whole = train(recipe, progress=False)
    assert (whole.progress.step, whole.progress.epoch) == (14, 1)
    shutil.copytree(whole.output_dir, tmp_path / "cut")
    for later in ("step-00000012", "step-00000014"):
        shutil.rmtree(tmp_path / "cut" / "checkpoints" / later)
    shutil.rmtree(tmp_path / "cut" / "last")
    cut = train(dataclasses.replace(recipe, output_dir=str(tmp_path / "cut")), progress=False)
    assert cut.progress.step == 14
    first, second = (load_file(run.last_dir / "model.safetensors") for run in (whole, cut))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert read_log(whole.output_dir) == read_log(cut.output_dir)


def test_batches_of_a_token_budget_keep_within_it(tmp_path, files, monkeypatch):
    sizes = []

    def watched(self, rows):
        batch = collate(self, rows)
        sizes.append((self.extra_columns, batch["labels"].numel()))
        return batch

    collate = Collator.__call__
    monkeypatch.setattr(Collator, "__call__", watched)
    result = train(
        tiny_recipe(tmp_path, files | {"tokens_per_batch": 100}, epochs=1), progress=False
    )
    # validation batches, of another size, carry their row numbers, and the report comes at the end
    trained = [size for extra, size in sizes if not extra][: result.progress.step]
    assert 50 < max(trained) <= 100


def test_tensorboard_is_given_every_figure_of_the_log(tmp_path, files):
    result = train(tiny_recipe(tmp_path, files, epochs=1, trackers=["tensorboard"]), progress=False)
    (events,) = (tmp_path / "trackers" / "tiny").glob("events.*")
    read = EventAccumulator(str(events)).Reload()
    for name in ("train/elbo", "train/kl", "train/beta", "eval/elbo"):
        lines = [line for line in read_log(result.output_dir) if name in line]
        written = [(event.step, event.value) for event in read.Scalars(name)]
        assert written == [(line["step"], pytest.approx(line[name])) for line in lines]


def test_plateau_halving_halves_goes_back_to_the_best_and_ends(tmp_path, files):
    """At this rate validations go up and down; nothing but the decays ends the run."""
    recipe = tiny_recipe(
        tmp_path,
        files,
        **HALVED,
        max_decays=2,
        epochs=100,
    )
    result = train(recipe, progress=False)
    log = read_log(tmp_path)
    bounds = [line["eval/elbo"] for line in log if "eval/elbo" in line]
    rates = [line["train/learning_rate"] for line in log if "train/elbo" in line]
    assert result.progress.finished and result.progress.epoch == len(bounds) < 100
    decays = [place for place in range(1, len(bounds)) if bounds[place] < bounds[place - 1]]
    assert len(decays) == 2 and decays[-1] == len(bounds) - 1
    assert sorted(set(rates), reverse=True) == pytest.approx([30.0, 15.0])
    # after the last decay the weights are those of the best validation
    best, last = (
        load_file(folder / "model.safetensors") for folder in (result.best_dir, result.last_dir)
    )
    assert all(torch.equal(best[name], last[name]) for name in best)
    assert result.progress.best_score == max(bounds)


def test_a_run_does_not_go_on_with_other_text(tmp_path, files):
    own = {name: shutil.copy(path, tmp_path) for name, path in files.items()}
    recipe = tiny_recipe(tmp_path / "run", own)
    train(recipe, progress=False)
    shutil.rmtree(tmp_path / "run" / "checkpoints" / "step-00000004")
    for split in ("validation", "train"):
        file = Path(own[f"{split}_file"])
        before = file.read_text()
        lines = before.splitlines()
        file.write_text("\n".join([lines[1], lines[0], *lines[2:]]) + "\n")
        with pytest.raises(ValueError, match=rf"belongs to another run; changed: {split} text"):
            train(recipe, progress=False)
        file.write_text(before)
    file = Path(own["train_file"])
    file.write_text(file.read_text().replace('"the ', '"xenon ', 1))
    with pytest.raises(ValueError, match="changed: vocabulary.*train text"):
        train(recipe, progress=False)


def test_results_without_a_checkpoint_are_not_trained_over(tmp_path, files):
    recipe = tiny_recipe(tmp_path, files, epochs=1)
    train(recipe, progress=False)
    shutil.rmtree(tmp_path / "checkpoints")
    log = (tmp_path / "log.jsonl").read_bytes()
    with pytest.raises(ValueError, match="no checkpoint to go on from.*--fresh"):
        train(recipe, progress=False)
    assert (tmp_path / "log.jsonl").read_bytes() == log
    train(recipe, progress=False, resume=False)


def test_a_folder_belongs_to_one_process(tmp_path, files, monkeypatch):
    monkeypatch.setattr(lock, "_PATIENCE", 0.0)
    recipe = tiny_recipe(tmp_path, files, epochs=1)
    (tmp_path / "lock").touch()
    command = [sys.executable, "-c", HOLD, str(tmp_path / "lock")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, **pipes) as other:
        assert other.stdout is not None and other.stdout.readline()
        with pytest.raises(ValueError, match="in use by process"):
            train(recipe, progress=False)
        assert not (tmp_path / "log.jsonl").exists()
        other.kill()
    with lock.locked(tmp_path):  # as a job of a study does
        assert train(recipe, progress=False).progress.finished


def test_the_epoch_of_a_line_is_its_own_where_decays_end_a_phase(tmp_path, files):
    recipe = tiny_recipe(
        tmp_path,
        files,
        **HALVED,
        max_decays=1,
        epochs=40,
    )
    train(
        dataclasses.replace(recipe, phases={"autoencoder": {"epochs": 20}, "vae": {}}),
        progress=False,
    )
    log = read_log(tmp_path)
    steps = {line["step"] for line in log if "eval/elbo" in line}
    assert 1 < len(steps) < 40
    for step in steps:
        assert len({line["epoch"] for line in log if line["step"] == step}) == 1


@pytest.mark.parametrize(
    ("training", "message"),
    [
        ({"scheduler": "greedy"}, "scheduler must be one of"),
        ({"scheduler": "warmup_stable_decay"}, "scheduler_args are .*num_decay_steps"),
        ({"scheduler": "cosine", "scheduler_args": {"num_cycle": 1}}, "scheduler_args.*num_cycle"),
        ({"optimizer": "sparseadam"}, "optimizer must be a class"),
        ({"optimizer": "adam", "optimizer_args": {"betas": 0.9}}, "optimizer_args are"),
        ({"optimizer": "adam", "optimizer_args": {"betas": [0.9]}}, "optimizer_args are"),
        ({"optimizer": "adam", "optimizer_args": {"eps": "small"}}, "optimizer_args are"),
    ],
)
def test_arguments_that_torch_does_not_take_are_refused_under_their_key(
    tmp_path, files, training, message
):
    with pytest.raises(ValueError, match=message):
        train(tiny_recipe(tmp_path, files, **training), progress=False)
