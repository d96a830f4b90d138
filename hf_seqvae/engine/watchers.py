"""Who is told of a run as it goes: curves, trackers, and whatever has these four methods."""

import logging
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

from accelerate import Accelerator

from hf_seqvae.engine.progress import Progress

logger = logging.getLogger(__name__)


class Watcher(Protocol):
    """What the loop tells, on the main process alone."""

    def start(self, progress: Progress, num_steps: int | None) -> None:
        """Training begins or goes on; `num_steps` of the whole run, None where unknown."""

    def step(self) -> None:
        """One more optimiser update."""

    def line(self, line: Mapping[str, Any]) -> None:
        """A line of the log was written."""

    def close(self) -> None:
        """Training ended, by itself or not."""


class Trackers:
    """Accelerate's trackers: tensorboard and the others that it knows."""

    def __init__(
        self, accelerator: Accelerator, project: str, config: Mapping[str, Any] | None = None
    ) -> None:
        self.accelerator = accelerator
        self.project = project
        self.config = dict(config or {})

    def start(self, progress: Progress, num_steps: int | None) -> None:
        """Open them; tensorboard drops what a killed run wrote after this step."""
        self.accelerator.init_trackers(
            self.project,
            config=_flat(self.config),
            init_kwargs={"tensorboard": {"purge_step": progress.step + 1}},
        )

    def step(self) -> None:
        """Nothing."""

    def line(self, line: Mapping[str, Any]) -> None:
        """Pass on every number."""
        values = {name: value for name, value in line.items() if name != "step"}
        self.accelerator.log(values, step=line["step"])

    def close(self) -> None:
        """Close them."""
        self.accelerator.end_training()


def close_all(watchers: Iterable[Watcher], *, failed: bool) -> None:
    """Close each watcher, whatever another one cannot write.

    Args:
        watchers: which.
        failed: whether an error is on its way already, which this is not to hide.
    """
    refused = None
    for watcher in watchers:
        try:
            watcher.close()
        except OSError as error:
            refused = error
    if refused is not None and not failed:
        raise refused


class Curves:
    """curves.png, drawn after validations, at most every `seconds`, and when training ends.

    Args:
        log_path: log.jsonl.
        path: the image.
        seconds: between two drawings.
        options: further arguments of `plots.training_curves`.
    """

    def __init__(
        self, log_path: Path, path: Path, *, seconds: float = 10.0, **options: Any
    ) -> None:
        self.log_path = log_path
        self.path = path
        self.seconds = seconds
        self.options = options
        self._drawn = 0.0
        self._pending = False

    def start(self, progress: Progress, num_steps: int | None) -> None:
        """The first drawing waits too: short runs are drawn once."""
        self._drawn = time.monotonic()

    def step(self) -> None:
        """Nothing."""

    def line(self, line: Mapping[str, Any]) -> None:
        """Draw after a validation."""
        self._pending = self._pending or "eval/elbo" in line
        if self._pending and time.monotonic() - self._drawn > self.seconds:
            self._draw()

    def close(self) -> None:
        """Draw what was not drawn yet."""
        if self._pending:
            self._draw()

    def _draw(self) -> None:
        from hf_seqvae.plots import training_curves  # matplotlib takes a second

        try:
            training_curves(self.log_path, self.path, **self.options)
        except OSError as error:  # no reason to end a run; the log can be drawn later
            logger.warning("%s could not be written: %s", self.path, error)
        self._drawn, self._pending = time.monotonic(), False


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested options by full key; trackers take numbers, words and booleans."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value if isinstance(value, int | float | str) else str(value)
    return flat
