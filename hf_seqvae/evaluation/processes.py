"""The processes of an evaluation: which share is mine, and what the others found."""

import atexit
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any


def _alone(value: Any) -> list[Any]:
    return [value]


@dataclass(frozen=True)
class Processes:
    """One process, or one of several that evaluate together.

    Attributes:
        rank: this one, 0 to `count` - 1.
        count: how many there are.
        gather: a value of this process -> those of all, in the order of the ranks, on each.
    """

    rank: int = 0
    count: int = 1
    gather: Callable[[Any], list[Any]] = _alone

    @property
    def is_first(self) -> bool:
        """Whether this process writes and speaks."""
        return self.rank == 0

    @contextmanager
    def first_before_others(self) -> Iterator[None]:
        """The first process goes through the block alone: the others then find its cache.

        They also go where it fails, and fail in the same way.
        """
        if not self.is_first:
            self.gather(None)
        try:
            yield
        finally:
            if self.is_first:
                self.gather(None)


def launched_processes(*, cpu: bool = False) -> Processes:
    """The processes that torch's launcher or `accelerate launch` started, joined; or one alone.

    Args:
        cpu: join by gloo, on the processor, also where there is a GPU.
    """
    if os.environ.get("WORLD_SIZE", "1") == "1":
        return Processes()
    import torch
    from accelerate import PartialState
    from accelerate.utils import gather_object

    state = PartialState(cpu=cpu or not torch.accelerator.is_available())
    leave_at_exit()
    return Processes(
        rank=state.process_index,
        count=state.num_processes,
        gather=lambda value: gather_object([value]),
    )


def leave_at_exit() -> None:
    """Leave the group of processes, if there is one, before the interpreter ends.

    Threads of gloo that still wait then would abort a process whose work is done.
    """
    atexit.register(_leave)


def _leave() -> None:
    from torch import distributed

    if distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()
