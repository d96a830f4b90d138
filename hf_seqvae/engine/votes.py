"""What processes agree on at every step: the size of the batch, whether to stop."""

from dataclasses import dataclass
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor


@dataclass(frozen=True)
class Verdict:
    """What some process said.

    Attributes:
        stop: a signal came.
        not_finite: a sum is NaN or infinite.
    """

    stop: bool = False
    not_finite: bool = False


def sum_over_processes(accelerator: Accelerator, value: Tensor) -> Tensor:
    """The sum of a tensor over all processes, which must all call this."""
    if accelerator.num_processes == 1:
        return value
    total: Any = accelerator.reduce(value, reduction="sum")
    return total


class Votes:
    """One small sum over processes a step.

    The answer to "stop?" is read after the step was sent off, when it has long arrived: a GPU does
    not wait for it, and every process reads the same at the same step.
    """

    def __init__(self, accelerator: Accelerator) -> None:
        self.accelerator = accelerator
        self._pending: Tensor | None = None

    def count(self, num_items: int, *, stop: bool, finite: Tensor) -> int | Tensor:
        """The items of the global batch; alone the number, among many a tensor on the device."""
        device = self.accelerator.device
        own = torch.tensor([num_items, stop, 0.0], device=device, dtype=_dtype(device))
        own[2] = (~finite).to(own.dtype)
        self._pending = total = sum_over_processes(self.accelerator, own)
        return total[0].float()

    def verdict(self) -> Verdict:
        """What was said at the `count` before; nothing before the first."""
        if self._pending is None:
            return Verdict()
        _, stop, not_finite = self._pending.tolist()
        return Verdict(stop > 0, not_finite > 0)

    def agree(self, flag: bool) -> bool:
        """Whether any process says so; waits for all."""
        own = torch.tensor(float(flag), device=self.accelerator.device)
        return bool(sum_over_processes(self.accelerator, own).item())


def _dtype(device: torch.device) -> torch.dtype:
    return torch.float32 if device.type == "mps" else torch.float64
