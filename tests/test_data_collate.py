import numpy as np
import pytest
import torch

from hf_seqvae.data import Collator

ROWS = [{"input_ids": [1, 5, 2], "labels": [5, 2]}, {"input_ids": [1, 2], "labels": [7, 8, 2]}]


def test_rows_are_padded_to_the_longest_on_the_right():
    batch = Collator(pad_token_id=0)(ROWS)
    assert batch["input_ids"].tolist() == [[1, 5, 2], [1, 2, 0]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 1, 0]]
    assert batch["labels"].tolist() == [[5, 2, -100], [7, 8, 2]]
    assert {tensor.dtype for tensor in batch.values()} == {torch.int64}


def test_left_padding_moves_the_inputs_and_leaves_the_labels():
    batch = Collator(pad_token_id=0, padding_side="left")(ROWS)
    assert batch["input_ids"].tolist() == [[1, 5, 2], [0, 1, 2]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [0, 1, 1]]
    assert batch["labels"].tolist() == [[5, 2, -100], [7, 8, 2]]


def test_padding_is_known_by_mask_where_the_pad_id_is_also_a_token():
    batch = Collator(pad_token_id=2)(ROWS)
    assert batch["input_ids"][1].tolist() == [1, 2, 2]
    assert batch["attention_mask"][1].tolist() == [1, 1, 0]
    assert batch["labels"][0].tolist() == [5, 2, -100]


def test_arrays_give_the_batch_of_lists_and_are_left_alone():
    rows = [{k: np.array(v, dtype=np.int32) for k, v in row.items()} for row in ROWS]
    before = [{k: v.copy() for k, v in row.items()} for row in rows]
    batch, expected = Collator(0)(rows), Collator(0)(ROWS)
    assert all(torch.equal(batch[name], expected[name]) for name in expected)
    assert all(np.array_equal(a[k], b[k]) for a, b in zip(rows, before, strict=True) for k in a)


def test_only_the_extra_columns_that_were_asked_for_are_kept():
    rows = [
        {**row, "num_words": n, "text": t} for row, n, t in zip(ROWS, (4, 5), "ab", strict=True)
    ]
    assert set(Collator(0)(rows)) == {"input_ids", "attention_mask", "labels"}
    batch = Collator(0, extra_columns=("num_words", "text"))(rows)
    assert batch["num_words"].tolist() == [4, 5]
    assert batch["text"] == ["a", "b"]


def test_collating_draws_nothing_at_random():
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    Collator(0)(ROWS)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[1])  # noqa: NPY002


def test_empty_rows_batches_and_unknown_sides_are_refused():
    with pytest.raises(ValueError, match="row 1 of the batch has 0 input_ids"):
        Collator(0)([ROWS[0], {"input_ids": [], "labels": [2]}])
    with pytest.raises(ValueError, match="at least one row"):
        Collator(0)([])
    with pytest.raises(ValueError, match="padding_side must be 'right' or 'left', got 'middle'"):
        Collator(0, padding_side="middle")  # pyright: ignore[reportArgumentType]
