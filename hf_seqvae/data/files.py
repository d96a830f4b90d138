"""Text in local files: txt, csv, tsv, jsonl, json and parquet, read through `datasets`."""

import csv
import glob
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

    Of a csv file only `text_column` is read, and as it stands: "NA" and "12" are text. All of it is
    looked through first, for rows that are no rows of its table.
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
        _check_table(file, text_column, separator)
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
            data_files={"rows": glob.escape(str(file))},
            split="rows",
            streaming=streaming,
            cache_dir=cache_dir,
            **options,
        )  # pyright: ignore[reportReturnType]
    except (DatasetGenerationError, ValueError) as error:  # a broken parquet file is a ValueError
        cause = error.__cause__ or error
        raise ValueError(
            f"{str(file)!r} cannot be read as {kind}: {type(cause).__name__}: {cause}"
        ) from error


def _check_table(file: Path, text_column: str, separator: str) -> None:
    """Raises where a row has other fields than the header: a column would be read as another."""
    with file.open(newline="", encoding="utf-8-sig") as lines:
        rows = csv.reader(lines, delimiter=separator)
        try:
            header = next(rows, [])
            if text_column not in header:
                raise ValueError(
                    f"{str(file)!r} has no column {text_column!r}, only {header}: set text_column."
                )
            place, begun, number = header.index(text_column), 2, 0
            for row in rows:
                number += bool(row)
                if row and len(row) != len(header):
                    raise ValueError(
                        f"{str(file)!r}, line {begun}, has {len(row)} fields, and the header "
                        f"{len(header)}: {separator.join(row)[:60]!r}. Put text that holds "
                        f"{separator!r} into double quotes, or give a .txt file, a text a line."
                    )
                if row and separator == "\t" and "\n" in row[place]:
                    raise ValueError(
                        f"{str(file)!r}, line {begun}: a double quote at the start of a field "
                        f"swallows the lines up to the next one: {row[place][:60]!r}. Double the "
                        "quotes inside a quoted field, or give a .txt file, a text a line."
                    )
                begun = rows.line_num + 1
            if not number:
                raise ValueError(f"{str(file)!r} has a header and no row below it.")
        except UnicodeDecodeError as error:
            raise ValueError(f"{str(file)!r} is not UTF-8: {error}. Save it as UTF-8.") from error
        except csv.Error as error:
            raise ValueError(f"{str(file)!r}, line {rows.line_num}: {error}.") from error
