"""`train(recipe)`: the run folder, its report, going on, and what is refused."""

import dataclasses
import json
import math

import pytest
from engine_standins import read_log
from transformers import AutoModel, AutoTokenizer

from hf_seqvae import everyday
from hf_seqvae import recipe as recipes
from hf_seqvae.engine import TrainingResult, launch, train
from hf_seqvae.engine.errors import TargetRateError
from hf_seqvae.engine.parts import prepare_text
from hf_seqvae.engine.step import TrainingStep
from hf_seqvae.recipe import Recipe


def tiny_recipe(folder, **training) -> Recipe:
    lstm = {"embedding_size": 6, "hidden_size": 8}
    return Recipe.from_dict(
        {
            "name": "tiny",
            "output_dir": str(folder),
            "model": {"latent_size": 3, "encoder": lstm, "decoder": lstm},
            "data": {
                "dataset": "everyday",
                "num_train": 60,
                "num_validation": 20,
                "num_test": 20,
            },
            "training": {"epochs": 2, "learning_rate": 0.01, "logging_steps": 1} | training,
        }
    )


@pytest.fixture(scope="module")
def result(tmp_path_factory) -> TrainingResult:
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    return train(tiny_recipe(folder), progress=False)


def test_a_run_leaves_the_promised_files(result):
    names = {path.name for path in result.output_dir.iterdir()}
    assert names == {
        *("recipe.yaml", "environment.json", "log.jsonl", "curves.png", "report.json"),
        *("checkpoints", "best", "last", "lock"),
    }


def test_the_best_folder_loads_through_the_auto_classes(result):
    model = AutoModel.from_pretrained(result.best_dir)
    tokenizer = AutoTokenizer.from_pretrained(result.best_dir)
    sentence = everyday.generate(1, seed=5)[0][0]
    batch = tokenizer([sentence], return_tensors="pt")
    output = model(**batch, labels=batch["input_ids"][:, 1:])
    assert math.isfinite(output.loss.item())
    assert not {path.suffix for path in result.best_dir.iterdir()} & {".pt", ".bin"}


def test_the_kept_recipe_is_the_recipe_of_the_run(result):
    kept = recipes.load(result.output_dir / "recipe.yaml")
    assert kept == tiny_recipe(result.output_dir)


def test_the_report_is_of_the_best_weights_and_knows_the_floor(result):
    values = json.loads(result.report_path.read_text())
    assert values["best_step"] == result.progress.best_step
    for split in ("validation", "test"):
        figures = values[split]["figures"]
        assert figures["negative_elbo"]["value"] > figures["exact_nll"]["value"] > 0
    # the same seed and rows as the validation that chose these weights
    best = -values["validation"]["figures"]["negative_elbo"]["value"]
    assert best == pytest.approx(result.progress.best_score, rel=1e-5)
    assert result.report["test"]["kl"].value == values["test"]["figures"]["kl"]["value"]


def test_the_same_recipe_again_changes_nothing(result):
    before = result.log_path.read_text(), (result.best_dir / "model.safetensors").read_bytes()
    again = train(tiny_recipe(result.output_dir), progress=False)
    assert again.progress.step == result.progress.step
    assert before == (
        result.log_path.read_text(),
        (result.best_dir / "model.safetensors").read_bytes(),
    )


def test_another_recipe_in_the_folder_is_refused_by_key_with_the_cure(result):
    other = tiny_recipe(result.output_dir, learning_rate=0.02)
    with pytest.raises(ValueError, match=r"training.learning_rate: 0.01 -> 0.02.*--fresh"):
        train(other, progress=False)


def test_a_recipe_that_only_keeps_more_goes_on(result):
    train(tiny_recipe(result.output_dir, keep_checkpoints=5), progress=False)


def test_a_longer_patience_with_a_rate_goes_on_from_the_kept_checkpoint(tmp_path):
    recipe = tiny_recipe(tmp_path, learning_rate=1e-9, save_steps=1, keep_checkpoints=9)
    first, written = tmp_path / "checkpoints" / "step-00000001", []
    for patience in (3, 5):
        beta = {"schedule": "target_rate", "rate": 500, "patience": patience}
        objective = {"beta": beta, "kl_term": "plain"}
        values = recipe.to_dict() | {"objective": objective}
        values["data"] = values["data"] | {"batch_size": 8}
        with pytest.raises(TargetRateError, match="Raise patience to go on") as raised:
            train(Recipe.from_dict(values), progress=False)
        assert raised.value.checkpoint.name == f"step-0000000{patience - 1}"
        written.append(first.stat().st_mtime_ns)
    assert written[0] == written[1]  # the second sitting did not begin anew


def test_the_bar_shows_figures_and_leaves_the_validations(tmp_path):
    import io

    from rich.console import Console

    console = Console(file=io.StringIO(), width=200)
    train(tiny_recipe(tmp_path / "run", epochs=1), console=console)
    text = console.file.getvalue()
    assert "epoch 1  step 2  validation  elbo -" in text


def test_trackers_of_accelerate_get_the_figures(tmp_path):
    pytest.importorskip("tensorboard")
    train(tiny_recipe(tmp_path / "run", epochs=1, trackers=["tensorboard"]), progress=False)
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    (events,) = (tmp_path / "run" / "trackers" / "tiny").glob("events.*")
    scalars = EventAccumulator(str(events)).Reload()
    logged = [event.value for event in scalars.Scalars("train/elbo")]
    lines = [line["train/elbo"] for line in read_log(tmp_path / "run") if "train/elbo" in line]
    assert logged == pytest.approx(lines, rel=1e-6)


def test_an_unwritable_folder_is_refused_before_any_text_is_read(tmp_path):
    (tmp_path / "file").write_text("")
    recipe = tiny_recipe(tmp_path / "file" / "run")
    data = dataclasses.replace(recipe.data, dataset="no/such-data")
    with pytest.raises(ValueError, match="output_dir must be a folder that can be written to"):
        train(dataclasses.replace(recipe, data=data), progress=False)


def test_fewer_processes_than_asked_for_are_refused_with_the_command(tmp_path):
    recipe = tiny_recipe(tmp_path / "run", num_processes=2)
    with pytest.raises(ValueError, match="2 processes were asked for.*1 came.*nproc_per_node 2"):
        train(recipe, progress=False)


def test_a_launch_that_started_one_process_for_several_is_found_out(monkeypatch):
    # what `accelerate launch --cpu --num_processes 2` sets (accelerate 1.15)
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "no")
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    for name in ("WORLD_SIZE", "RANK"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ValueError, match="torch.distributed.run --nproc_per_node"):
        launch.check_launch()
    monkeypatch.setenv("WORLD_SIZE", "2")
    launch.check_launch()


def test_the_launchers_precision_counts_where_the_recipe_asks_for_none(monkeypatch):
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
    assert launch.launched_precision("no") == "bf16"
    assert launch.launched_precision("bf16") == "bf16"
    with pytest.raises(ValueError, match="Make them equal"):
        launch.launched_precision("fp16")


def test_a_stream_of_text_resumes_within_its_epoch_bit_for_bit(tmp_path, monkeypatch):
    (tmp_path / "text.txt").write_text("\n".join(everyday.generate(60, seed=1)[0]))
    (tmp_path / "held_out.txt").write_text("\n".join(everyday.generate(12, seed=2)[0]))

    def recipe(folder):
        values = tiny_recipe(folder, epochs=2, save_steps=2).to_dict()
        values["data"] = {
            "train_file": str(tmp_path / "text.txt"),
            "validation_file": str(tmp_path / "held_out.txt"),
            "streaming": True,
            "batch_size": 12,
        }
        return Recipe.from_dict(values)

    class Crash(BaseException):
        pass

    update = TrainingStep.__call__

    def crash(self, batch, step, num_items, sums):
        if step == 8:
            raise Crash
        update(self, batch, step, num_items, sums)

    whole = train(recipe(tmp_path / "whole"), progress=False)
    with monkeypatch.context() as patch:
        patch.setattr(TrainingStep, "__call__", crash)
        with pytest.raises(Crash):
            train(recipe(tmp_path / "crashed"), progress=False)
    resumed = train(recipe(tmp_path / "crashed"), progress=False)
    # 5 batches an epoch, which a stream cannot tell beforehand
    assert whole.progress.step == resumed.progress.step == 10
    files = [result.last_dir / "model.safetensors" for result in (whole, resumed)]
    assert files[0].read_bytes() == files[1].read_bytes()
    assert read_log(tmp_path / "whole") == read_log(tmp_path / "crashed")


def test_everyday_text_is_written_in_the_grammars_own_words(tmp_path):
    """60 sentences to train on hold a part of the words, and the other splits hold others."""
    text = prepare_text(tiny_recipe(tmp_path))
    ids = [token for row in text.held_out["test"]["labels"] for token in row]
    assert text.tokenizer.unk_token_id not in ids
    assert set(text.floors) == {"validation", "test"}


def test_a_vocabulary_that_lacks_words_has_no_floor(tmp_path):
    made = tiny_recipe(tmp_path)
    made = dataclasses.replace(made, tokenizer=dataclasses.replace(made.tokenizer, vocab_size=30))
    text = prepare_text(made)
    assert text.floors == {} and text.entropy is None
