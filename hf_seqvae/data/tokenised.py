"""Data sets of text -> data sets of token ids, memory-mapped."""

import inspect
import logging
import sys
from typing import Any

import numpy as np
from datasets import Dataset, Features, List, Value
from transformers import PreTrainedTokenizerBase

from hf_seqvae.data.encoding import COLUMNS, TextEncoder

logger = logging.getLogger(__name__)

_FEATURES = Features(
    {
        "input_ids": List(Value("int32")),
        "labels": List(Value("int32")),
        "length": Value("int32"),
        "num_words": Value("int32"),
        "excess": Value("int32"),
        "known": Value("bool"),
    }
)


def tokenize(
    dataset: Dataset,
    tokenizer: PreTrainedTokenizerBase,
    decoder_tokenizer: PreTrainedTokenizerBase | None = None,
    *,
    text_column: str = "text",
    max_length: int | None = None,
    truncate: bool = False,
    num_proc: int | None = None,
) -> Dataset:
    """The data set as token ids, `COLUMNS`, memory-mapped from the cache of `datasets`.

    Rows of unknown words only stay, since figures of the literature count them; they are counted
    and said.

    Args:
        dataset: with texts in `text_column`.
        tokenizer, decoder_tokenizer, max_length: see `TextEncoder`.
        truncate: cut texts that are too long, and say how many; otherwise they are an error.
        num_proc: processes that tokenise.

    Raises:
        ValueError: for an empty data set or text, a missing column, texts that are too long unless
            `truncate`, and a tokenizer to which all the text is unknown.
    """
    if text_column not in dataset.column_names:
        raise ValueError(f"there is no column {text_column!r}, only {dataset.column_names}.")
    if not len(dataset):
        raise ValueError("the data set is empty: there is nothing to tokenise.")
    encoder = TextEncoder(tokenizer, decoder_tokenizer, max_length)
    encoded = dataset.map(
        _encode_batch,
        batched=True,
        remove_columns=dataset.column_names,
        features=_FEATURES,
        fn_kwargs={
            "encoder": encoder,
            "column": text_column,
            "source": source_of(TextEncoder.__module__),
        },
        num_proc=num_proc,
        desc="tokenising",
    )
    _check_rows(encoded, encoder, truncate)
    return encoded.select_columns(list(COLUMNS))


def row_lengths(dataset: Dataset, column: str = "length") -> np.ndarray:
    """A column of whole numbers, by default the labels of each row, as a compact array (N,)."""
    lengths = np.empty(len(dataset), dtype=np.int32)
    start = 0
    chunks: Any = dataset.select_columns([column]).with_format("numpy").iter(batch_size=65536)
    for chunk in chunks:
        lengths[start : start + len(chunk[column])] = chunk[column]
        start += len(chunk[column])
    return lengths


def source_of(module: str) -> str:
    """The source of a module, which goes into the fingerprint of what it computes.

    `datasets` knows a function of an installed package by its name alone and would give back
    results of an older version of it.
    """
    return inspect.getsource(sys.modules[module])


def _encode_batch(
    batch: dict[str, list[Any]], encoder: TextEncoder, column: str, source: str
) -> dict[str, list[Any]]:
    return encoder.columns(["" if text is None else text for text in batch[column]])


def _check_rows(encoded: Dataset, encoder: TextEncoder, truncate: bool) -> None:
    lengths = row_lengths(encoded)
    empty = np.flatnonzero(lengths == 1)
    if len(empty):
        raise ValueError(
            f"{len(empty)} of {len(encoded)} texts are empty, the first at row {empty[0]}. Drop "
            "them first."
        )
    unknown = len(encoded) - int(row_lengths(encoded, "known").sum())
    if unknown == len(encoded):
        raise ValueError(
            f"every word of all {unknown} texts is unknown to the tokenizer: it was made for other "
            "text. Check its vocabulary, the text's case and min_frequency."
        )
    if unknown:
        logger.warning(
            "%d of %d texts hold unknown words only; they are kept", unknown, len(encoded)
        )
    excess = row_lengths(encoded, "excess")
    long = np.flatnonzero(excess)
    if not len(long):
        return
    if not truncate:
        raise ValueError(
            f"{len(long)} of {len(encoded)} texts have more than max_length={encoder.limit} "
            f"tokens, the first ({excess[long[0]]} too many) at row {long[0]}. A figure over cut "
            "texts is another figure: raise max_length, or truncate."
        )
    logger.warning(
        "%d of %d texts were cut to max_length=%d tokens (%d tokens left out)",
        len(long),
        len(encoded),
        encoder.limit,
        int(excess.sum()),
    )
