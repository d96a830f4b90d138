"""The engine's ear: hears the lines of the log, and after a resume first those before it."""

import logging
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from hf_seqvae.callbacks.watch import CollapseWatch, Schedule, observation_in

logger = logging.getLogger(__name__)


class Log(Protocol):
    """What has lines that can be read again."""

    def read(self) -> Iterable[Mapping[str, Any]]:
        """All lines."""
        ...


class CollapseWatcher:
    """Warns once when the latent collapses in a run of the engine.

    Args:
        beta: the objective's schedule.
        log: of the run.
        num_sentences: of a validation.
        setup: of `diagnosis.known_setup`.
    """

    def __init__(
        self,
        beta: Schedule,
        log: Log,
        *,
        num_sentences: int | None = None,
        setup: Mapping[str, Any] | None = None,
    ) -> None:
        self.beta = beta
        self.log = log
        self.options = {"num_sentences": num_sentences, "setup": setup}
        self.watch = CollapseWatch(**self.options)

    def start(self, progress: Any, num_steps: int | None) -> None:
        """Go over the log again: what was warned of before is not warned of twice."""
        self.watch = CollapseWatch.of_schedule(self.beta, num_steps, **self.options)
        for line in self.log.read():
            self._heard(line)

    def step(self) -> None:
        """Nothing."""

    def line(self, line: Mapping[str, Any]) -> None:
        """Judge a validation."""
        warning = self._heard(line)
        if warning is not None:
            logger.warning(warning)

    def close(self) -> None:
        """Nothing."""

    def _heard(self, line: Mapping[str, Any]) -> str | None:
        if "eval/kl" not in line:
            return None
        return self.watch.observe(observation_in(line, "eval/", self.beta))
