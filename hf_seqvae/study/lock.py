"""One process a run folder: a lock that the system drops with the process that holds it."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LOCK_NAME = "lock"


_PATIENCE = 1.0  # seconds: who only looks holds it for a moment


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a run folder; what a killed process left is taken over.

    Raises:
        ValueError: a living process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK_NAME).open("a+", encoding="utf-8") as file:
        until = time.monotonic() + _PATIENCE
        while not _take(file.fileno(), fcntl.LOCK_EX):
            if time.monotonic() > until:
                raise ValueError(
                    f"{folder} is in use by process {holder(folder)}. Wait for it, or stop it."
                )
            time.sleep(0.05)
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def holder(folder: Path) -> int | None:
    """The id of the living process that holds the lock of a run folder, or None."""
    path = folder / LOCK_NAME
    if not path.is_file():
        return None
    with path.open(encoding="utf-8") as file:
        if _take(file.fileno(), fcntl.LOCK_SH):
            return None
        return int(file.read() or 0)


def _take(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
