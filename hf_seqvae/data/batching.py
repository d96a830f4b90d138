"""Which rows form which batch: length buckets as a pure function of (seed, epoch)."""

from collections.abc import Iterator

import numpy as np
from torch.utils.data import Sampler

ZERO_WEIGHT_ROW = -1  # what a process without a row of a batch is given: see `ArrowRows`


class BucketBatchSampler(Sampler[list[int]]):
    """Batches of rows of similar length, the same on every machine for the same (seed, epoch).

    Rows are sorted by length, ties in a new random order each epoch, cut into *global* batches, and
    the batches are shuffled. The cuts depend on the lengths alone, so every epoch has equally many
    batches. Process `rank` yields rows `rank::num_processes` of each global batch, so over all
    processes each row comes exactly once an epoch; a process for which a batch has no row yields
    `[ZERO_WEIGHT_ROW]`, so that all processes make equally many steps.

    With `shuffle=False` batches come from short to long, the same each epoch: the order for
    evaluation, which `order` tells.

    Args:
        lengths: tokens of each row, (N,).
        batch_size: rows of a global batch, or
        tokens_per_batch: its padded tokens at most (rows x longest), over all processes.
        seed: of the order, 0 or more.
        shuffle: False for evaluation.
        rank: this process.
        num_processes: how many there are.
    """

    def __init__(
        self,
        lengths: np.ndarray,
        *,
        batch_size: int | None = None,
        tokens_per_batch: int | None = None,
        seed: int = 0,
        shuffle: bool = True,
        rank: int = 0,
        num_processes: int = 1,
    ):
        check_batch(batch_size, tokens_per_batch, rank, num_processes)
        self.lengths = np.asarray(lengths)
        if self.lengths.ndim != 1 or not len(self.lengths):
            raise ValueError(f"lengths must be (N,) of N >= 1 rows, got {self.lengths.shape}.")
        if seed < 0:
            raise ValueError(f"seed must be 0 or more, got {seed}.")
        self.batch_size = batch_size
        self.tokens_per_batch = tokens_per_batch
        self.seed = seed
        self.shuffle = shuffle
        self.rank = rank
        self.num_processes = num_processes
        self.epoch = 0
        self.start_batch = 0
        self._by_length: np.ndarray | None = None
        self._cuts = cut_sorted(np.sort(self.lengths), batch_size, tokens_per_batch)

    def __len__(self) -> int:
        """Batches of an epoch, wherever in it the next iteration starts."""
        return len(self._cuts) - 1

    def set_epoch(self, epoch: int, start_batch: int = 0) -> None:
        """Makes the next iteration epoch `epoch` without its first `start_batch` batches."""
        if epoch < 0 or not 0 <= start_batch <= len(self):
            raise ValueError(
                f"epoch must be 0 or more and start_batch within the epoch's {len(self)} batches, "
                f"got epoch={epoch}, start_batch={start_batch}."
            )
        self.epoch = epoch
        self.start_batch = start_batch

    def global_batches(self) -> list[np.ndarray]:
        """The rows of every batch of the epoch over all processes, in the order of training."""
        rng = np.random.default_rng([self.seed, self.epoch]) if self.shuffle else None
        return bucket(self.lengths, self._cuts, rng)

    @property
    def smallest_batch(self) -> int:
        """Rows of the smallest global batch, the same in every epoch."""
        return int(np.diff(self._cuts).min())

    def draw(self, generator: np.random.Generator) -> list[int]:
        """This process's rows of one batch drawn at random; the cuts are those of every epoch."""
        if self._by_length is None:
            self._by_length = np.argsort(self.lengths, kind="stable")
        place = int(generator.integers(len(self)))
        rows = self._by_length[self._cuts[place] : self._cuts[place + 1]]
        return rank_rows(rows, self.rank, self.num_processes)

    @property
    def order(self) -> np.ndarray:
        """Rows as one process alone visits them, (N,); `out[order] = results` restores theirs."""
        return np.concatenate(self.global_batches())

    def __iter__(self) -> Iterator[list[int]]:
        for rows in self.global_batches()[self.start_batch :]:
            yield rank_rows(rows, self.rank, self.num_processes)


def check_batch(
    batch_size: int | None, tokens_per_batch: int | None, rank: int, num_processes: int
) -> None:
    """Raises where the size of a batch or this process's place makes no sense."""
    if (batch_size is None) == (tokens_per_batch is None):
        raise ValueError(
            "exactly one of batch_size and tokens_per_batch must be set, got "
            f"batch_size={batch_size}, tokens_per_batch={tokens_per_batch}."
        )
    for name, size in (("batch_size", batch_size), ("tokens_per_batch", tokens_per_batch)):
        if size is not None and size < 1:
            raise ValueError(f"{name} must be 1 or more, got {size}.")
    if not 0 <= rank < num_processes:
        raise ValueError(f"rank must be in 0..{num_processes - 1} (num_processes - 1), got {rank}.")


def rank_rows(rows: np.ndarray, rank: int, num_processes: int) -> list[int]:
    """Rows `rank::num_processes` of a global batch, or the zero-weight row where that is none."""
    return rows[rank::num_processes].tolist() or [ZERO_WEIGHT_ROW]


def bucket(
    lengths: np.ndarray, cuts: np.ndarray, rng: np.random.Generator | None
) -> list[np.ndarray]:
    """Row indices sorted by length and cut into batches; shuffled unless `rng` is None."""
    ties = np.arange(len(lengths), dtype=np.int32 if len(lengths) < 2**31 else np.int64)
    if rng is not None:
        rng.shuffle(ties)
    order = ties[np.argsort(lengths[ties], kind="stable")]
    batches = np.split(order, cuts[1:-1])
    return batches if rng is None else [batches[i] for i in rng.permutation(len(batches))]


def cut_sorted(
    lengths: np.ndarray, batch_size: int | None, tokens_per_batch: int | None
) -> np.ndarray:
    """Where ascending lengths (N,) are cut into batches: 0, ..., N."""
    count = len(lengths)
    if batch_size is not None:
        return np.append(np.arange(0, count, batch_size), count)
    assert tokens_per_batch is not None  # check_batch
    if lengths[-1] > tokens_per_batch:
        raise ValueError(
            f"tokens_per_batch={tokens_per_batch} does not hold the longest row of {lengths[-1]} "
            "tokens. Raise it, or set max_length."
        )
    cuts = [0]
    while cuts[-1] < count:
        # rows x longest grows with the rows: find the last end that keeps within the budget
        low, high = cuts[-1] + 1, min(count, cuts[-1] + tokens_per_batch // lengths[cuts[-1]])
        while low < high:
            middle = (low + high + 1) // 2
            fits = (middle - cuts[-1]) * int(lengths[middle - 1]) <= tokens_per_batch
            low, high = (middle, high) if fits else (low, middle - 1)
        cuts.append(int(low))
    return np.array(cuts)


def padding_share(lengths: np.ndarray, batches: list[np.ndarray]) -> float:
    """Padded positions over all positions when each batch is padded to its longest row."""
    padded = sum(len(rows) * int(lengths[rows].max()) for rows in batches)
    return 1.0 - int(lengths.sum()) / padded
