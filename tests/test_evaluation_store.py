"""Results on the disk as they come: what a kill, a full disk or another question leaves."""

import json
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from evaluation_standins import (
    SENTENCES,
    WORDS,
    BagByPosition,
    BagOfWords,
    Stopped,
    assert_same_report,
    tokenised,
    write_at_once,
)
from evaluation_worker import ARGUMENTS, counted, measured
from safetensors import SafetensorError

from hf_seqvae.evaluation import evaluate, progress_of
from hf_seqvae.evaluation.store import Store, each_row_once

HERE = Path(__file__).resolve().parent
COUNTS = {"num_samples": 2, "iw_samples": 5}
EACH = 5 + 2 + 1  # decodings of a sentence
KEY = {"model_sha256": "a", "seed": 0}


def table(*rows: int) -> dict[str, torch.Tensor]:
    return {"row": torch.tensor(rows), "nll": torch.tensor(rows) * 10.0}


def stopped(folder, *, encoded=1000, decoded=1000, **arguments):
    """A model that was killed while it was evaluated into a folder."""
    model = BagByPosition()
    model.limits = (encoded, decoded)
    with pytest.raises(Stopped):
        evaluate(model, tokenised(), folder=folder, **COUNTS, **arguments)
    return model


# -- tables


def test_a_store_gives_each_sentence_once_in_the_order_of_rows(tmp_path):
    store = Store(tmp_path, KEY, seconds=-1.0)
    store.add("decoded", table(4, 1))
    store.add("decoded", table(0, 4))
    later = Store(tmp_path, KEY)
    later.load("decoded")
    for found in (store, later):
        assert found.rows("decoded").tolist() == [0, 1, 4]
        assert each_row_once(found.take("decoded"))["nll"].tolist() == [0.0, 10.0, 40.0]
    assert later.rows("encoded").tolist() == []


def test_results_wait_for_some_seconds_and_then_go_to_one_file(tmp_path):
    store = Store(tmp_path, KEY, seconds=1000.0)
    store.add("decoded", table(0))
    store.add("decoded", table(1))
    assert list(tmp_path.glob("*.safetensors")) == []
    store.flush("decoded")
    assert [path.name for path in tmp_path.glob("*.safetensors")] == ["decoded-0-00000.safetensors"]


def test_processes_write_into_files_of_their_own(tmp_path):
    for rank in (0, 1, 10):
        Store(tmp_path, KEY, rank=rank, seconds=-1.0).add("decoded", table(rank))
    assert len(list(tmp_path.glob("decoded-*"))) == 3
    store = Store(tmp_path, KEY)
    store.load("decoded")
    assert store.rows("decoded").tolist() == [0, 1, 10]


def test_a_damaged_part_that_another_process_removed_first_is_passed_over(tmp_path, monkeypatch):
    from hf_seqvae.evaluation import store

    Store(tmp_path, KEY, seconds=-1.0).add("decoded", table(0))
    Store(tmp_path, KEY, rank=1, seconds=-1.0).add("decoded", table(1))
    real = store.safe_open

    def removed(path, **options):
        if path.name.startswith("decoded-0"):
            path.unlink()
        return real(path, **options)

    monkeypatch.setattr(store, "safe_open", removed)
    later = Store(tmp_path, KEY)
    later.load("decoded")
    assert later.rows("decoded").tolist() == [1]


def test_progress_is_what_a_killed_evaluation_has_decoded_of_all(tmp_path, monkeypatch):
    write_at_once(monkeypatch)
    assert progress_of(tmp_path) is None
    stopped(tmp_path, decoded=5 * EACH, batch_size=2)
    assert progress_of(tmp_path) == (4, 7)  # two whole batches were done
    damaged = max(tmp_path.glob("decoded-*"))
    damaged.write_bytes(damaged.read_bytes()[:40])
    assert progress_of(tmp_path) == (2, 7) and damaged.exists()


@pytest.mark.parametrize("key", ["{", "[]", "null", "{}", '{"num_sentences": null}'])
def test_a_damaged_key_tells_no_progress(tmp_path, key):
    (tmp_path / "evaluation.json").write_text(key)
    assert progress_of(tmp_path) is None


def test_time_spent_before_a_kill_counts_whoever_goes_on(tmp_path):
    for rank in (0, 1, 2):
        store = Store(tmp_path, KEY, rank=rank, count=3)
        store._wall -= 100.0 * (rank + 1)
        store._cpu -= 10.0 * (rank + 1)
        store.add("encoded", table(rank))
        store.flush("encoded")
    spent = []
    for rank in (0, 1):
        store = Store(tmp_path, KEY, rank=rank, count=2)
        store.load("encoded")
        spent.append((store.wall_seconds, store.cpu_seconds))
    assert spent[0][0] == pytest.approx(100, abs=1) and spent[1][0] == pytest.approx(200, abs=1)
    assert spent[0][1] + spent[1][1] == pytest.approx(60, abs=1)  # none of the three is lost


def test_without_a_folder_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    evaluate(BagOfWords(), tokenised())
    assert list(tmp_path.iterdir()) == []


# -- another question


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"model": BagByPosition(seed=1)}, "model_sha256: '"),
        ({"dataset": tokenised(SENTENCES[:6], WORDS[:6])}, "num_sentences: 7 -> 6; tokens_sha256"),
        ({"dataset": tokenised([[5], *SENTENCES[1:]])}, "tokens_sha256: '"),
        ({"seed": 1}, "seed: 0 -> 1"),
        ({"iw_samples": 6}, "iw_samples: 5 -> 6"),
        ({"num_samples": 3}, "num_samples: 2 -> 3"),
    ],
)
def test_a_folder_of_another_evaluation_is_refused_and_what_changed_is_named(
    tmp_path, change, named
):
    stopped(tmp_path, encoded=2, batch_size=2)
    arguments = {"model": BagByPosition(), "dataset": tokenised(), **COUNTS} | change
    model, dataset = arguments.pop("model"), arguments.pop("dataset")
    with pytest.raises(ValueError, match=f"another evaluation; changed: {named}.*--fresh"):
        evaluate(model, dataset, folder=tmp_path, **arguments)
    report = evaluate(model, dataset, folder=tmp_path, fresh=True, **arguments)
    assert_same_report(report, evaluate(model, dataset, **arguments), exactly=True)


def test_a_damaged_key_is_refused_unless_fresh(tmp_path):
    stopped(tmp_path, encoded=2, batch_size=2)
    (tmp_path / "evaluation.json").write_text("{")
    with pytest.raises(ValueError, match="evaluation.json is damaged.*--fresh"):
        evaluate(BagByPosition(), tokenised(), folder=tmp_path, **COUNTS)
    assert evaluate(BagByPosition(), tokenised(), folder=tmp_path, fresh=True, **COUNTS)


def test_fresh_measures_everything_again(tmp_path, monkeypatch):
    write_at_once(monkeypatch)
    stopped(tmp_path, decoded=4 * EACH, batch_size=2)
    model = BagByPosition()
    evaluate(model, tokenised(), folder=tmp_path, fresh=True, **COUNTS)
    assert (model.encoded, model.decoded) == (7, 7 * EACH)


# -- going on


@pytest.mark.parametrize("again", [{}, {"batch_size": 3}, {"batch_size": 1, "decode_size": 2}])
def test_a_killed_evaluation_goes_on_with_what_is_missing(tmp_path, monkeypatch, again):
    write_at_once(monkeypatch)
    first = stopped(tmp_path, decoded=5 * EACH, batch_size=2)
    assert first.encoded == 7
    second = BagByPosition()
    report = evaluate(second, tokenised(), folder=tmp_path, **COUNTS, **({"batch_size": 2} | again))
    assert second.encoded == 0  # once a sentence over both sittings
    assert second.decoded == (7 - 4) * EACH  # two whole batches were done
    undisturbed = evaluate(BagByPosition(), tokenised(), **COUNTS, batch_size=2)
    assert_same_report(report, undisturbed, exactly=not again)


def test_a_kill_while_encoding_loses_only_what_was_not_written(tmp_path, monkeypatch):
    write_at_once(monkeypatch)
    assert stopped(tmp_path, encoded=5, batch_size=2).encoded == 4
    second = BagByPosition()
    report = evaluate(second, tokenised(), folder=tmp_path, **COUNTS, batch_size=2)
    assert (second.encoded, second.decoded) == (3, 7 * EACH)
    undisturbed = evaluate(BagByPosition(), tokenised(), **COUNTS, batch_size=2)
    assert_same_report(report, undisturbed, exactly=True)


def test_what_was_measured_to_the_end_is_not_measured_again(tmp_path):
    first = evaluate(BagByPosition(), tokenised(), folder=tmp_path, **COUNTS)
    model = BagByPosition()
    again = evaluate(model, tokenised(), folder=tmp_path, **COUNTS)
    assert (model.encoded, model.decoded) == (0, 0)
    assert_same_report(again, first, exactly=True)
    assert again.wall_seconds >= first.wall_seconds - 0.1  # the first sitting's time is in it


@pytest.mark.parametrize("damage", [lambda data: data[: len(data) // 2], lambda data: b""])
def test_a_damaged_part_is_measured_again_and_said(tmp_path, monkeypatch, caplog, damage):
    write_at_once(monkeypatch)
    stopped(tmp_path, decoded=5 * EACH, batch_size=2)
    part = sorted(tmp_path.glob("decoded-*"))[0]
    part.write_bytes(damage(part.read_bytes()))
    model = BagByPosition()
    with caplog.at_level(logging.WARNING):
        report = evaluate(model, tokenised(), folder=tmp_path, **COUNTS, batch_size=2)
    assert model.decoded == (7 - 2) * EACH
    assert f"{part} is damaged" in caplog.text and "measured again" in caplog.text
    undisturbed = evaluate(BagByPosition(), tokenised(), **COUNTS, batch_size=2)
    assert_same_report(report, undisturbed, exactly=True)


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), SafetensorError("I/O")])
def test_a_full_disk_is_an_error_that_says_what_is_kept_and_it_is(tmp_path, monkeypatch, error):
    from hf_seqvae.evaluation import store

    write_at_once(monkeypatch)
    real, written = store.save_file, []

    def full(tables, path, metadata):
        if path.name.startswith("decoded") and len(written) == 2:
            path.write_bytes(b"half a file")
            raise error
        written.extend([path] if path.name.startswith("decoded") else [])
        real(tables, path, metadata)

    with monkeypatch.context() as patch:
        patch.setattr(store, "save_file", full)
        with pytest.raises(OSError, match="Free some disk space.*: 4 sentences are kept"):
            evaluate(BagByPosition(), tokenised(), folder=tmp_path, **COUNTS, batch_size=2)
    assert not list(tmp_path.glob("*.draft"))
    model = BagByPosition()
    report = evaluate(model, tokenised(), folder=tmp_path, **COUNTS, batch_size=2)
    assert (model.encoded, model.decoded) == (0, 3 * EACH)
    undisturbed = evaluate(BagByPosition(), tokenised(), **COUNTS, batch_size=2)
    assert_same_report(report, undisturbed, exactly=True)


def test_a_process_killed_in_the_middle_is_taken_up_to_the_same_report(tmp_path):
    """SIGKILL to a real process, a real model, and the whole way from text to report.json."""
    folder = tmp_path / "killed"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(HERE.parent), str(HERE)])}
    worker = subprocess.Popen(
        [sys.executable, str(HERE / "evaluation_worker.py"), "slowly", str(folder)],
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    deadline = time.monotonic() + 120
    while len(list(folder.glob("decoded-*.safetensors"))) < 3:
        assert worker.poll() is None, worker.communicate()[1][-4000:]
        assert time.monotonic() < deadline, "the worker wrote nothing"
        time.sleep(0.02)
    worker.send_signal(signal.SIGKILL)
    worker.communicate()
    assert worker.returncode == -signal.SIGKILL
    assert not (folder / "report.json").exists()
    kept = Store(folder, json.loads((folder / "evaluation.json").read_text()))
    kept.load("decoded")
    count, done = ARGUMENTS["num_texts"], len(kept.rows("decoded"))
    assert 3 * ARGUMENTS["batch_size"] <= done < count
    with counted() as rows:
        report = measured(folder)
    each = ARGUMENTS["iw_samples"] + ARGUMENTS["num_samples"] + 1
    assert (rows["encoded"], rows["decoded"]) == (0, (count - done) * each)
    with counted() as rows:
        undisturbed = measured(tmp_path / "whole")
    assert (rows["encoded"], rows["decoded"]) == (count, count * each)
    assert_same_report(report, undisturbed, exactly=True)
    assert sorted(path.name for path in folder.glob("*.safetensors")) == [
        "per_sentence.safetensors"
    ]
