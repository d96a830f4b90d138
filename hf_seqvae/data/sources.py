"""Where text comes from: the embedded corpus, local files, or the Hugging Face Hub."""

import itertools
import logging
import sys
from collections.abc import Iterator
from typing import Any

import datasets
from datasets import Dataset, Features, IterableDataset, Value

from hf_seqvae.data.files import read_file
from hf_seqvae.data.tokenised import source_of
from hf_seqvae.everyday import generate

logger = logging.getLogger(__name__)

SPLITS: tuple[str, ...] = ("train", "validation", "test")
EVERYDAY = "everyday"
_TEXT = Features({"text": Value("string")})


def load_splits(
    *,
    dataset: str | None = None,
    dataset_config: str | None = None,
    train_file: str | None = None,
    validation_file: str | None = None,
    test_file: str | None = None,
    text_column: str = "text",
    train_split: str | None = "train",
    validation_split: str | None = "validation",
    test_split: str | None = "test",
    num_train: int | None = None,
    num_validation: int | None = None,
    num_test: int | None = None,
    streaming: bool = False,
    lowercase: bool = False,
    seed: int = 0,
    cache_dir: str | None = None,
) -> dict[str, Dataset | IterableDataset]:
    """The splits "train", "validation" and "test" that there are, each with one column "text".

    Texts are stripped; those left empty are dropped, counted and said. All but streams lie
    memory-mapped in the cache of `datasets`.

    Args:
        dataset: "everyday" (the embedded corpus), or a Hub id or data folder.
        dataset_config: configuration of the Hub data set.
        train_file, validation_file, test_file: txt, csv, tsv, jsonl, json or parquet, in place of
            `dataset`.
        text_column: which column holds the text; a txt file has only one.
        train_split, validation_split, test_split: names in the Hub data set, or slices such as
            "train[95%:]"; None for none. The default test split may be missing.
        num_train, num_validation, num_test: at most that many texts, the first ones; "everyday"
            draws exactly that many.
        streaming: leave the train split where it is and read it as it comes; the others are held
            in memory.
        lowercase: lower-case the text.
        seed: of "everyday"; each split draws with a seed of its own.
        cache_dir: of `datasets`.

    Raises:
        ValueError: for a missing file, split or column, a file of another format, and a split
            without text.
    """
    files = dict(zip(SPLITS, (train_file, validation_file, test_file), strict=True))
    names = dict(zip(SPLITS, (train_split, validation_split, test_split), strict=True))
    limits = dict(zip(SPLITS, (num_train, num_validation, num_test), strict=True))
    given = [f"{split}_file" for split, file in files.items() if file is not None]
    if (dataset is None) == (not given):
        raise ValueError(
            "text comes either from a data set or from files, got "
            f"dataset={dataset!r} and {given or 'no file'}."
        )
    for split, limit in limits.items():
        if limit is not None and limit < 1:
            raise ValueError(f"num_{split} must be 1 or more, got {limit}.")
    if dataset == EVERYDAY:
        if streaming:
            raise ValueError("everyday is made here: leave out streaming.")
        return _everyday(limits, seed, cache_dir)
    if dataset is None:
        raw = {
            split: read_file(file, text_column, streaming and split == "train", cache_dir)
            for split, file in files.items()
            if file is not None
        }
        named = {split: str(file) for split, file in files.items()}
    else:
        raw = _hub(dataset, dataset_config, names, streaming, cache_dir)
        named = {split: f"{dataset} [{name}]" for split, name in names.items()}
    return {
        split: _texts(rows, text_column, lowercase, limits[split], split, named[split])
        for split, rows in raw.items()
    }


def _everyday(
    limits: dict[str, int | None], seed: int, cache_dir: str | None
) -> dict[str, Dataset | IterableDataset]:
    missing = [split for split, limit in limits.items() if limit is None]
    if missing:
        raise ValueError(f"everyday has no last sentence: set num_{missing[0]}.")
    source = "".join(source_of(name) for name in _modules_of_everyday())
    return {
        split: _generated(
            # consecutive seeds of the run give disjoint seeds of the splits
            {"count": limits[split], "seed": len(SPLITS) * seed + place, "source": source},
            cache_dir,
        )
        for place, split in enumerate(SPLITS)
    }


def _modules_of_everyday() -> list[str]:
    home = generate.__module__.split(".")[:2]  # hf_seqvae.everyday, a file or a folder of files
    return sorted(name for name in sys.modules if name.split(".")[:2] == home)


def _generated(gen_kwargs: dict[str, Any], cache_dir: Any) -> Any:
    return Dataset.from_generator(
        _everyday_rows, features=_TEXT, gen_kwargs=gen_kwargs, cache_dir=cache_dir
    )


def _everyday_rows(count: int, seed: int, source: str) -> Iterator[dict[str, str]]:
    sentences, _ = generate(count, seed)
    for sentence in sentences:
        yield {"text": sentence}


def _hub(
    dataset: str,
    config: str | None,
    names: dict[str, str | None],
    streaming: bool,
    cache_dir: str | None,
) -> dict[str, Dataset | IterableDataset]:
    found: Any = datasets.load_dataset(dataset, config, streaming=streaming, cache_dir=cache_dir)
    splits: dict[str, Dataset | IterableDataset] = {}
    for split, name in names.items():
        if name is None:
            continue
        whole = name.split("[")[0]
        if name in found:
            splits[split] = found[name]
        elif whole in found and not streaming:
            splits[split] = datasets.load_dataset(dataset, config, split=name, cache_dir=cache_dir)  # pyright: ignore[reportArgumentType]
        elif whole in found:
            raise ValueError(f"a stream has no slices, got {split}_split={name!r}.")
        elif name == split == "test":
            logger.info("%s has no split 'test', only %s: no test figures", dataset, list(found))
        else:
            raise ValueError(
                f"{dataset!r} has no split {name!r}, only {list(found)}: set {split}_split to one "
                "of them, or to a slice such as 'train[95%:]' (and train_split to 'train[:95%]')."
            )
    return splits


def _texts(
    rows: Dataset | IterableDataset,
    column: str,
    lowercase: bool,
    limit: int | None,
    split: str,
    name: str,
) -> Dataset | IterableDataset:
    """One column "text", without empty texts, at most `limit` rows."""
    if isinstance(rows, IterableDataset):
        _check_stream(rows, column, split, name)
        stream = rows.select_columns([column]).map(
            _clean_row,
            remove_columns=[column],
            fn_kwargs={"column": column, "lowercase": lowercase},
        )
        if split == "train":
            return stream if limit is None else stream.take(limit)
        texts = list(itertools.islice((row["text"] for row in stream if row["text"]), limit))
        if not texts:
            raise ValueError(f"the {split} split ({name}) is empty: no row of it holds text.")
        return Dataset.from_dict({"text": texts}, features=_TEXT)
    if not len(rows):
        raise ValueError(f"the {split} split ({name}) is empty: it has no rows.")
    _check_column(column, rows.column_names, _is_text(rows.features, column), split, name)
    clean = rows.map(
        _clean_batch,
        batched=True,
        remove_columns=rows.column_names,
        features=_TEXT,
        fn_kwargs={"column": column, "lowercase": lowercase, "source": source_of(__name__)},
        desc=f"reading {split}",
    )
    dropped = len(rows) - len(clean)
    if not len(clean):
        raise ValueError(f"the {split} split ({name}) is empty: no row of it holds text.")
    if dropped:
        logger.warning("%s: %d of %d rows are blank and left out", name, dropped, len(rows))
    if limit is None or limit >= len(clean):
        return clean
    logger.warning("%s: the first %d of %d texts are used (num_%s)", name, limit, len(clean), split)
    return clean.select(range(limit))


def _check_stream(rows: IterableDataset, column: str, split: str, name: str) -> None:
    """Raises for a column that is missing or no text; reads a row only where nothing else tells."""
    if rows.features is not None:
        _check_column(column, list(rows.features), _is_text(rows.features, column), split, name)
        return
    first = next(iter(rows), None)
    if first is None:
        raise ValueError(f"the {split} split ({name}) is empty: it has no rows.")
    _check_column(column, list(first), isinstance(first.get(column), str | None), split, name)


def _is_text(features: Features, column: str) -> bool:
    return getattr(features.get(column), "dtype", None) in ("string", "large_string")


def _check_column(column: str, columns: list[str], is_text: bool, split: str, name: str) -> None:
    if column not in columns:
        raise ValueError(
            f"the {split} split ({name}) has no column {column!r}, only {columns}: set text_column."
        )
    if not is_text:
        raise ValueError(f"column {column!r} of the {split} split ({name}) does not hold text.")


def _clean_batch(
    batch: dict[str, list[str | None]], column: str, lowercase: bool, source: str
) -> dict[str, list[str]]:
    texts = (_clean(text, lowercase) for text in batch[column])
    return {"text": [text for text in texts if text]}


def _clean_row(row: dict[str, str | None], column: str, lowercase: bool) -> dict[str, str]:
    return {"text": _clean(row[column], lowercase)}


def _clean(text: str | None, lowercase: bool) -> str:
    clean = "" if text is None else text.strip()
    return clean.lower() if lowercase else clean
