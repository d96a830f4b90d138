"""What the loop asks of a loader of batches: epochs by number, a place to go on from."""

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from torch import Tensor


class Loader(Protocol):
    """This process's share of the global batches, such as `hf_seqvae.data.build_loader` makes."""

    def set_epoch(self, epoch: int, start_batch: int = 0) -> None:
        """Make the next iteration epoch `epoch` (from 0): its order is a function of that."""

    def state_dict(self) -> dict[str, Any]:
        """The place after the last batch handed out: plain values, for JSON."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Make the next iteration go on from that place."""

    def __iter__(self) -> Iterator[Mapping[str, Tensor]]: ...


def epoch_length(loader: Any) -> int | None:
    """Global batches an epoch; None for a stream, which cannot tell."""
    try:
        return len(loader)
    except TypeError:
        return None
