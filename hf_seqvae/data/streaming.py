"""Batches from a stream of text: for what does not fit on the disk, resumed to the row."""

import copy
import itertools
import json
import logging
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from datasets import IterableDataset
from torch.utils.data import IterableDataset as TorchIterable

from hf_seqvae.data.batching import ZERO_WEIGHT_ROW, bucket, check_batch, cut_sorted, rank_rows
from hf_seqvae.data.collate import IGNORED_LABEL
from hf_seqvae.data.encoding import COLUMNS, TextEncoder

logger = logging.getLogger(__name__)


class StreamingBatches(TorchIterable[Any]):
    """Padded batches of a stream: windows of texts are tokenised, bucketed by length and shuffled.

    The order is a pure function of (seed, epoch) and the stream, which gives its rows in order (a
    stream of several shards takes them in a new order each epoch). Every process reads the whole
    stream and takes rows `rank::num_processes` of each global batch. Texts without a token are
    left out and texts that are too long are cut; both are counted and said after each epoch.

    Its state holds the stream's own state where the current window begins, and the batches given
    out of the window: resuming reads that window again. A stream that does not repeat itself (a
    shuffle buffer, changed data) is found out and refused.

    Args:
        stream: with texts in column "text", not shuffled by a buffer.
        encoder: texts -> rows.
        collator: rows -> batch.
        batch_size, tokens_per_batch, seed, rank, num_processes: as of `BucketBatchSampler`.
        window: texts that are sorted and shuffled together, rounded up to whole batches; the more,
            the better shuffled and the less padding.
    """

    def __init__(
        self,
        stream: IterableDataset,
        encoder: TextEncoder,
        collator: Callable[[list[dict[str, Any]]], Any],
        *,
        batch_size: int | None = None,
        tokens_per_batch: int | None = None,
        seed: int = 0,
        window: int = 4096,
        rank: int = 0,
        num_processes: int = 1,
    ):
        check_batch(batch_size, tokens_per_batch, rank, num_processes)
        if seed < 0 or window < 1:
            raise ValueError(
                f"seed must be 0 or more and window 1 or more, got seed={seed}, window={window}."
            )
        self._stream = stream
        self._encoder = encoder
        self._collator = collator
        self._batch_size = batch_size
        self._tokens_per_batch = tokens_per_batch
        self._seed = seed
        self._window = window if batch_size is None else -(-window // batch_size) * batch_size
        self._rank = rank
        self._num_processes = num_processes
        self.set_epoch(0)

    def set_epoch(self, epoch: int, start_batch: int = 0) -> None:
        """Makes the next iteration epoch `epoch` without its first `start_batch` batches.

        These are read and tokenised nevertheless: `load_state_dict` goes on without that.
        """
        if epoch < 0 or start_batch < 0:
            raise ValueError(
                f"epoch and start_batch must be 0 or more, got {epoch} and {start_batch}."
            )
        self._start: dict[str, Any] = {
            "epoch": epoch,
            "window": 0,
            "batch": 0,  # given out of the window
            "stream": None,  # the stream's state where the window begins
            "digest": None,  # of the window's texts
        }
        self._skip = start_batch
        self._state = self._start

    def state_dict(self) -> dict[str, Any]:
        """The place after the last batch that was given: plain numbers and strings, for JSON."""
        return copy.deepcopy(self._state)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Makes the next iteration go on from a place that `state_dict` named."""
        if set(state) != set(self._state):
            raise ValueError(
                f"the state of a stream has the keys {sorted(self._state)}, got {sorted(state)}."
            )
        self._start = copy.deepcopy(state)
        self._skip = 0
        self._state = self._start

    def __iter__(self) -> Iterator[Any]:
        state = self._state = copy.deepcopy(self._start)
        skip = self._skip
        stream = copy.deepcopy(self._stream)  # `datasets` keeps its place in the object
        stream.set_epoch(state["epoch"])
        if state["stream"] is not None:
            stream.load_state_dict(state["stream"])
        texts = (row["text"] for row in stream)
        counts = {"texts": 0, "blank": 0, "cut": 0}
        place = state["stream"]  # a stream tells its place only once it is read
        while True:
            rows, digest = self._read_window(texts, counts)
            if state["digest"] not in (None, digest):
                raise ValueError(
                    f"the stream did not give the texts of window {state['window']} again: it is "
                    "shuffled by a buffer or its data changed. Resume needs the same stream."
                )
            state.update(stream=place, digest=digest)
            if not rows:
                if counts["texts"] == counts["blank"] and state["window"] == 0:
                    raise ValueError(
                        f"the stream is empty: none of its {counts['texts']} rows holds text."
                    )
                break
            batches = self._plan(rows)
            skipped = min(skip, len(batches) - state["batch"])
            skip -= skipped
            state["batch"] += skipped
            for batch in batches[state["batch"] :]:
                state["batch"] += 1
                yield self._collator(self._own_rows(rows, batch))
            place = stream.state_dict()
            state.update(window=state["window"] + 1, batch=0, digest=None)
        _say(counts)

    def _read_window(
        self, texts: Iterator[str | None], counts: dict[str, int]
    ) -> tuple[list[dict[str, Any]], int]:
        """Rows of the next texts, as many as a window holds, and a checksum of these texts."""
        rows: list[dict[str, Any]] = []
        digest = 0
        while len(rows) < self._window:
            wanted = self._window - len(rows)
            chunk = list(itertools.islice(texts, wanted))
            digest = zlib.crc32(json.dumps(chunk).encode(), digest)
            columns = self._encoder.columns(["" if text is None else text for text in chunk])
            encoded = [
                dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)
            ]
            rows += [row for row in encoded if row["length"] > 1]
            counts["texts"] += len(chunk)
            counts["blank"] += sum(row["length"] == 1 for row in encoded)
            counts["cut"] += sum(row["excess"] > 0 for row in encoded)
            if len(chunk) < wanted:
                break
        return rows, digest

    def _plan(self, rows: list[dict[str, Any]]) -> list[np.ndarray]:
        """The global batches of a window, as places in `rows`."""
        lengths = np.array([row["length"] for row in rows])
        cuts = cut_sorted(np.sort(lengths), self._batch_size, self._tokens_per_batch)
        place = [self._seed, self._state["epoch"], self._state["window"]]
        return bucket(lengths, cuts, np.random.default_rng(place))

    def _own_rows(self, rows: list[dict[str, Any]], batch: np.ndarray) -> list[dict[str, Any]]:
        """This process's rows of a global batch, or one that weighs nothing."""
        own = rank_rows(batch, self._rank, self._num_processes)
        if own == [ZERO_WEIGHT_ROW]:
            return [{**rows[0], "labels": [IGNORED_LABEL] * len(rows[0]["labels"])}]
        return [{name: rows[i][name] for name in COLUMNS} for i in own]


def _say(counts: dict[str, int]) -> None:
    if counts["blank"]:
        logger.warning("%(blank)d of %(texts)d texts of the stream are blank and left out", counts)
    if counts["cut"]:
        logger.warning("%(cut)d of %(texts)d texts of the stream were cut to max_length", counts)
