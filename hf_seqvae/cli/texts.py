"""DATA on the command line -> texts."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datasets import Dataset

EVERYDAY = "everyday"
EVERYDAY_SIZE = 2000


def load_texts(
    data: str, text_column: str, split: str, num_texts: int | None, lowercase: bool
) -> "Dataset":
    """The texts to evaluate on, in a column "text"."""
    from hf_seqvae.data import load_splits
    from hf_seqvae.data.files import FORMATS

    if data == EVERYDAY:
        count = EVERYDAY_SIZE if num_texts is None else num_texts
        sizes = {f"num_{name}": count if name == split else 1 for name in everyday_splits(split)}
        found = load_splits(dataset=EVERYDAY, lowercase=lowercase, **sizes)[split]  # pyright: ignore[reportArgumentType]
    elif Path(data).expanduser().is_file() or Path(data).suffix.lower() in FORMATS:
        found = load_splits(
            test_file=data, text_column=text_column, num_test=num_texts, lowercase=lowercase
        )["test"]
    else:
        # not the name "test": a missing default test split would be passed over in silence
        found = load_splits(
            dataset=data,
            text_column=text_column,
            train_split=None,
            validation_split=split,
            test_split=None,
            num_validation=num_texts,
            lowercase=lowercase,
        )["validation"]
    return found  # pyright: ignore[reportReturnType]


def everyday_splits(split: str) -> tuple[str, ...]:
    """The splits of everyday, after a look whether `split` is one."""
    from hf_seqvae.data.sources import SPLITS

    if split not in SPLITS:
        raise ValueError(f"--split of everyday must be one of {list(SPLITS)}, got {split!r}.")
    return SPLITS
