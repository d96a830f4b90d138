"""Tokenised data sets -> loaders of padded batches."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from hf_seqvae.data.batching import ZERO_WEIGHT_ROW, BucketBatchSampler
from hf_seqvae.data.collate import IGNORED_LABEL
from hf_seqvae.data.streaming import StreamingBatches

Row = dict[str, Any]


class ArrowRows(TorchDataset[Row]):
    """Rows of a tokenised data set, a whole batch in one access to the memory-mapped file.

    Index `ZERO_WEIGHT_ROW` is a row whose labels are all -100, which weighs nothing.

    Args:
        dataset: the rows.
        extra_columns: columns of one value a row.
        columns: those of a list of numbers a row, labels among them.
    """

    def __init__(
        self,
        dataset: Dataset,
        extra_columns: Sequence[str] = (),
        columns: Sequence[str] = ("input_ids", "labels"),
    ):
        names = [*columns, *extra_columns]
        missing = [name for name in names if name not in dataset.column_names]
        if missing:
            raise ValueError(
                f"the data set has no column {missing[0]!r}, only {dataset.column_names}: "
                "tokenize() makes it."
            )
        self._rows = dataset.select_columns(names).with_format("arrow")
        self._lists = list(columns)
        self._scalars = list(extra_columns)

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> Row:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[Row]:
        """One row an index; lists are views into one array a column."""
        real = [0 if index == ZERO_WEIGHT_ROW else index for index in indices]
        table: Any = self._rows[real]
        columns: dict[str, Any] = {
            name: _split(table.column(name).combine_chunks()) for name in self._lists
        }
        columns.update({name: table.column(name).to_pylist() for name in self._scalars})
        rows = [
            dict(zip(columns, values, strict=True))
            for values in zip(*columns.values(), strict=True)
        ]
        for row, index in zip(rows, indices, strict=True):
            if index == ZERO_WEIGHT_ROW:
                row["labels"] = np.full_like(row["labels"], IGNORED_LABEL)
        return rows


class BatchLoader(DataLoader[Any]):
    """A DataLoader whose place within an epoch can be saved and taken up again, batch for batch."""

    def __init__(self, source: BucketBatchSampler | StreamingBatches, **options: Any):
        self._source = source
        self._given = 0  # batches handed out of the epoch, not those that workers fetched ahead
        # an iteration draws a seed for its workers: from here, not from the generator of the model
        super().__init__(generator=torch.Generator().manual_seed(0), **options)

    def set_epoch(self, epoch: int, start_batch: int = 0) -> None:
        """Makes the next iteration epoch `epoch` without its first `start_batch` batches."""
        self._source.set_epoch(epoch, start_batch)
        self._given = start_batch

    def state_dict(self) -> dict[str, Any]:
        """The place after the last batch that was handed out: plain numbers and strings."""
        if isinstance(self._source, StreamingBatches):
            return self._source.state_dict()
        return {"epoch": self._source.epoch, "batch": self._given}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Makes the next iteration go on from a place that `state_dict` named."""
        if isinstance(self._source, StreamingBatches):
            self._source.load_state_dict(state)
        else:
            self.set_epoch(state["epoch"], state["batch"])

    @property
    def smallest_batch(self) -> int | None:
        """Rows of the smallest global batch; None of a stream, which cannot tell."""
        return None if isinstance(self._source, StreamingBatches) else self._source.smallest_batch

    def draw(self, generator: np.random.Generator) -> Any:
        """One batch at random, whatever the place within the epoch; a stream has none to draw."""
        if isinstance(self._source, StreamingBatches):
            raise ValueError("a stream is read in its order: no batch of it can be drawn.")
        rows: Any = self.dataset
        return self.collate_fn(rows.__getitems__(self._source.draw(generator)))

    def __iter__(self) -> Iterator[Any]:  # pyright: ignore[reportIncompatibleMethodOverride]
        if isinstance(self._source, BucketBatchSampler):
            self._given = self._source.start_batch
        for batch in super().__iter__():
            self._given += 1
            yield batch


def build_loader(
    tokenised: Dataset,
    collator: Callable[[list[Row]], Any],
    sampler: BucketBatchSampler,
    *,
    num_workers: int = 0,
    pin_memory: bool = False,
) -> BatchLoader:
    """The loader of this process's share of every global batch that `sampler` makes.

    It is already divided among processes: do not let Accelerate divide it again.
    """
    if len(sampler.lengths) != len(tokenised):
        raise ValueError(
            f"the sampler knows {len(sampler.lengths)} rows and the data set has {len(tokenised)}: "
            "make it from row_lengths(tokenised)."
        )
    return BatchLoader(
        sampler,
        dataset=ArrowRows(
            tokenised,
            getattr(collator, "extra_columns", ()),
            getattr(collator, "columns", ("input_ids", "labels")),
        ),
        batch_sampler=sampler,
        collate_fn=collator,
        num_workers=num_workers,
        persistent_workers=num_workers > 0,
        pin_memory=pin_memory,
    )


def build_stream_loader(stream: StreamingBatches, *, pin_memory: bool = False) -> BatchLoader:
    """The loader of a stream, in this process: its place is known to the row."""
    return BatchLoader(stream, dataset=stream, batch_size=None, pin_memory=pin_memory)


def indexed(loader: BatchLoader) -> Iterator[dict[str, Tensor]]:
    """The batches of an unshuffled loader with `index` (B,), each row's place in the data set."""
    sampler: Any = loader.batch_sampler
    for rows, batch in zip(sampler, loader, strict=True):
        yield {**batch, "index": torch.tensor(rows)}


def _split(lists: Any) -> list[np.ndarray]:
    """An Arrow list array -> one view a row."""
    values, offsets = lists.values.to_numpy(), lists.offsets.to_numpy()
    return [values[a:b] for a, b in zip(offsets[:-1], offsets[1:], strict=True)]
