"""What training a run costs, in seconds: summed over sittings, across kills."""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from hf_seqvae.engine.progress import Progress
from hf_seqvae.run_log import read_log


class Cost(NamedTuple):
    """Seconds of training up to a step, validations included: by the clock, of the processor."""

    step: int
    wall: float
    cpu: float


class Stopwatch:
    """Writes what training has cost so far beside the log: at its lines, and at checkpoints.

    A killed run goes on from its checkpoint: what was spent after that is spent again, and is
    dropped here, so that the sum is that of a run that was never killed, but for the seconds that
    saving the checkpoint took.

    Args:
        path: JSON, one list [step, wall, cpu] a line.
        save_steps: steps between two checkpoints; None for those at lines of the log alone.
    """

    def __init__(self, path: Path, save_steps: int | None = None) -> None:
        self.path = path
        self.save_steps = save_steps
        self._before = Cost(0, 0.0, 0.0)
        self._started = (0.0, 0.0)
        self._step = self._written = 0

    def start(self, progress: Progress, num_steps: int | None) -> None:
        """Keep what was spent up to the checkpoint that training goes on from."""
        kept = [cost for cost in read_costs(self.path) if cost.step <= progress.step]
        self.path.write_text("".join(json.dumps(cost) + "\n" for cost in kept), encoding="utf-8")
        self._before = kept[-1] if kept else self._before
        self._started = (time.monotonic(), time.process_time())
        self._step = self._written = progress.step

    def step(self) -> None:
        """Count, and write where a checkpoint follows."""
        self._step += 1
        if self.save_steps and self._step % self.save_steps == 0:
            self._write()

    def line(self, line: Mapping[str, Any]) -> None:
        """Write, when the log does."""
        self._write()

    def close(self) -> None:
        """Write where a signal ended the sitting between two lines of the log."""
        if self._step > self._written:
            self._write()

    def _write(self) -> None:
        wall = self._before.wall + time.monotonic() - self._started[0]
        cpu = self._before.cpu + time.process_time() - self._started[1]
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps([self._step, round(wall, 3), round(cpu, 3)]) + "\n")
        self._written = self._step


def read_costs(path: Path) -> list[Cost]:
    """What a `Stopwatch` wrote, by step; a line that a kill cut short is left out.

    Raises:
        ValueError: any other line is damaged.
    """
    if not path.is_file():
        return []
    records: list[Any] = read_log(path)
    for record in records:
        if not isinstance(record, list) or [type(item) for item in record] != [int, float, float]:
            raise ValueError(
                f"{path} must hold a list [step, wall seconds, CPU seconds] a line, got "
                f"{record!r}. Remove the line or restore the file."
            )
    return [Cost(*record) for record in records]
