"""A full disk, a NaN, a signal: the run ends with the last good checkpoint kept and named."""

import os
import resource
import signal
from pathlib import Path

import pytest
import torch
from engine_standins import (
    MemoryLoader,
    assert_same_weights,
    make_engine,
    read_log,
    weights,
)

from hf_seqvae.engine import CheckpointWriteError, LossNotFiniteError, TrainingInterrupted
from hf_seqvae.engine.watchers import Curves


def names(folder):
    return sorted(path.name for path in (folder / "checkpoints").iterdir())


@pytest.fixture
def full_disk():
    """full_disk(n): from now on the system refuses to let a file grow beyond n bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


# the sizes stop, in turn: the optimiser's state (some 15 kB), the weights (some 6 kB), the log
@pytest.mark.parametrize("size", [9000, 3000, 1])
def test_a_full_disk_ends_the_run_with_the_last_good_checkpoint(tmp_path, full_disk, size):
    def fill_disk(epoch, batch):
        if (epoch, batch) == (1, 2):
            full_disk(size)

    engine = make_engine(tmp_path, loader=MemoryLoader(on_batch=fill_disk), save_steps=None)
    with pytest.raises(CheckpointWriteError, match="step-00000004") as caught:
        engine.fit()
    full_disk(resource.RLIM_INFINITY)
    assert caught.value.checkpoint == tmp_path / "checkpoints" / "step-00000004"
    assert names(tmp_path) == ["step-00000004"]  # nothing half-written either
    # and the run goes on from there once there is room
    whole = make_engine(tmp_path / "whole", save_steps=None)
    whole.fit()
    resumed = make_engine(tmp_path, save_steps=None)
    resumed.fit()
    assert_same_weights(weights(resumed), weights(whole))


def poison(engine, step):
    """Make one weight NaN after `step` updates, as a diverging update would."""
    update = engine.update.step

    def poisoned(batch, done, num_items, sums):
        seen = update(batch, done, num_items, sums)
        if done + 1 == step:
            with torch.no_grad():
                next(engine.trained.model.parameters()).view(-1)[0] = float("nan")
        return seen

    engine.update.step = poisoned


@pytest.mark.parametrize("step", [5, 6, 8])
def test_a_nan_ends_the_run_before_it_reaches_a_checkpoint(tmp_path, step):
    engine = make_engine(tmp_path, save_steps=None)
    poison(engine, step)
    with pytest.raises(LossNotFiniteError, match=r"NaN or infinite.*step-00000004"):
        engine.fit()
    assert names(tmp_path) == ["step-00000004"]


def test_a_nan_before_the_first_checkpoint_says_that_there_is_none(tmp_path):
    engine = make_engine(tmp_path, save_steps=None)
    poison(engine, 1)
    with pytest.raises(LossNotFiniteError, match="No checkpoint was written before") as caught:
        engine.fit()
    assert caught.value.checkpoint is None


@pytest.mark.parametrize(
    ("number", "exit_code", "name"),
    [(signal.SIGTERM, 143, "SIGTERM"), (signal.SIGINT, 130, "Ctrl-C")],
)
def test_a_signal_finishes_the_step_saves_and_says_how_to_go_on(tmp_path, number, exit_code, name):
    def send(epoch, batch):
        if (epoch, batch) == (1, 2):
            os.kill(os.getpid(), number)

    before = signal.getsignal(number)
    engine = make_engine(
        tmp_path / "run",
        loader=MemoryLoader(on_batch=send),
        save_steps=None,
        resume_command="hf-seqvae train X",
    )
    with pytest.raises(TrainingInterrupted, match=f"{name}.*\n  hf-seqvae train X") as caught:
        engine.fit()
    assert caught.value.exit_code == exit_code
    assert caught.value.checkpoint == tmp_path / "run" / "checkpoints" / "step-00000006"
    assert signal.getsignal(number) is before
    resumed, whole = (
        make_engine(tmp_path / "run", save_steps=None),
        make_engine(tmp_path / "whole", save_steps=None),
    )
    resumed.fit(), whole.fit()
    assert_same_weights(weights(resumed), weights(whole))
    assert read_log(tmp_path / "run") == read_log(tmp_path / "whole")


def test_a_signal_in_a_validation_lets_it_end_first(tmp_path):
    def evaluate(model):
        os.kill(os.getpid(), signal.SIGTERM)
        return {"eval/elbo": -1.0}

    with pytest.raises(TrainingInterrupted) as caught:
        make_engine(tmp_path, evaluator=evaluate, save_steps=None).fit()
    assert caught.value.checkpoint.name == "step-00000004"
    assert "eval/elbo" in read_log(tmp_path)[-1]


def test_curves_that_cannot_be_written_end_no_run(tmp_path, caplog):
    (tmp_path / "file").write_text("")
    curves = Curves(tmp_path / "log.jsonl", tmp_path / "file" / "curves.png")
    make_engine(tmp_path, epochs=1, watchers=[curves]).fit()
    assert "curves.png could not be written" in caplog.text


def test_an_unwritable_folder_is_refused_before_any_step(tmp_path):
    (tmp_path / "file").write_text("")
    steps = []
    loader = MemoryLoader(on_batch=lambda *place: steps.append(place))
    with pytest.raises(ValueError, match="output_dir must be a folder that can be written to"):
        make_engine(Path(tmp_path / "file" / "run"), loader=loader).fit()
    assert steps == []


class Refusing:
    """A watcher whose disk is full from a step on."""

    def __init__(self, step):
        self.left, self.closed = step, False

    def start(self, progress, num_steps): ...

    def step(self):
        self.left -= 1
        if self.left < 0:
            raise OSError(28, "No space left on device")

    def line(self, line): ...

    def close(self):
        self.closed = True
        if self.left < 0:
            raise OSError(28, "No space left on device")


def test_a_watcher_that_cannot_write_ends_the_run_with_the_checkpoint_and_hides_no_other(tmp_path):
    watchers = [Refusing(6), Refusing(99)]
    engine = make_engine(tmp_path, save_steps=None, watchers=watchers)
    with pytest.raises(CheckpointWriteError, match="No space left.*step-00000004"):
        engine.fit()
    assert all(watcher.closed for watcher in watchers)


def test_a_watcher_that_cannot_be_closed_is_an_error_of_its_own(tmp_path):
    watcher = Refusing(99)
    watcher.close = lambda: (_ for _ in ()).throw(OSError(28, "No space left on device"))
    with pytest.raises(OSError, match="No space"):
        make_engine(tmp_path, watchers=[watcher]).fit()
