import csv
import json
import logging
import os

import pytest
from datasets import Dataset, DatasetDict, IterableDataset

from hf_seqvae.data import load_splits
from hf_seqvae.everyday import generate

TEXTS = ["the cat sat", "NA", "a, “b”\u2028c", "12"]


def write(folder, name, texts=TEXTS, column="text"):
    path = folder / name
    if path.suffix == ".txt":
        path.write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")
    elif path.suffix in (".csv", ".tsv"):
        with path.open("w", newline="", encoding="utf-8") as file:
            lines = csv.writer(file, delimiter="\t" if path.suffix == ".tsv" else ",")
            lines.writerows([["n", column], *([i or "", text] for i, text in enumerate(texts))])
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps({column: text, "n": 1}) + "\n" for text in texts))
    elif path.suffix == ".json":
        path.write_text(json.dumps([{column: text, "n": 1} for text in texts]))
    else:
        Dataset.from_dict({column: texts}).to_parquet(str(path))
    return str(path)


@pytest.fixture
def load(tmp_path):
    return lambda **options: load_splits(cache_dir=str(tmp_path / "cache"), **options)


@pytest.mark.parametrize("suffix", ["txt", "csv", "tsv", "jsonl", "json", "parquet"])
@pytest.mark.parametrize("streaming", [False, True])
def test_every_format_gives_the_texts_as_they_stand(load, tmp_path, suffix, streaming):
    path = write(tmp_path, f"train.{suffix}", column="sentence")
    splits = load(train_file=path, text_column="sentence", streaming=streaming)
    assert list(splits) == ["train"]
    assert isinstance(splits["train"], IterableDataset) is streaming
    assert [row["text"] for row in splits["train"]] == TEXTS


def test_files_of_different_formats_make_the_splits(load, tmp_path):
    splits = load(
        train_file=write(tmp_path, "a.txt"),
        validation_file=write(tmp_path, "b.csv", ["one"]),
        test_file=write(tmp_path, "c.jsonl", ["two", "three"]),
    )
    assert {name: split["text"][:] for name, split in splits.items()} == {
        "train": TEXTS,
        "validation": ["one"],
        "test": ["two", "three"],
    }


@pytest.mark.parametrize("suffix", ["txt", "csv", "jsonl", "parquet"])
def test_blank_rows_are_left_out_counted_and_said(load, tmp_path, caplog, suffix):
    path = write(tmp_path, f"train.{suffix}", ["one ", " ", " two", ""])
    with caplog.at_level(logging.WARNING):
        splits = load(train_file=path)
    assert splits["train"]["text"][:] == ["one", "two"]
    assert caplog.messages == [f"{path}: 2 of 4 rows are blank and left out"]


def test_null_texts_are_blank(load, tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": null}\n{"text": "one"}\n')
    assert load(train_file=str(path))["train"]["text"][:] == ["one"]


def test_a_byte_order_mark_is_no_text(load, tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes("\ufeffone\r\ntwo".encode())
    assert load(train_file=str(path))["train"]["text"][:] == ["one", "two"]


def test_limits_take_the_first_texts_and_lowercase_lowers(load, tmp_path):
    path = write(tmp_path, "a.txt", ["", "One", "TWO", "three"])
    for streaming in (False, True):
        splits = load(
            train_file=path, validation_file=path, num_train=3, num_validation=1,
            lowercase=True, streaming=streaming,
        )  # fmt: skip
        texts = [row["text"] for row in splits["train"]]
        assert [text for text in texts if text][:2] == ["one", "two"]
        assert len(texts) == 3
        assert splits["validation"]["text"][:] == ["one"]
    assert len(load(train_file=path, num_train=99)["train"]) == 3


def test_a_changed_file_is_read_again(load, tmp_path):
    path = write(tmp_path, "a.txt", ["one"])
    assert load(train_file=path)["train"]["text"][:] == ["one"]
    write(tmp_path, "a.txt", ["two"])
    os.utime(path, (1, 1))
    assert load(train_file=path)["train"]["text"][:] == ["two"]


def test_texts_lie_in_files_not_in_memory(load, tmp_path):
    splits = load(train_file=write(tmp_path, "a.txt"))
    assert splits["train"].cache_files
    sizes = {"num_train": 20, "num_validation": 5, "num_test": 5}
    assert all(split.cache_files for split in load(dataset="everyday", **sizes).values())


def test_everyday_splits_are_independent_draws_of_their_own_seeds(load):
    sizes = {"num_train": 300, "num_validation": 200, "num_test": 100}
    splits = load(dataset="everyday", seed=1, **sizes)
    assert {name: len(split) for name, split in splits.items()} == {
        "train": 300,
        "validation": 200,
        "test": 100,
    }
    for place, split in enumerate(splits.values()):
        assert split["text"][:] == generate(len(split), seed=3 + place)[0]
    again = load(dataset="everyday", seed=1, **sizes)
    assert again["train"]["text"][:] == splits["train"]["text"][:]
    other = load(dataset="everyday", seed=2, **sizes)
    drawn = [tuple(s["text"][:50]) for s in (*splits.values(), *other.values())]
    assert len(set(drawn)) == 6


@pytest.fixture
def hub_like(tmp_path):
    """A data folder as the Hub holds one: a parquet file a split."""
    folder = tmp_path / "corpus"
    folder.mkdir()
    splits = DatasetDict(
        train=Dataset.from_dict({"text": [f"t {i}" for i in range(10)], "label": [0] * 10}),
        dev=Dataset.from_dict({"text": ["d 0", "", "d 1"], "label": [0] * 3}),
    )
    for name, split in splits.items():
        split.to_parquet(str(folder / f"{name}-00000-of-00001.parquet"))
    return str(folder)


@pytest.mark.parametrize("streaming", [False, True])
def test_a_data_folder_gives_its_named_splits(load, hub_like, streaming):
    splits = load(dataset=hub_like, validation_split="validation", streaming=streaming)
    assert list(splits) == ["train", "validation"]  # the default test split may be missing
    assert [row["text"] for row in splits["train"]] == [f"t {i}" for i in range(10)]
    assert splits["validation"]["text"][:] == ["d 0", "d 1"]  # `datasets` calls dev so
    assert list(splits["validation"].features) == ["text"]


def test_splits_may_be_slices(load, hub_like):
    splits = load(
        dataset=hub_like, train_split="train[:80%]", validation_split="train[80%:]", test_split=None
    )
    assert splits["train"]["text"][:] == [f"t {i}" for i in range(8)]
    assert splits["validation"]["text"][:] == ["t 8", "t 9"]
    with pytest.raises(ValueError, match="a stream has no slices, got train_split"):
        load(dataset=hub_like, train_split="train[:80%]", streaming=True)


@pytest.mark.parametrize("streaming", [False, True])
def test_a_missing_split_names_those_there_are(load, hub_like, streaming):
    with pytest.raises(
        ValueError, match=r"no split 'tset', only \['train', 'validation'\]: set test_split"
    ):
        load(dataset=hub_like, test_split="tset", streaming=streaming)


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_a_missing_column_names_those_there_are(load, tmp_path, suffix, streaming):
    path = write(tmp_path, f"a.{suffix}", column="sentence")
    with pytest.raises(ValueError, match=r"no column 'text', only \[.*'sentence'.*: set text_col"):
        load(train_file=path, streaming=streaming)


@pytest.mark.parametrize("streaming", [False, True])
def test_a_column_of_numbers_is_no_text(load, tmp_path, streaming):
    path = write(tmp_path, "a.jsonl")
    with pytest.raises(ValueError, match="column 'n' of the train split .* does not hold text"):
        load(train_file=path, text_column="n", streaming=streaming)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\n \n\n", "no row of it holds text"),
        (b"\xff\xfe\xff", "cannot be read"),
    ],
)
def test_files_without_readable_text_are_refused(load, tmp_path, content, message):
    path = tmp_path / "a.txt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"a.txt.*{message}"):
        load(train_file=str(path))


def test_missing_files_and_formats_are_named(load, tmp_path):
    with pytest.raises(ValueError, match="there is no file '.*nowhere.txt'"):
        load(train_file=str(tmp_path / "nowhere.txt"))
    (tmp_path / "a.docx").write_text("x")
    with pytest.raises(ValueError, match=r"a.docx' must end in one of \['.txt', '.csv'"):
        load(train_file=str(tmp_path / "a.docx"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "either from a data set or from files, got dataset=None and no file"),
        ({"dataset": "x", "test_file": "y"}, r"got dataset='x' and \['test_file'\]"),
        ({"dataset": "everyday", "num_train": 2}, "everyday has no last sentence: set num_validat"),
        ({"dataset": "everyday", "streaming": True}, "leave out streaming"),
        ({"train_file": "y", "num_train": 0}, "num_train must be 1 or more, got 0"),
    ],
)
def test_contradictory_sources_are_refused(load, options, message):
    with pytest.raises(ValueError, match=message):
        load(**options)


def test_a_limit_that_leaves_texts_out_is_said(tmp_path, caplog):
    path = tmp_path / "texts.txt"
    path.write_text("one\ntwo\nthree\n")
    with caplog.at_level(logging.WARNING):
        splits = load_splits(train_file=str(path), num_train=2, cache_dir=str(tmp_path / "cache"))
        assert splits["train"]["text"][:] == ["one", "two"]
        load_splits(train_file=str(path), num_train=3, cache_dir=str(tmp_path / "cache"))
    assert caplog.messages == [f"{path}: the first 2 of 3 texts are used (num_train)"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "id,text\n1,hello, world\n2,the cat\n", "line 2, has 3 fields, and the header 2"),
        ("a.csv", "text,id\nthe dog,1\nhello, world,1\n", "line 3, has 3 fields"),
        ("a.csv", "text\nhello, world\nplain\n", "line 2, has 2 fields.*double quotes"),
        ("a.csv", 'text,id\n"two\nlines",1\nshort\n', "line 4, has 1 fields"),
        ("a.tsv", '1\ttext\n1\t"hello there\n2\tworld\n3\tfoo" bar\n', "line 2: a double quote"),
        ("a.csv", b"text\nna\xefve\n", "is not UTF-8"),
        ("a.csv", "id,text\n\n", "a header and no row"),
        ("a.parquet", "no table", "a.parquet' cannot be read as parquet"),
    ],
)
@pytest.mark.parametrize("streaming", [False, True])
def test_a_row_that_is_no_row_of_its_table_is_refused_with_its_line(
    load, tmp_path, name, content, message, streaming
):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ValueError, match=message):
        load(train_file=str(path), streaming=streaming)


def test_blank_lines_of_a_table_are_none_of_its_rows(load, tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("id,text\n1,one\n\n2,two\n\n")
    assert load(train_file=str(path))["train"]["text"][:] == ["one", "two"]


@pytest.mark.parametrize("suffix", ["txt", "csv", "jsonl", "parquet"])
def test_a_files_name_is_no_pattern(load, tmp_path, suffix):
    asked = write(tmp_path, f"tr[1]*.{suffix}", ["right"])
    write(tmp_path, f"tr1.{suffix}", ["wrong"])
    write(tmp_path, f"tr1x.{suffix}", ["wrong"])
    assert load(train_file=asked)["train"]["text"][:] == ["right"]
