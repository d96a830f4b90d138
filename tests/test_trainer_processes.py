"""Two gloo processes against one: the same weights, logged terms and figures."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file
from torch.testing import assert_close
from trainer_worker import RUNS, train

HERE = Path(__file__).resolve().parent
NAMES = [name for name, *_ in RUNS]
TERMS = ("elbo", "reconstruction_nll", "kl", "beta", "loss", "grad_norm", "step", "epoch")


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> tuple[Path, Path]:
    """What one process left, and what two did."""
    one, two = (tmp_path_factory.mktemp(name) for name in ("one", "two"))
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    command = [sys.executable, *launcher, str(HERE / "trainer_worker.py"), str(two)]
    environment = os.environ | {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    environment["PYTHONPATH"] = os.pathsep.join([str(HERE.parent), str(HERE)])
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, env=environment, start_new_session=True
    )
    try:
        train(one, 1)
        _, errors = process.communicate(timeout=300)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)  # the workers too
    assert process.returncode == 0, errors[-4000:]
    return one, two


def results(folder: Path, name: str) -> dict:
    return json.loads((folder / f"{name}.json").read_text())


@pytest.mark.parametrize("name", [*NAMES, "stock"])
def test_two_processes_give_the_weights_of_one(folders, name):
    one, two = folders
    assert [results(folder, name)["processes"] for folder in folders] == [1, 2]
    first, second = (load_file(folder / f"{name}.safetensors") for folder in (one, two))
    assert_close(second, first, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_two_processes_log_the_terms_of_one(folders, name):
    one, two = (
        [{term: line[term] for term in TERMS} for line in results(folder, name)["logs"]]
        for folder in folders
    )
    assert [line["step"] for line in one] == [3, 6, 9, 12]
    assert_close(two, one, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_two_processes_evaluate_the_bound_of_one(folders, name):
    one, two = (results(folder, name)["eval"] for folder in folders)
    for figure in ("eval_elbo", "eval_reconstruction_nll", "eval_kl", "eval_mutual_information"):
        assert two[figure] == pytest.approx(one[figure], abs=2e-5)


def test_a_stock_trainer_on_two_processes_measures_each_row_once(folders):
    """13 rows in batches of 2 and 2: the last is filled up with rows that came before."""
    one, two = (results(folder, "stock")["eval"] for folder in folders)
    for figure in ("kl", "mean_latent_nll", "mutual_information", "active_units"):
        assert two[f"eval_{figure}"] == pytest.approx(one[f"eval_{figure}"], abs=2e-5)
