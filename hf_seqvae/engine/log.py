"""The log of a run: sums on the device between two lines, and log.jsonl."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor

from hf_seqvae.engine.votes import sum_over_processes
from hf_seqvae.run_log import read_log


class LogSums:
    """Sums of an objective's logs since the last line, on the device, which nothing waits for."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        # mps has no float64
        self.dtype = torch.float32 if device.type == "mps" else torch.float64
        self.sums: dict[str, Tensor] = {}
        self.beta = 0.0

    def add(self, logs: Mapping[str, Any]) -> None:
        """Add one micro-batch: tensors are summed, `beta` is remembered."""
        for name, value in logs.items():
            if name == "beta":
                self.beta = float(value)
            elif name in self.sums:
                self.sums[name] += value
            else:
                self.sums[name] = value.detach().to(self.device, self.dtype, copy=True)

    def is_finite(self) -> Tensor:
        """Whether no sum is NaN or infinite: a bool on the device, nothing waited for."""
        if not self.sums:
            return torch.ones((), dtype=torch.bool, device=self.device)
        return torch.stack(list(self.sums.values())).isfinite().all()

    def reduce(self, accelerator: Accelerator) -> dict[str, float]:
        """The sums over all processes."""
        values = sum_over_processes(accelerator, torch.stack(list(self.sums.values())))
        return dict(zip(self.sums, values.tolist(), strict=True))

    def clear(self) -> None:
        """Start the next line."""
        self.sums = {}

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps of this process."""
        return {
            "sums": {name: value.cpu() for name, value in self.sums.items()},
            "beta": self.beta,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up `state_dict()` again."""
        self.sums = {
            name: value.to(self.device, self.dtype, copy=True)
            for name, value in state["sums"].items()
        }
        self.beta = state["beta"]


class RunLog:
    """log.jsonl: one JSON object a line, in the order of the steps."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, line: Mapping[str, Any]) -> None:
        """Write one line and hand it to the system, so that a killed process loses none."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def sync(self) -> int:
        """Flush the log to the disk; its length in bytes."""
        if not self.path.exists():
            return 0
        with self.path.open("rb+") as file:
            os.fsync(file.fileno())
            return file.seek(0, os.SEEK_END)

    def cut(self, length: int) -> None:
        """Drop what was written after the first `length` bytes.

        Raises:
            ValueError: the log is shorter than that.
        """
        size = self.path.stat().st_size if self.path.exists() else 0
        if size < length:
            raise ValueError(
                f"{self.path} has {size} bytes, fewer than the {length} of its checkpoint: it was "
                f"changed by hand. Put it back, or start again with resume=False (--fresh)."
            )
        if size > length:
            os.truncate(self.path, length)

    def read(self) -> list[dict[str, Any]]:
        """All lines.

        Raises:
            ValueError: one of them is damaged.
        """
        if not self.path.exists():
            return []
        return read_log(self.path)
