"""Texts -> token ids of the encoder and labels of the decoder."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from transformers import PreTrainedTokenizerBase

COLUMNS = ("input_ids", "labels", "length", "num_words")


@dataclass(frozen=True)
class TextEncoder:
    """Encodes texts: `input_ids` as the encoder's tokenizer writes them, special tokens included.

    `labels` are the text's ids by the decoder's tokenizer and exactly one EOS, never BOS. Special
    tokens are never read out of a text. A text of more than `max_length` tokens by either tokenizer
    (EOS and other special ones not counted) is cut to its longest prefix that fits both, so both
    sides hold the same text; a tokenizer's own `model_max_length` is a limit too.

    Args:
        tokenizer: the encoder's.
        decoder_tokenizer: the decoder's; None for the same.
        max_length: tokens of a text; None for as many as the tokenizers allow.
    """

    tokenizer: PreTrainedTokenizerBase
    decoder_tokenizer: PreTrainedTokenizerBase | None = None
    max_length: int | None = None

    def __post_init__(self):
        if self.max_length is not None and self.max_length < 1:
            raise ValueError(f"max_length must be 1 or more, got {self.max_length}.")
        if self.target.eos_token_id is None:
            raise ValueError(
                "labels end with the EOS of the decoder's tokenizer, and "
                f"{type(self.target).__name__} ({self.target.name_or_path or 'unnamed'}) has none. "
                "Set one, e.g. tokenizer.eos_token = tokenizer.sep_token, or give another "
                "decoder_tokenizer."
            )

    @property
    def target(self) -> PreTrainedTokenizerBase:
        """The tokenizer of the labels."""
        return self.tokenizer if self.decoder_tokenizer is None else self.decoder_tokenizer

    @property
    def limit(self) -> int:
        """Most tokens of a text: the least of all limits."""
        return min(limit for _, limit in self._limits)

    def columns(self, texts: Sequence[str]) -> dict[str, list[Any]]:
        """One entry a text in each of `COLUMNS`, in `excess` and in `known`.

        `length` counts the labels, `num_words` the words between white space, without EOS (after
        cutting), `excess` the tokens that were cut, and `known` is False where every token is
        unknown. An empty text has length 1 here: callers refuse it.
        """
        texts = [text.strip() for text in texts]
        encoded = [_ids(tokenizer, texts) for tokenizer, _ in self._limits]
        excess = [0] * len(texts)
        for (_, rows), (_, limit) in zip(encoded, self._limits, strict=True):
            excess = [max(over, len(ids) - limit) for over, ids in zip(excess, rows, strict=True)]
        if any(excess):
            texts = [
                self._cut(text) if over else text for text, over in zip(texts, excess, strict=True)
            ]
            encoded = [_ids(tokenizer, texts) for tokenizer, _ in self._limits]
        target: Any = self.target
        control, unknown = control_tokens(target), unknown_token(target)
        labels = [with_one_eos(ids, target.eos_token_id, control) for ids in encoded[-1][1]]
        return {
            "input_ids": encoded[0][0],
            "labels": labels,
            "length": [len(ids) for ids in labels],
            "num_words": [len(text.split()) for text in texts],
            "excess": excess,
            "known": [len(ids) == 1 or ids.count(unknown) < len(ids) - 1 for ids in labels],
        }

    @property
    def _limits(self) -> list[tuple[PreTrainedTokenizerBase, int]]:
        """The one or two tokenizers, the decoder's last, and the tokens of a text that fit each."""
        ours = sys.maxsize if self.max_length is None else self.max_length
        source = min(
            ours, self.tokenizer.model_max_length - self.tokenizer.num_special_tokens_to_add()
        )
        target = min(ours, self.target.model_max_length - 1)
        if self.target is self.tokenizer:
            return [(self.tokenizer, min(source, target))]
        return [(self.tokenizer, source), (self.target, target)]

    def _cut(self, text: str) -> str:
        """The longest prefix of whole tokens that keeps within both limits."""
        before = None
        while text != before:
            before = text
            for tokenizer, limit in self._limits:
                text = _cut_to(tokenizer, text, limit)
        return text


def control_tokens(tokenizer: Any) -> set[int]:
    """The ids of BOS, EOS and padding, those that there are."""
    return {tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id} - {None}


def unknown_token(tokenizer: Any) -> Any:
    """The id of unknown words; None where there is none, or it is GPT-2's, which ends a text."""
    unknown = tokenizer.unk_token_id
    return None if unknown in control_tokens(tokenizer) else unknown


def with_one_eos(ids: Sequence[int], eos_token_id: int, control_ids: set[int]) -> list[int]:
    """The ids of a text and exactly one EOS, also where the tokenizer wrote one itself."""
    ids = list(ids)
    if ids and ids[-1] == eos_token_id:
        ids.pop()
    if not control_ids.isdisjoint(ids):
        inside = control_ids.intersection(ids)
        raise ValueError(
            f"the ids of a text hold the control tokens {sorted(inside)} (BOS, EOS or padding): "
            "labels would end early. Take these tokens out of the text, or use a tokenizer that "
            "honours split_special_tokens."
        )
    return [*ids, eos_token_id]


def encode_texts(
    texts: Sequence[str],
    tokenizer: PreTrainedTokenizerBase,
    decoder_tokenizer: PreTrainedTokenizerBase | None = None,
    *,
    max_length: int | None = None,
    truncate: bool = False,
) -> list[dict[str, Any]]:
    """Rows with `COLUMNS` for texts somebody typed: each must be usable.

    Raises:
        ValueError: for an empty text, one of unknown words only, and one that is too long unless
            `truncate`.
    """
    encoder = TextEncoder(tokenizer, decoder_tokenizer, max_length)
    columns = encoder.columns(texts)
    for text, length, excess, known in zip(
        texts, *(columns[name] for name in ("length", "excess", "known")), strict=True
    ):
        shown = text if len(text) <= 60 else f"{text[:57]}..."
        if length == 1:
            raise ValueError(f"a text must hold a word, got {text!r}.")
        if not known:
            raise ValueError(
                f"every word of {shown!r} is unknown to the tokenizer, so nothing of it would "
                "reach the model. Write it with words of the training text (in the same case)."
            )
        if excess and not truncate:
            raise ValueError(
                f"{shown!r} has {excess} tokens more than max_length={encoder.limit}. Shorten it, "
                "or truncate."
            )
    return [{name: columns[name][i] for name in COLUMNS} for i in range(len(texts))]


def _ids(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]
) -> tuple[list[list[int]], list[list[int]]]:
    """The ids of each text with the special tokens that the tokenizer adds, and without them."""
    if not texts:
        return [], []
    # lengths are checked here, so not by a warning of the tokenizer
    options: Any = {"split_special_tokens": True, "return_attention_mask": False, "verbose": False}
    if not tokenizer.is_fast:
        without: Any = tokenizer(list(texts), add_special_tokens=False, **options)
        return tokenizer(list(texts), **options)["input_ids"], without["input_ids"]  # pyright: ignore[reportReturnType]
    # one pass instead of two: the mask tells what was added
    encoded: Any = tokenizer(list(texts), return_special_tokens_mask=True, **options)
    without = [
        [index for index, added in zip(ids, mask, strict=True) if not added]
        for ids, mask in zip(encoded["input_ids"], encoded["special_tokens_mask"], strict=True)
    ]
    return encoded["input_ids"], without


def _cut_to(tokenizer: PreTrainedTokenizerBase, text: str, limit: int) -> str:
    if not tokenizer.is_fast:
        raise ValueError(
            f"{type(tokenizer).__name__} does not tell where its tokens stand in the text, so "
            "texts of more than max_length cannot be cut. Shorten them, or use a fast tokenizer."
        )
    offsets = tokenizer(
        text,
        add_special_tokens=False,
        split_special_tokens=True,
        return_offsets_mapping=True,
        verbose=False,
    )["offset_mapping"]
    if len(offsets) <= limit:
        return text
    end = offsets[limit - 1][1] if limit > 0 else 0
    # a character of several tokens may end here although it does not fit: it is left out whole
    return text[: min(end, len(text) - 1)].rstrip()
