"""Folders that are whole or not there, whichever system call a kill comes before."""

import os
import shutil
from pathlib import Path

import pytest

from hf_seqvae.engine.files import (
    copy_folder,
    remove_folder,
    require_writable,
    sweep,
    write_folder,
    write_text,
)


class Killed(BaseException):
    """Stands for SIGKILL: nothing that the code does catches it."""


@pytest.fixture
def kill_before(monkeypatch):
    """kill_before(n): the n-th system call of files.py from now on (from 0) is not made."""
    calls = {"left": None}

    def guarded(function):
        def call(*arguments, **options):
            if calls["left"] == 0:
                raise Killed
            if calls["left"] is not None:
                calls["left"] -= 1
            return function(*arguments, **options)

        return call

    for module, name in [
        (os, "fsync"),
        (os, "rename"),
        (os, "replace"),
        (shutil, "rmtree"),
        (shutil, "copyfile"),
    ]:
        monkeypatch.setattr(module, name, guarded(getattr(module, name)))

    def arm(count):
        calls["left"] = count

    return arm


def fill(text):
    def write(folder):
        (folder / "a").write_text(text)
        (folder / "b").write_text(text)

    return write


def content(folder):
    return {path.name: path.read_text() for path in folder.iterdir()}


@pytest.mark.parametrize("count", range(12))
def test_a_replaced_folder_is_the_old_or_the_new_one_after_a_kill(tmp_path, kill_before, count):
    target = tmp_path / "best"
    write_folder(target, fill("old"))
    kill_before(count)
    try:
        write_folder(target, fill("new"))
        killed = False
    except Killed:
        killed = True
    kill_before(None)
    sweep(tmp_path)
    assert content(target) in ([{"a": "old", "b": "old"}] if killed else []) + [
        {"a": "new", "b": "new"}
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["best"]


def test_the_kills_above_reach_every_call(tmp_path, kill_before):
    write_folder(tmp_path / "best", fill("old"))
    kill_before(11)
    write_folder(tmp_path / "best", fill("new"))  # fewer than 12 calls: no Killed


@pytest.mark.parametrize("count", range(2))
def test_a_removed_folder_is_whole_or_gone_after_a_kill(tmp_path, kill_before, count):
    target = write_folder(tmp_path / "step", fill("old"))
    kill_before(count)
    with pytest.raises(Killed):
        remove_folder(target)
    kill_before(None)
    sweep(tmp_path)
    assert not target.exists() or content(target) == {"a": "old", "b": "old"}
    assert target.exists() == (count == 0)


@pytest.mark.parametrize("count", range(2))
def test_a_text_file_is_the_old_or_the_new_one_after_a_kill(tmp_path, kill_before, count):
    write_text(tmp_path / "report.json", "old")
    kill_before(count)
    with pytest.raises(Killed):
        write_text(tmp_path / "report.json", "new")
    kill_before(None)
    sweep(tmp_path)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [
        ("report.json", "old")
    ]


def test_a_copy_leaves_out_what_it_is_told_to(tmp_path):
    source = write_folder(tmp_path / "source", fill("x"))
    copy_folder(source, tmp_path / "copy", leave_out=lambda name: name == "b")
    assert content(tmp_path / "copy") == {"a": "x"}


def test_a_folder_that_cannot_be_made_is_refused_with_the_cure(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=r"a folder that can be written to.*--set"):
        require_writable(tmp_path / "file" / "run")


def test_a_writable_folder_is_left_empty(tmp_path):
    require_writable(tmp_path / "new" / "run")
    assert list((tmp_path / "new" / "run").iterdir()) == []


def test_processes_that_try_and_sweep_one_folder_do_not_trip_over_each_other(tmp_path, monkeypatch):
    """Each writes a probe and removes it, while another may sweep all unfinished writes away."""
    gone = tmp_path / ".new-probe-of-another-process"
    with monkeypatch.context() as patch:
        patch.setattr(Path, "iterdir", lambda folder: iter([gone]))
        sweep(tmp_path)
    monkeypatch.setattr(Path, "write_bytes", lambda path, data: None)  # swept away at once
    require_writable(tmp_path)
