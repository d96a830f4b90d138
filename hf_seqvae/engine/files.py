"""Files that survive a kill: written aside, flushed to the disk, put in place by one rename."""

import os
import shutil
import uuid
from collections.abc import Callable
from pathlib import Path

# Every name that is not final yet. A run that starts in the folder sweeps them away.
_NEW = ".new-"
_OLD = ".old-"


def write_folder(target: Path, fill: Callable[[Path], None]) -> Path:
    """Put a folder at `target` that holds what `fill(folder)` writes, whole or not at all.

    Args:
        target: where the folder goes; one that is there already is replaced.
        fill: writes into the empty folder that it is given.
    """
    folder = target.parent / f"{_NEW}{target.name}"
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    fill(folder)
    return commit_folder(folder, target)


def commit_folder(folder: Path, target: Path) -> Path:
    """Flush `folder` to the disk and rename it to `target`, replacing what was there."""
    sync_tree(folder)
    old = target.parent / f"{_OLD}{target.name}"
    if target.exists():
        if old.exists():
            shutil.rmtree(old)
        os.rename(target, old)
    os.rename(folder, target)
    sync_folder(target.parent)
    if old.exists():
        shutil.rmtree(old)
    return target


def new_folder_name(target: Path) -> Path:
    """The name under which `target` is written before it is whole."""
    return target.parent / f"{_NEW}{target.name}"


def copy_folder(source: Path, target: Path, *, leave_out: Callable[[str], bool]) -> Path:
    """Put a copy of the files of `source` at `target`, whole or not at all."""

    def fill(folder: Path) -> None:
        for path in sorted(source.iterdir()):
            if not leave_out(path.name):
                if path.is_dir():
                    shutil.copytree(path, folder / path.name)
                else:
                    shutil.copyfile(path, folder / path.name)

    return write_folder(target, fill)


def write_text(target: Path, text: str) -> None:
    """Put a text file at `target`, whole or not at all."""
    temporary = target.parent / f"{_NEW}{target.name}"
    temporary.write_text(text, encoding="utf-8")
    sync_file(temporary)
    os.replace(temporary, target)
    sync_folder(target.parent)


def remove_folder(folder: Path) -> None:
    """Remove a folder so that a kill in between leaves no half of it under its name."""
    doomed = folder.parent / f"{_NEW}{folder.name}"
    if doomed.exists():
        shutil.rmtree(doomed)
    os.rename(folder, doomed)
    shutil.rmtree(doomed)


def sweep(folder: Path) -> None:
    """Drop the unfinished writes that a kill left in `folder`; finish or undo replacements."""
    if not folder.is_dir():
        return
    for path in sorted(folder.iterdir()):
        if path.name.startswith(_OLD):
            target = folder / path.name.removeprefix(_OLD)
            if target.exists():
                shutil.rmtree(path)
            else:
                os.rename(path, target)
        elif path.name.startswith(_NEW):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)  # the probe of another process


def require_writable(folder: Path) -> None:
    """Make `folder` and write one byte into it.

    Raises:
        ValueError: it cannot be made or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f"{_NEW}probe-{uuid.uuid4().hex}"
        probe.write_bytes(b"0")
        probe.unlink(missing_ok=True)  # another process of the run may be sweeping the folder
    except OSError as error:
        raise ValueError(
            f"output_dir must be a folder that can be written to, got {str(folder)!r}: "
            f"{error.strerror or error}. Choose another with --set output_dir=FOLDER."
        ) from error


def sync_tree(folder: Path) -> None:
    """Flush every file and folder below `folder` to the disk."""
    for path in sorted(folder.rglob("*")):
        sync_folder(path) if path.is_dir() else sync_file(path)
    sync_folder(folder)


def sync_file(path: Path) -> None:
    """Flush one file to the disk."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def sync_folder(path: Path) -> None:
    """Flush the names in a folder to the disk, where the system can (POSIX)."""
    if os.name != "posix":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
