"""Rows of token ids -> padded tensors."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

IGNORED_LABEL = -100


@dataclass(frozen=True)
class Collator:
    """Pads rows to the longest of the batch; it draws nothing at random, so resuming stays exact.

    Called with rows `{"input_ids", "labels"}` it returns int64 `input_ids` and `attention_mask`
    (B, T) and `labels` (B, L) with -100 on padding. Padding is told by the mask alone: the id that
    pads may also be a real token, as in GPT-2. Labels are always padded on the right.

    Args:
        pad_token_id: fills input_ids.
        padding_side: of input_ids.
        extra_columns: further columns to keep: numbers become a tensor (B,), the rest a list.
    """

    pad_token_id: int
    padding_side: Literal["right", "left"] = "right"
    extra_columns: tuple[str, ...] = ()

    def __post_init__(self):
        if self.padding_side not in ("right", "left"):
            raise ValueError(f"padding_side must be 'right' or 'left', got {self.padding_side!r}.")

    @classmethod
    def from_tokenizer(
        cls, tokenizer: PreTrainedTokenizerBase, *, extra_columns: tuple[str, ...] = ()
    ) -> "Collator":
        """The collator of the encoder's tokenizer: its pad token, or id 0 where it has none."""
        pad: Any = tokenizer.pad_token_id
        side: Any = tokenizer.padding_side
        return cls(0 if pad is None else pad, side, tuple(extra_columns))

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """`input_ids`, `attention_mask` (B, T), `labels` (B, L), and the extra columns."""
        if not rows:
            raise ValueError("a batch needs at least one row, got none.")
        left = self.padding_side == "left"
        input_ids = [np.asarray(row["input_ids"]) for row in rows]
        labels = [np.asarray(row["labels"]) for row in rows]
        for place, (ids, targets) in enumerate(zip(input_ids, labels, strict=True)):
            if not len(ids) or not len(targets):
                raise ValueError(
                    f"row {place} of the batch has {len(ids)} input_ids and {len(targets)} labels: "
                    "each needs at least one. Drop empty texts first."
                )
        ones = [np.ones(len(ids), dtype=np.int64) for ids in input_ids]
        batch: dict[str, Any] = {
            "input_ids": _pad(input_ids, self.pad_token_id, left),
            "attention_mask": _pad(ones, 0, left),
            "labels": _pad(labels, IGNORED_LABEL, False),
        }
        for name in self.extra_columns:
            values = [row[name] for row in rows]
            number = isinstance(values[0], (bool, int, float, np.number))
            batch[name] = torch.tensor(values) if number else values
        return batch


def _pad(rows: list[np.ndarray], value: int, left: bool) -> Tensor:
    padded = np.full((len(rows), max(map(len, rows))), value, dtype=np.int64)
    for line, row in zip(padded, rows, strict=True):
        if left:
            line[len(line) - len(row) :] = row
        else:
            line[: len(row)] = row
    return torch.from_numpy(padded)
