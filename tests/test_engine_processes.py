"""Two gloo processes against one: the same weights, the same log, and the same resume."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from engine_standins import (
    MemoryLoader,
    batch_objectives,
    make_engine,
    read_log,
    tiny_language_model,
    weights,
)
from safetensors.torch import load_file
from torch.testing import assert_close

from hf_seqvae.evaluation import evaluate_bound

HERE = Path(__file__).resolve().parent


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory) -> Path:
    """The folder in which two processes ran `engine_worker.py`."""
    folder = tmp_path_factory.mktemp("two")
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    command = [sys.executable, *launcher, str(HERE / "engine_worker.py"), str(folder)]
    environment = os.environ | {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    environment["PYTHONPATH"] = os.pathsep.join([str(HERE.parent), str(HERE)])
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, env=environment, start_new_session=True
    )
    try:
        _, errors = process.communicate(timeout=300)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)  # the workers too
        raise
    assert process.returncode == 0, errors[-4000:]
    return folder


@pytest.fixture(scope="module")
def one_process(tmp_path_factory):
    """Weights and log of the same 50 steps on one process, without noise."""
    return on_one_process(tmp_path_factory.mktemp("one"))


def on_one_process(folder, **options):
    loader = MemoryLoader(num_rows=57, batch_size=8)

    def evaluate(model):
        rows = MemoryLoader(num_rows=57, batch_size=8, shuffle=False, with_index=True)
        return evaluate_bound(model, rows)

    engine = make_engine(
        folder,
        loader=loader,
        evaluator=evaluate,
        **{"epochs": 50, "max_steps": 50, "save_steps": 20, "logging_steps": 10},
        **{"dropout": 0.0, "sample_posterior": False, "optimizer": "SGD", "learning_rate": 0.5},
        **options,
    )
    engine.fit()
    return weights(engine), read_log(folder)


# batches of 8 and a last one of 1, of which the second process has no row
@pytest.mark.parametrize("name", ["plain", "micro"])
def test_two_processes_give_the_weights_of_one_after_50_steps(two_processes, one_process, name):
    assert json.loads((two_processes / "results.json").read_text())["processes"] == 2
    assert_close(
        load_file(two_processes / f"{name}.safetensors"), one_process[0], rtol=0, atol=1e-6
    )


def test_two_processes_train_a_language_model_as_one_does(two_processes, tmp_path):
    expected, log = on_one_process(tmp_path, model=tiny_language_model())
    found = load_file(two_processes / "language_model.safetensors")
    assert_close(found, expected, rtol=0, atol=1e-6)
    assert_close(read_log(two_processes / "language_model"), log, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", batch_objectives())
def test_two_processes_ask_about_the_global_batch_as_one_does(
    two_processes, one_process, tmp_path, name
):
    """A term of the batch's mean KL, and a beta that answers to it, though shares are uneven."""
    expected, log = on_one_process(tmp_path, objective=batch_objectives()[name])
    found = load_file(two_processes / f"{name}.safetensors")
    assert_close(found, expected, rtol=0, atol=1e-6)
    assert_close(read_log(two_processes / name), log, rtol=1e-5, atol=1e-5)
    assert any(not torch.equal(expected[key], one_process[0][key]) for key in expected)


def test_two_processes_log_and_validate_what_one_does(two_processes, one_process):
    log = read_log(two_processes / "plain")
    assert log[-1]["step"] == 50
    assert_close(log, one_process[1], rtol=1e-5, atol=1e-5)


def test_two_processes_go_on_to_the_same_weights_bit_for_bit(two_processes):
    results = json.loads((two_processes / "results.json").read_text())
    assert results["crashed"] and results["same"]
    assert read_log(two_processes / "crashed") == read_log(two_processes / "whole")


def test_a_signal_to_one_process_stops_both_after_a_checkpoint(two_processes):
    results = json.loads((two_processes / "results.json").read_text())
    assert results["exit_code"] == 143 and "Go on with" in results["stopped"]


def test_a_model_in_shards_is_saved_and_restored_bit_for_bit(two_processes):
    results = json.loads((two_processes / "results.json").read_text())
    assert results["sharded"] and results["sharded_language_model"]
