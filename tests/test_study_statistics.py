"""Paired bootstrap and rank correlation against answers known by hand."""

import numpy as np
import pytest

from hf_seqvae.study import paired_difference, rank_correlation, rank_correlation_interval
from hf_seqvae.study.statistics import ranks, spread


def test_two_sentences_have_the_interval_of_their_four_resamples():
    # means of two draws from {0, 1}: 0, 1/2, 1/2, 1; so 95 % reaches both ends, 40 % only the half
    pairs = [np.array([3.0, 5.0])], [np.array([3.0, 4.0])]
    assert paired_difference(*pairs) == (0.5, 0.0, 1.0)
    assert paired_difference(*pairs, level=0.4) == (0.5, 0.5, 0.5)


def test_many_sentences_have_the_interval_of_the_normal():
    random = np.random.default_rng(0)
    differences = random.normal(0.3, 2.0, 1500)
    interval = paired_difference([differences], [np.zeros(1500)], seed=1)
    width = 1.96 * differences.std() / np.sqrt(1500)
    assert interval.value == pytest.approx(differences.mean())
    assert interval.low == pytest.approx(differences.mean() - width, abs=0.1 * width)
    assert interval.high == pytest.approx(differences.mean() + width, abs=0.1 * width)


def test_sentences_are_paired_so_that_what_they_share_does_not_count():
    random = np.random.default_rng(0)
    sentences = random.normal(0.0, 50.0, 200)
    interval = paired_difference([sentences + 1.0], [sentences])
    assert interval == pytest.approx((1.0, 1.0, 1.0))


def test_seeds_are_averaged_sentence_by_sentence():
    # one seed is better where the other is worse: every sentence differs by 1 on average
    zeros = np.zeros(2)
    own = [np.array([2.0, 0.0]), np.array([0.0, 2.0])]
    assert paired_difference(own, [zeros, zeros]) == (1.0, 1.0, 1.0)


def test_the_seed_of_the_bootstrap_decides():
    values = [np.random.default_rng(0).normal(size=50)], [np.zeros(50)]
    assert paired_difference(*values, seed=1) == paired_difference(*values, seed=1)
    assert paired_difference(*values, seed=1) != paired_difference(*values, seed=2)


def test_one_sentence_has_no_interval():
    assert paired_difference([np.array([3.0])], [np.array([1.0])]) == (2.0, None, None)


def test_seeds_without_partner_are_refused():
    with pytest.raises(ValueError, match="pairs"):
        paired_difference([np.zeros(2)], [])


def test_equal_values_share_their_rank():
    assert ranks([10, 20, 20, 5]).tolist() == [2.0, 3.5, 3.5, 1.0]


def test_the_rank_correlation_is_the_one_by_hand():
    # ranks 1 2 3 4 5 and 2 1 4 3 5: squared distances 1+1+1+1+0, 1 - 6 * 4 / (5 * 24) = 0.8
    assert rank_correlation([1, 2, 3, 4, 50], [20, 1, 40, 30, 99]) == pytest.approx(0.8)
    # with ties: ranks 1.5 1.5 3 4 and 1 2 3 4, centred products 4.5 over sqrt(4.5 * 5)
    assert rank_correlation([1, 1, 2, 3], [1, 2, 3, 4]) == pytest.approx(4.5 / np.sqrt(22.5))


def test_a_monotone_relation_is_one_whatever_its_shape():
    x = [0.1, 0.5, 0.7, 3.0, 9.0]
    assert rank_correlation(x, [v**5 for v in x]) == pytest.approx(1.0)
    assert rank_correlation(x, [-v for v in x]) == pytest.approx(-1.0)


@pytest.mark.parametrize(
    ("x", "y"), [([1, 2, 3], [1, 2, 3]), ([1, 1, 1, 1], [1, 2, 3, 4]), ([1, 2, 3, 4], [5] * 4)]
)
def test_a_correlation_of_too_little_is_undefined(x, y):
    assert rank_correlation(x, y) is None
    assert rank_correlation_interval(x, y) is None


@pytest.mark.parametrize(("count", "known"), [(4, False), (7, False), (8, True)])
def test_a_correlation_of_few_points_has_no_interval(count, known):
    x = list(range(count))
    found = rank_correlation_interval(x, [2 * value for value in x])
    assert found is not None and found.value == pytest.approx(1.0)
    assert (found.low is not None, found.high is not None) == (known, known)


def test_the_interval_of_a_correlation_leaves_out_zero_as_often_as_it_says():
    random, out = np.random.default_rng(0), 0
    for _ in range(200):
        found = rank_correlation_interval(
            random.normal(size=8).tolist(), random.normal(size=8).tolist(), resamples=200
        )
        out += not found.low <= 0 <= found.high
    assert out / 200 < 0.12


def test_the_interval_of_a_correlation_holds_it_and_narrows_with_points():
    random = np.random.default_rng(0)
    x = random.normal(size=80)
    y = x + random.normal(size=80)
    few = rank_correlation_interval(x[:10].tolist(), y[:10].tolist())
    many = rank_correlation_interval(x.tolist(), y.tolist())
    assert few is not None and many is not None
    assert few.low < few.value < few.high and many.low < many.value < many.high
    assert many.high - many.low < 0.7 * (few.high - few.low)


def test_one_seed_has_no_deviation():
    assert spread([3.0]) == (3.0, None, 1)
    assert spread([1.0, 3.0]) == (2.0, pytest.approx(2**0.5), 2)
