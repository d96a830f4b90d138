"""One process a run folder: a lock that the system drops with the process that holds it."""

import errno
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows: nothing watches there
    fcntl = None

LOCK_NAME = "lock"


_PATIENCE = 1.0  # seconds: who only looks holds it for a moment
_WITHOUT_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)  # of some network file systems
_held: set[Path] = set()


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a run folder; what a killed process left is taken over.

    A process that holds it already goes on holding it.

    Raises:
        ValueError: another living process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    key = folder.resolve()
    if key in _held:
        yield
        return
    with (folder / LOCK_NAME).open("a+", encoding="utf-8") as file:
        until = time.monotonic() + _PATIENCE
        while not _take(file.fileno(), exclusive=True):
            if time.monotonic() > until:
                raise ValueError(
                    f"{folder} is in use by process {holder(folder)}. Wait for it, or stop it."
                )
            time.sleep(0.05)
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        _held.add(key)
        try:
            yield
        finally:
            _held.remove(key)


def holder(folder: Path) -> int | None:
    """The id of the living process that holds the lock of a run folder, or None."""
    path = folder / LOCK_NAME
    if not path.is_file():
        return None
    with path.open(encoding="utf-8") as file:
        if _take(file.fileno(), exclusive=False):
            return None
        return int(file.read() or 0)


def _take(descriptor: int, *, exclusive: bool) -> bool:
    if fcntl is None:
        return True
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _WITHOUT_LOCKS:
            raise
    return True
