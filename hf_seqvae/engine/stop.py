"""Ctrl-C and SIGTERM: a request to stop after the step that is going on."""

import logging
import signal
import threading
import time
from types import FrameType, TracebackType

logger = logging.getLogger(__name__)

# launchers send the same request twice at once; a person who presses twice means it
_SAME_REQUEST_SECONDS = 1.0


class StopSignals:
    """Within `with`, notes SIGINT and SIGTERM instead of dying; a later second one acts at once.

    Attributes:
        received: the number of the first signal, or None.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self._time = 0.0
        self._before: dict[int, object] = {}

    def __enter__(self) -> "StopSignals":
        # only the main thread may set handlers; elsewhere its owner keeps them
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._restore()

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.received is None:
            self.received, self._time = number, time.monotonic()
            logger.warning(
                "%s: finishing this step and saving; send it again to stop at once.",
                signal.Signals(number).name,
            )
        elif time.monotonic() - self._time > _SAME_REQUEST_SECONDS:
            self._restore()
            signal.raise_signal(number)

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # pyright: ignore[reportArgumentType]
        self._before = {}
