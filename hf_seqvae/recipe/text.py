"""The sections of a recipe about text: every option with its meaning, unit and limits.

Contradictions inside a section are refused here, so that nothing fails an hour into a run.
"""

import dataclasses
from typing import ClassVar

from hf_seqvae.recipe.fields import check_fields, option

EVERYDAY = "everyday"


@dataclasses.dataclass(frozen=True)
class TokenizerRecipe:
    """How text becomes tokens."""

    SECTION: ClassVar[str] = "tokenizer."
    kind: str = option(
        "word",
        "word or bpe, trained on the train split, or pretrained",
        choices=("word", "bpe", "pretrained"),
    )
    name: str | None = option(None, "folder or Hub id of a pretrained tokenizer")
    vocab_size: int | None = option(
        None,
        "most tokens, the 4 special ones included; null: all words, or 8192 BPE pieces",
        minimum=5,
    )
    min_frequency: int = option(
        1, "occurrences in the train split below which a token is left out", minimum=1
    )
    split: str = option(
        "whitespace",
        "where words end: whitespace, for text that is tokenised already, or punctuation, which "
        "also parts words from "
        "the marks beside them",
        choices=("whitespace", "punctuation"),
    )

    def __post_init__(self) -> None:
        """Check types, limits and contradictions."""
        check_fields(self)
        if self.kind == "pretrained":
            if self.name is None:
                raise ValueError(
                    "tokenizer.kind 'pretrained' needs tokenizer.name, a folder or a Hub id."
                )
            if self.vocab_size is not None or self.min_frequency != 1 or self.split != "whitespace":
                raise ValueError(
                    "A pretrained tokenizer is not trained again: leave out tokenizer.vocab_size, "
                    "min_frequency and split."
                )
        elif self.name is not None:
            raise ValueError(
                f"tokenizer.name {self.name!r} names a pretrained tokenizer, but tokenizer.kind "
                f"is {self.kind!r}. "
                "Set kind to pretrained, or leave out the name."
            )
        if self.kind == "bpe" and self.split != "whitespace":
            raise ValueError(
                "tokenizer.kind 'bpe' parts words by itself: leave out tokenizer.split."
            )


@dataclasses.dataclass(frozen=True)
class DataRecipe:
    """Which text, and how it is batched."""

    SECTION: ClassVar[str] = "data."
    dataset: str | None = option(
        None, "everyday (the embedded grammar) or a Hub data set id; null where files are given"
    )
    dataset_config: str | None = option(None, "configuration of the Hub data set")
    train_file: str | None = option(None, "txt, csv, jsonl or parquet file to train on")
    validation_file: str | None = option(None, "file that chooses the best checkpoint")
    test_file: str | None = option(None, "file for the final figures")
    text_column: str = option("text", "column that holds the text (csv, jsonl, parquet, Hub)")
    train_split: str = option("train", "name of the Hub split to train on")
    validation_split: str = option(
        "validation", "name of the Hub split that chooses the best checkpoint"
    )
    test_split: str = option("test", "name of the Hub split for the final figures")
    num_train: int | None = option(
        None, "sentences to train on, the first ones; null: all", minimum=1
    )
    num_validation: int | None = option(None, "sentences to validate on; null: all", minimum=1)
    num_test: int | None = option(None, "sentences to test on; null: all", minimum=1)
    max_length: int | None = option(
        None, "most tokens of a text, the special ones apart; null: any", minimum=1
    )
    streaming: bool = option(
        False, "read the data set as it comes, for what does not fit on the disk"
    )
    batch_size: int | None = option(
        None,
        "sentences a step, over all processes; null with tokens_per_batch",
        shown=32,
        minimum=1,
    )
    tokens_per_batch: int | None = option(
        None, "padded tokens a step, over all processes, in place of batch_size", minimum=1
    )
    lowercase: bool = option(False, "lower-case the text first")
    seed: int = option(0, "draws the sentences of everyday", minimum=0)

    def __post_init__(self) -> None:
        """Check types, limits and contradictions."""
        if self.batch_size is None and self.tokens_per_batch is None:
            object.__setattr__(self, "batch_size", 32)
        check_fields(self)
        if self.batch_size is not None and self.tokens_per_batch is not None:
            raise ValueError(
                f"data.batch_size ({self.batch_size}) and data.tokens_per_batch "
                f"({self.tokens_per_batch}) both say how "
                "large a batch is. Set one of them to null."
            )
        self._check_source()

    def _check_source(self) -> None:
        files = [
            name
            for name in ("train_file", "validation_file", "test_file")
            if getattr(self, name) is not None
        ]
        if self.dataset is None and self.train_file is None:
            raise ValueError("There is nothing to train on: set data.dataset or data.train_file.")
        if self.dataset is not None and files:
            raise ValueError(
                f"data.dataset ({self.dataset!r}) and data.{files[0]} "
                f"({getattr(self, files[0])!r}) both name the text. "
                "Set data.dataset to null to read files."
            )
        if self.train_file is not None and self.validation_file is None:
            raise ValueError(
                "data.train_file needs data.validation_file: the best checkpoint is chosen on it."
            )
        if self.dataset_config is not None and self.dataset in (None, EVERYDAY):
            raise ValueError(
                "data.dataset_config belongs to a Hub data set: leave it out, or name one in "
                "data.dataset."
            )
        if self.dataset == EVERYDAY:
            missing = [
                name
                for name in ("num_train", "num_validation", "num_test")
                if getattr(self, name) is None
            ]
            if missing:
                raise ValueError(f"everyday has no last sentence: set data.{missing[0]}.")
            if self.streaming:
                raise ValueError("everyday is made in memory: leave out data.streaming.")
