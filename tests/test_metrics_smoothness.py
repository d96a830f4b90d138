"""Smoothness of interpolations: edit distances by recursion, paths by hand."""

from functools import cache

import numpy as np
import pytest

from hf_seqvae.metrics.averages import mean_and_standard_error
from hf_seqvae.metrics.smoothness import edit_distance, interpolation_smoothness


def plain_distance(left, right):
    @cache
    def distance(i, j):
        if i == 0 or j == 0:
            return i + j
        replaced = distance(i - 1, j - 1) + (left[i - 1] != right[j - 1])
        return min(replaced, distance(i - 1, j) + 1, distance(i, j - 1) + 1)

    return distance(len(left), len(right))


@pytest.mark.parametrize("words", ["ab", "abcdef"])
def test_edit_distance_is_that_of_the_recursion(words):
    drawn = np.random.default_rng(0)
    for _ in range(150):
        left, right = (drawn.choice(list(words), drawn.integers(0, 9)).tolist() for _ in range(2))
        assert edit_distance(left, right) == plain_distance(left, right)


@pytest.mark.parametrize(
    ("left", "right", "edits"),
    [
        ("", "", 0),
        ("", "a b c", 3),
        ("a b c", "", 3),
        ("the cat sat", "the dog sat", 1),
        ("the cat sat", "cat sat", 1),
        ("the cat sat", "the old cat sat down", 2),
        ("a b c d", "b c d a", 2),
        ("a b", "b a", 2),  # an exchange is two edits
    ],
)
def test_edit_distance_by_hand(left, right, edits):
    assert edit_distance(left.split(), right.split()) == edits


def test_a_path_that_changes_one_word_at_a_time_is_perfectly_even():
    path = ["a b c d", "x b c d", "x y c d", "x y z d", "x y z w"]
    figures = interpolation_smoothness([path])
    assert figures.step.tolist() == [0.25]
    assert figures.moving.tolist() == [1]
    assert figures.largest_share.tolist() == [0.25]
    assert figures.monotonicity.tolist() == [1]


def test_a_path_that_jumps_and_turns_back_by_hand():
    # edits 0, 1, 1, 4; to the end point 3, 3, 4, 4, 0
    path = ["a b c", "a b c", "a b c q", "a b q q", "x y z"]
    figures = interpolation_smoothness([path])
    assert figures.step.tolist() == pytest.approx([(0 + 1 / 4 + 1 / 4 + 4 / 4) / 4])
    assert figures.largest_share.tolist() == pytest.approx([4 / 6])
    assert figures.monotonicity.tolist() == [3 / 4]


def test_still_paths_are_counted_and_left_out_of_the_rest():
    still, jump = ["a b"] * 3, ["a b", "a b", "c d"]
    figures = interpolation_smoothness([still, jump, ["", "", ""], jump])
    assert figures.step.tolist() == [0, 0.5, 0, 0.5]
    assert figures.moving.tolist() == [0, 1, 0, 1]
    assert figures.largest_share.tolist() == [1, 1]
    assert figures.monotonicity.tolist() == [1, 1]
    assert mean_and_standard_error(figures.moving)[0] == 0.5


def test_all_paths_still_leaves_nothing_and_no_nan():
    figures = interpolation_smoothness([["a", "a"], ["b", "b"]])
    assert figures.step.tolist() == [0, 0]
    assert len(figures.largest_share) == len(figures.monotonicity) == 0


@pytest.mark.parametrize(
    ("paths", "message"),
    [
        ([], "at least one path"),
        ([["a"]], r"2 or more, got \[1\]"),
        ([["a", "b"], ["a", "b", "c"]], r"one number of sentences, 2 or more, got \[2, 3\]"),
        (["ab"], "got one string"),
    ],
)
def test_what_is_no_set_of_paths_is_refused(paths, message):
    with pytest.raises(ValueError, match=message):
        interpolation_smoothness(paths)
