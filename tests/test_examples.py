"""Every example runs from its first line to its last, and prints what it promises."""

import contextlib
import io
import runpy
import tempfile
from pathlib import Path

import pytest
import torch
from transformers.utils import logging as transformers_logging

FOLDER = Path(__file__).resolve().parent.parent / "examples"
PROMISES = {
    "01_train_in_python": ["negative_elbo", "mutual_information", "best weights are in"],
    "02_sample_and_interpolate": ["temperature 0.5", "lerp:", "slerp:", "around:"],
    "03_attribute_directions": ["told apart:", "2 x direction"],
    "04_fine_tune_with_trainer": ["eval_elbo"],
    "05_fine_tune_with_stock_trainer": ["eval_kl", "eval_mutual_information"],
    "06_fine_tune_and_generate": ["of the words are the same"],
}


@pytest.fixture(autouse=True)
def as_before(tmp_path, monkeypatch):
    """Temporary folders go, and the generator and the libraries' loggers are put back."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    verbosity = transformers_logging.get_verbosity()
    with torch.random.fork_rng(devices=[]):
        yield
    transformers_logging.set_verbosity(verbosity)


def test_every_example_has_its_promises():
    assert sorted(path.stem for path in FOLDER.glob("*.py")) == sorted(PROMISES)


@pytest.mark.parametrize("name", sorted(PROMISES))
def test_example_runs_and_prints_what_it_promises(name):
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        runpy.run_path(str(FOLDER / f"{name}.py"), run_name="__main__")
    text = printed.getvalue()
    assert [promise for promise in PROMISES[name] if promise not in text] == []


@pytest.mark.parametrize("name", sorted(PROMISES))
def test_example_is_in_percent_format(name):
    lines = (FOLDER / f"{name}.py").read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith('"""')
    assert sum(line.startswith("# %% ") for line in lines) >= 3


@pytest.mark.parametrize("name", [name for name in sorted(PROMISES) if "fine_tune" in name])
def test_fine_tuning_takes_under_40_lines_and_begins_with_a_checkpoint(name):
    text = (FOLDER / f"{name}.py").read_text(encoding="utf-8")
    assert len(text.splitlines()) < 40
    assert ".from_pretrained(checkpoint" in text
