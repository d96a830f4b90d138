"""The lock of a run folder, across processes and kills."""

import errno
import os
import signal
import subprocess
import sys

import pytest

from hf_seqvae.engine import lock
from hf_seqvae.engine.lock import holder, locked

HOLD = """
import importlib.util, sys, time
from pathlib import Path
spec = importlib.util.spec_from_file_location("lock", sys.argv[2])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
with module.locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def other(tmp_path):
    """A process that holds the lock of `tmp_path`."""
    command = [sys.executable, "-c", HOLD, str(tmp_path), lock.__file__]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_second_process_is_refused_and_told_who_holds_it(tmp_path, other, monkeypatch):
    monkeypatch.setattr(lock, "_PATIENCE", 0.0)
    assert holder(tmp_path) == other.pid
    with pytest.raises(ValueError, match=f"in use by process {other.pid}"), locked(tmp_path):
        pass


def test_the_lock_of_a_killed_process_is_taken_over(tmp_path, other):
    os.kill(other.pid, signal.SIGKILL)
    other.wait()
    assert holder(tmp_path) is None
    with locked(tmp_path):
        assert (tmp_path / "lock").read_text() == str(os.getpid())


def test_a_folder_is_free_again_after_use(tmp_path):
    with locked(tmp_path):
        assert holder(tmp_path) == os.getpid()
    assert holder(tmp_path) is None


def test_who_holds_a_folder_goes_on_holding_it(tmp_path):
    with locked(tmp_path):
        with locked(tmp_path / "." / "x" / ".."):
            pass
        assert holder(tmp_path) == os.getpid()
    assert holder(tmp_path) is None


def test_where_a_file_system_has_no_locks_nothing_is_watched(tmp_path, monkeypatch):
    def refuse(descriptor, kind):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(lock.fcntl, "flock", refuse)
    with locked(tmp_path):
        assert holder(tmp_path) is None
