import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hf_seqvae.data import ZERO_WEIGHT_ROW, BucketBatchSampler, padding_share

LENGTHS = np.random.default_rng(0).integers(1, 40, size=103)

lengths_strategy = st.lists(st.integers(1, 30), min_size=1, max_size=60).map(np.array)
size_strategy = st.one_of(
    st.integers(1, 12).map(lambda n: {"batch_size": n}),
    st.integers(30, 200).map(lambda n: {"tokens_per_batch": n}),
)


@settings(deadline=None, max_examples=60)
@given(
    lengths=lengths_strategy,
    size=size_strategy,
    num_processes=st.integers(1, 5),
    seed=st.integers(0, 2**32),
    epoch=st.integers(0, 50),
    shuffle=st.booleans(),
)
def test_every_row_comes_once_an_epoch_over_all_processes(
    lengths, size, num_processes, seed, epoch, shuffle
):
    seen: list[int] = []
    steps = set()
    for rank in range(num_processes):
        sampler = BucketBatchSampler(
            lengths, **size, seed=seed, shuffle=shuffle, rank=rank, num_processes=num_processes
        )
        sampler.set_epoch(epoch)
        batches = list(sampler)
        assert all(batches)
        assert len(batches) == len(sampler)
        steps.add(len(batches))
        seen += [row for rows in batches for row in rows if rows != [ZERO_WEIGHT_ROW]]
    assert len(steps) == 1
    assert sorted(seen) == list(range(len(lengths)))


@settings(deadline=None, max_examples=60)
@given(lengths=lengths_strategy, budget=st.integers(30, 200), epoch=st.integers(0, 5))
def test_a_token_budget_is_kept_and_no_batch_could_take_the_next_row(lengths, budget, epoch):
    sampler = BucketBatchSampler(lengths, tokens_per_batch=budget)
    sampler.set_epoch(epoch)
    for rows in sampler.global_batches():
        assert len(rows) * lengths[rows].max() <= budget
    in_order = BucketBatchSampler(lengths, tokens_per_batch=budget, shuffle=False).global_batches()
    for rows, following in zip(in_order, in_order[1:], strict=False):
        assert (len(rows) + 1) * lengths[following].min() > budget


@settings(deadline=None, max_examples=60)
@given(
    lengths=lengths_strategy,
    size=size_strategy,
    epoch=st.integers(0, 5),
    data=st.data(),
)
def test_a_start_batch_gives_exactly_the_rest_of_the_epoch(lengths, size, epoch, data):
    sampler = BucketBatchSampler(lengths, **size, seed=3, num_processes=2, rank=1)
    sampler.set_epoch(epoch)
    whole = list(sampler)
    start = data.draw(st.integers(0, len(whole)))
    resumed = BucketBatchSampler(lengths, **size, seed=3, num_processes=2, rank=1)
    resumed.set_epoch(epoch, start_batch=start)
    assert list(resumed) == whole[start:]
    assert len(resumed) == len(whole)


def test_processes_share_the_global_batch_of_one_process_row_by_row():
    def batches(**place):
        return list(BucketBatchSampler(LENGTHS, batch_size=8, seed=5, **place))

    alone = batches()
    parts = [batches(rank=rank, num_processes=3) for rank in range(3)]
    for step, rows in enumerate(alone):
        for rank in range(3):
            assert parts[rank][step] == (rows[rank::3] or [ZERO_WEIGHT_ROW])


def test_a_process_without_a_row_gets_the_zero_weight_row():
    lengths = np.array([3, 3, 3])
    batches = [
        list(BucketBatchSampler(lengths, batch_size=2, rank=rank, num_processes=3, shuffle=False))
        for rank in range(3)
    ]
    assert batches == [[[0], [2]], [[1], [-1]], [[-1], [-1]]]


def test_the_order_depends_on_seed_and_epoch_and_on_nothing_else():
    def order(seed, epoch):
        np.random.seed(epoch + 1)  # noqa: NPY002 - the global generator must not matter
        sampler = BucketBatchSampler(LENGTHS, batch_size=8, seed=seed)
        sampler.set_epoch(epoch)
        list(sampler)  # neither must an earlier iteration
        return [list(rows) for rows in sampler]

    assert order(1, 2) == order(1, 2)
    assert order(1, 2) != order(1, 3)
    assert order(1, 2) != order(2, 2)
    # not a function of seed + epoch either
    assert order(1, 2) != order(2, 1)


def test_ties_are_mixed_anew_each_epoch():
    sampler = BucketBatchSampler(np.full(64, 7), batch_size=8)
    first = {frozenset(rows) for rows in sampler}
    sampler.set_epoch(1)
    assert len(first & {frozenset(rows) for rows in sampler}) < 2


def test_lengths_of_training_batches_come_in_no_order():
    means = [LENGTHS[rows].mean() for rows in BucketBatchSampler(LENGTHS, batch_size=8)]
    assert means != sorted(means)
    assert means != sorted(means, reverse=True)


def test_evaluation_goes_from_short_to_long_and_its_order_restores_the_rows():
    sampler = BucketBatchSampler(LENGTHS, batch_size=10, shuffle=False)
    visited = [row for rows in sampler for row in rows]
    assert LENGTHS[visited].tolist() == sorted(LENGTHS)
    out = np.zeros(len(LENGTHS))
    out[sampler.order] = LENGTHS[visited]
    assert np.array_equal(out, LENGTHS)
    sampler.set_epoch(4)
    assert [row for rows in sampler for row in rows] == visited


def test_buckets_leave_little_padding_where_random_batches_leave_much():
    lengths = np.random.default_rng(1).poisson(20, size=5000) + 1
    sampler = BucketBatchSampler(lengths, batch_size=32)
    assert padding_share(lengths, sampler.global_batches()) < 0.03
    at_random = np.array_split(np.random.default_rng(2).permutation(5000), 157)
    assert padding_share(lengths, at_random) > 0.2


def test_padding_share_counts_padded_positions():
    lengths = np.array([1, 3, 4])
    assert padding_share(lengths, [np.array([0, 1]), np.array([2])]) == pytest.approx(2 / 10)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "exactly one of batch_size and tokens_per_batch must be set, got batch_size=None"),
        ({"batch_size": 2, "tokens_per_batch": 9}, "exactly one of"),
        ({"batch_size": 0}, "batch_size must be 1 or more, got 0"),
        ({"tokens_per_batch": 3}, "tokens_per_batch=3 does not hold the longest row of 4 tokens"),
        ({"batch_size": 2, "rank": 2, "num_processes": 2}, r"rank must be in 0\.\.1"),
        ({"batch_size": 2, "seed": -1}, "seed must be 0 or more, got -1"),
    ],
)
def test_impossible_samplers_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        BucketBatchSampler(np.array([4, 2, 1]), **options)


def test_no_rows_and_a_start_beyond_the_epoch_are_refused():
    with pytest.raises(ValueError, match="N >= 1 rows"):
        BucketBatchSampler(np.array([]), batch_size=2)
    with pytest.raises(ValueError, match="start_batch within the epoch's 2 batches"):
        BucketBatchSampler(np.array([4, 2, 1]), batch_size=2).set_epoch(0, start_batch=3)
