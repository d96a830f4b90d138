import json
import logging

import numpy as np
import pytest
import torch
from datasets import Dataset

from hf_seqvae.data import (
    Collator,
    StreamingBatches,
    TextEncoder,
    build_stream_loader,
    build_tokenizer,
    encode_texts,
    load_splits,
)

RNG = np.random.default_rng(0)
NAMES = [f"w{i}" for i in range(20)]
TEXTS = [" ".join(RNG.choice(NAMES, size=n)) for n in RNG.integers(1, 12, size=157)]
TOKENIZER = build_tokenizer(NAMES, kind="word")


def batches_of(stream, batch_size=4, window=20, seed=3, max_length=None, **options):
    size = {} if "tokens_per_batch" in options else {"batch_size": batch_size}
    encoder = TextEncoder(TOKENIZER, max_length=max_length)
    return StreamingBatches(
        stream, encoder, Collator(0), window=window, seed=seed, **size, **options
    )


def memory_stream(texts=TEXTS, num_shards=1):
    return Dataset.from_dict({"text": texts}).to_iterable_dataset(num_shards=num_shards)


def file_stream(folder, suffix, limit=None):
    path = folder / f"train.{suffix}"
    if suffix == "txt":
        path.write_text("\n".join(TEXTS[:50] + ["", " "] + TEXTS[50:]))
    elif suffix == "jsonl":
        path.write_text("\n".join(json.dumps({"text": text, "n": 0}) for text in TEXTS))
    else:
        Dataset.from_dict({"text": TEXTS}).to_parquet(str(path), batch_size=13)
    return load_splits(train_file=str(path), streaming=True, num_train=limit)["train"]


def flat(batches):
    return [{name: tensor.tolist() for name, tensor in batch.items()} for batch in batches]


def sentences(batches):
    labels = [row for batch in batches for row in batch["labels"].tolist()]
    return [TOKENIZER.decode([i for i in row if i not in (-100, 2)]) for row in labels]


def test_every_text_comes_once_in_an_epoch():
    assert sorted(sentences(batches_of(memory_stream()))) == sorted(TEXTS)


def test_windows_are_shuffled_and_bucketed():
    batches = list(batches_of(memory_stream()))
    assert sentences(batches) != TEXTS
    assert {len(batch["labels"]) for batch in batches[:-1]} == {4}
    padding = np.mean([(batch["labels"] == -100).float().mean() for batch in batches])
    rows = encode_texts(TEXTS, TOKENIZER)
    in_order = [Collator(0)(rows[i : i + 4]) for i in range(0, len(rows), 4)]
    assert padding < 0.5 * np.mean([(b["labels"] == -100).float().mean() for b in in_order])


def test_the_order_is_a_function_of_seed_and_epoch():
    def order(seed, epoch):
        stream = batches_of(memory_stream(num_shards=3), seed=seed)
        stream.set_epoch(epoch)
        return flat(stream)

    assert order(3, 0) == order(3, 0)
    assert order(3, 1) == order(3, 1)
    assert order(3, 0) != order(3, 1)
    assert order(3, 0) != order(4, 0)


def test_iterating_twice_gives_the_same_epoch_twice():
    stream = batches_of(memory_stream())
    assert flat(stream) == flat(stream)


@pytest.mark.parametrize("source", ["txt", "jsonl", "parquet", "memory", "shards", "limited"])
def test_a_stream_killed_anywhere_goes_on_batch_for_batch(tmp_path, source):
    epoch = 1  # with several shards, in an order of its own

    def fresh():
        if source == "memory":
            return batches_of(memory_stream())
        if source == "shards":
            return batches_of(memory_stream(num_shards=4))
        if source == "limited":
            return batches_of(file_stream(tmp_path, "txt", limit=101))
        return batches_of(file_stream(tmp_path, source))

    stream = fresh()
    stream.set_epoch(epoch)
    whole = flat(stream)
    assert len(whole) >= 25
    for killed_after in (0, 4, 5, 6, 17, len(whole)):
        first = fresh()
        first.set_epoch(epoch)
        batches = iter(first)
        assert flat(next(batches) for _ in range(killed_after)) == whole[:killed_after]
        state = json.loads(json.dumps(first.state_dict()))
        second = fresh()
        second.load_state_dict(state)
        assert flat(second) == whole[killed_after:]


def test_a_resumed_run_can_be_killed_again_and_goes_on_to_the_next_epoch():
    stream = batches_of(memory_stream())
    whole = flat(stream)
    stream.set_epoch(1)
    following = flat(stream)
    state, seen = batches_of(memory_stream()).state_dict(), []
    for _ in range(7):
        resumed = batches_of(memory_stream())
        resumed.load_state_dict(state)
        for batch, _ in zip(resumed, range(3), strict=False):
            seen += flat([batch])
            state = resumed.state_dict()
    assert seen == whole[:21]
    resumed = batches_of(memory_stream())
    resumed.load_state_dict(state)
    assert flat(resumed) == whole[21:]
    resumed.set_epoch(1)
    assert flat(resumed) == following


def test_a_start_batch_gives_the_rest_of_the_epoch():
    stream = batches_of(memory_stream())
    whole = flat(stream)
    for start in (0, 3, 5, 12, len(whole)):
        stream.set_epoch(0, start_batch=start)
        assert flat(stream) == whole[start:]


def test_processes_share_every_global_batch_row_by_row():
    alone = list(batches_of(memory_stream()))
    parts = [list(batches_of(memory_stream(), rank=r, num_processes=3)) for r in range(3)]
    assert {len(part) for part in parts} == {len(alone)}
    for step, batch in enumerate(alone):
        rows = sentences([batch])
        for rank in range(3):
            part = parts[rank][step]
            if rows[rank::3]:
                assert sentences([part]) == rows[rank::3]
            else:
                assert part["labels"].unique().tolist() == [-100]
                assert part["attention_mask"].sum() > 0
    assert any(part["labels"].max() == -100 for part in parts[2])


def test_a_token_budget_is_kept():
    batches = list(batches_of(memory_stream(), tokens_per_batch=30))
    assert max(batch["labels"].numel() for batch in batches) <= 30
    assert sorted(sentences(batches)) == sorted(TEXTS)


def test_blank_and_long_texts_are_counted_and_said(caplog):
    with caplog.at_level(logging.WARNING):
        batches = list(batches_of(memory_stream(["w1 w2 w3", " ", None, "w1"]), max_length=2))
    assert sorted(sentences(batches)) == ["w1", "w1 w2"]
    assert caplog.messages == [
        "2 of 4 texts of the stream are blank and left out",
        "1 of 4 texts of the stream were cut to max_length",
    ]


def test_the_loader_of_a_stream_saves_its_place_and_draws_nothing_at_random():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    loader = build_stream_loader(batches_of(memory_stream()))
    loader.set_epoch(1)
    whole = flat(loader)
    batches = iter(loader)
    for _ in range(7):
        next(batches)
    again = build_stream_loader(batches_of(memory_stream()))
    again.load_state_dict(loader.state_dict())
    assert flat(again) == whole[7:]
    assert torch.equal(torch.get_rng_state(), before)


def test_a_stream_that_does_not_repeat_itself_is_refused():
    stream = batches_of(memory_stream())
    batches = iter(stream)
    for _ in range(7):
        next(batches)
    other = batches_of(memory_stream(TEXTS[::-1]))
    other.load_state_dict(stream.state_dict())
    with pytest.raises(ValueError, match="did not give the texts of window 1 again"):
        next(iter(other))


def test_empty_streams_and_foreign_states_are_refused():
    with pytest.raises(ValueError, match="the stream is empty: none of its 2 rows holds text"):
        list(batches_of(memory_stream(["", " "])))
    with pytest.raises(ValueError, match="the state of a stream has the keys"):
        batches_of(memory_stream()).load_state_dict({"epoch": 0, "batch": 3})
    with pytest.raises(ValueError, match="window 1 or more, got seed=3, window=0"):
        batches_of(memory_stream(), window=0)
    with pytest.raises(ValueError, match="does not hold the longest row"):
        list(batches_of(memory_stream(), tokens_per_batch=5))
