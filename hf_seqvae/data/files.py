"""Text in local files: txt, csv, tsv, jsonl, json and parquet, read through `datasets`."""

import csv
from pathlib import Path
from typing import Any

import datasets
from datasets import Dataset, Features, IterableDataset, Value
from datasets.exceptions import DatasetGenerationError

FORMATS = {
    ".txt": "text",
    ".csv": "csv",
    ".tsv": "csv",
    ".jsonl": "json",
    ".json": "json",
    ".parquet": "parquet",
}


def read_file(
    path: str, text_column: str, streaming: bool, cache_dir: str | None
) -> Dataset | IterableDataset:
    """The rows of a file; a txt file has one a line, in a column named `text_column`.

    Of a csv file only `text_column` is read, and as it stands: "NA" and "12" are text.
    """
    file = Path(path).expanduser()
    if not file.is_file():
        raise ValueError(f"there is no file {str(file)!r} (from {str(Path.cwd())!r}).")
    kind = FORMATS.get(file.suffix.lower())
    if kind is None:
        raise ValueError(f"{str(file)!r} must end in one of {list(FORMATS)}.")
    if not file.stat().st_size:
        raise ValueError(f"{str(file)!r} is empty.")
    options: dict[str, Any] = {}
    if kind == "text":
        options = {"features": Features({text_column: Value("string")}), "encoding": "utf-8-sig"}
    elif kind == "csv":
        separator = "\t" if file.suffix.lower() == ".tsv" else ","
        _check_header(file, text_column, separator)
        options = {
            "features": Features({text_column: Value("string")}),
            "usecols": [text_column],
            "sep": separator,
            "keep_default_na": False,
            "encoding": "utf-8-sig",
        }
    try:
        return datasets.load_dataset(
            kind,
            data_files={"rows": str(file)},
            split="rows",
            streaming=streaming,
            cache_dir=cache_dir,
            **options,
        )  # pyright: ignore[reportReturnType]
    except DatasetGenerationError as error:
        cause = error.__cause__ or error
        raise ValueError(
            f"{str(file)!r} cannot be read as {kind}: {type(cause).__name__}: {cause}"
        ) from error


def _check_header(file: Path, text_column: str, separator: str) -> None:
    with file.open(newline="", encoding="utf-8-sig") as lines:
        header = next(csv.reader(lines, delimiter=separator), [])
    if text_column not in header:
        raise ValueError(
            f"{str(file)!r} has no column {text_column!r}, only {header}: set text_column."
        )
