import pickle
import time

import numpy as np
import pytest
import torch
from accelerate import skip_first_batches
from datasets import Dataset
from torch.utils.data import DataLoader

from hf_seqvae.data import (
    ZERO_WEIGHT_ROW,
    ArrowRows,
    BucketBatchSampler,
    Collator,
    build_loader,
    build_tokenizer,
    row_lengths,
    tokenize,
)

NAMES = ["one", "two", "three", "four", "five"]
TEXTS = [" ".join(NAMES[: 1 + i % 5] + [f"w{i}"]) for i in range(23)]


@pytest.fixture(scope="module")
def tokenised():
    tokenizer = build_tokenizer(TEXTS, kind="word")
    return tokenize(Dataset.from_dict({"text": TEXTS}), tokenizer)


def loader(tokenised, collator=None, num_workers=0, **place):
    sampler = BucketBatchSampler(row_lengths(tokenised), batch_size=4, seed=7, **place)
    return build_loader(tokenised, collator or Collator(0), sampler, num_workers=num_workers)


def flat(batches):
    return [{name: tensor.tolist() for name, tensor in batch.items()} for batch in batches]


def test_rows_come_as_they_were_tokenised(tokenised):
    rows = ArrowRows(tokenised)
    assert len(rows) == len(TEXTS)
    picked = [5, 0, 22, 5]
    for row, index in zip(rows.__getitems__(picked), picked, strict=True):
        assert row["input_ids"].tolist() == tokenised[index]["input_ids"]
        assert row["labels"].tolist() == tokenised[index]["labels"]
    assert rows[3]["labels"].tolist() == tokenised[3]["labels"]


def test_rows_of_a_selection_are_those_of_the_selection(tokenised):
    rows = ArrowRows(tokenised.select([9, 4, 2]), extra_columns=["num_words"])
    for row, index in zip(rows.__getitems__([2, 0]), (2, 9), strict=True):
        assert row["labels"].tolist() == tokenised[index]["labels"]
        assert row["num_words"] == tokenised[index]["num_words"]


def test_the_zero_weight_row_has_no_label_and_leaves_the_data_alone(tokenised):
    rows = ArrowRows(tokenised)
    batch = Collator(0)(rows.__getitems__([ZERO_WEIGHT_ROW]))
    assert batch["labels"].unique().tolist() == [-100]
    assert batch["attention_mask"].sum() > 0
    assert rows[0]["labels"].tolist() == tokenised[0]["labels"]


def test_the_loader_gives_the_batches_of_the_sampler(tokenised):
    batches = list(loader(tokenised))
    sampler = BucketBatchSampler(row_lengths(tokenised), batch_size=4, seed=7)
    assert len(batches) == len(sampler) == 6
    for batch, rows in zip(batches, sampler, strict=True):
        expected = Collator(0)([tokenised[row] for row in rows])
        assert all(torch.equal(batch[name], expected[name]) for name in expected)


def test_processes_together_see_every_label_once(tokenised):
    parts = [list(loader(tokenised, rank=rank, num_processes=3)) for rank in range(3)]
    assert {len(part) for part in parts} == {6}
    seen = [label for part in parts for b in part for label in b["labels"].flatten().tolist()]
    expected = [label for labels in tokenised["labels"] for label in labels]
    assert sorted(label for label in seen if label != -100) == sorted(expected)


@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_saved_place_gives_the_rest_of_the_epoch(tokenised, num_workers):
    first = loader(tokenised, num_workers=num_workers)
    first.set_epoch(2)
    batches = iter(first)
    head = [next(batches) for _ in range(2)]
    state = first.state_dict()  # workers have fetched ahead of this place
    tail = flat(batches)
    assert state == {"epoch": 2, "batch": 2}
    second = loader(tokenised)
    second.load_state_dict(state)
    assert flat(second) == tail
    second.set_epoch(2)
    assert flat(second) == flat(head) + tail
    assert second.state_dict() == {"epoch": 2, "batch": 6}
    second.load_state_dict(second.state_dict())
    assert list(second) == []


def test_iterating_leaves_the_random_numbers_of_the_model_alone(tokenised):
    """Otherwise a run resumed within an epoch would draw other noise than the whole run."""
    torch.manual_seed(0)
    before = torch.get_rng_state()
    for num_workers in (0, 1):
        list(loader(tokenised, num_workers=num_workers))
    assert torch.equal(torch.get_rng_state(), before)


def test_accelerate_and_trainer_can_skip_batches(tokenised):
    whole = loader(tokenised)
    whole.set_epoch(1)
    skipped = skip_first_batches(whole, 4)
    assert flat(skipped) == flat(whole)[4:]


def test_a_plain_loader_reads_the_sampler_too(tokenised):
    sampler = BucketBatchSampler(row_lengths(tokenised), batch_size=4, seed=7)
    plain = DataLoader(ArrowRows(tokenised), batch_sampler=sampler, collate_fn=Collator(0))
    assert flat(plain) == flat(loader(tokenised))


def test_extra_columns_of_the_collator_are_fetched(tokenised):
    batch = next(iter(loader(tokenised, Collator(0, extra_columns=("num_words",)))))
    assert torch.equal(batch["num_words"], (batch["labels"] != -100).sum(1) - 1)  # EOS


def test_rows_survive_pickling_for_spawned_workers(tokenised):
    rows = pickle.loads(pickle.dumps(ArrowRows(tokenised)))
    assert rows[1]["labels"].tolist() == tokenised[1]["labels"]


def test_fetching_a_batch_costs_little_beside_a_training_step():
    """32 rows of 20 tokens out of 20,000; the bound is ten times what was measured."""
    ids = [list(range(20))] * 20_000
    rows = ArrowRows(Dataset.from_dict({"input_ids": ids, "labels": ids}))
    picks = np.random.default_rng(0).integers(0, 20_000, size=(50, 32)).tolist()
    started = time.process_time()
    for pick in picks:
        Collator(0)(rows.__getitems__(pick))
    assert (time.process_time() - started) / 50 < 0.010


def test_a_sampler_of_another_data_set_and_raw_text_are_refused(tokenised):
    sampler = BucketBatchSampler(np.array([1, 2]), batch_size=2)
    with pytest.raises(ValueError, match="the sampler knows 2 rows and the data set has 23"):
        build_loader(tokenised, Collator(0), sampler)
    with pytest.raises(ValueError, match=r"no column 'input_ids', only \['text'\]"):
        ArrowRows(Dataset.from_dict({"text": TEXTS}))
