"""Dispersion against loops over pairs, eigenvalues, and one state after the other."""

import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from hf_seqvae.metrics import (
    dispersion_of_sums,
    feature_sums,
    mean_pairwise_cosine,
    participation_ratio,
    relative_variance,
    spectrum,
    total_variance,
    winner_counts,
    winning_steps,
)
from hf_seqvae.metrics.dispersion import FeatureSums
from hf_seqvae.model.pooling import POOLINGS


@pytest.fixture
def features():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(11, 5, generator=generator, dtype=torch.float64) + 0.5


def test_total_variance_is_the_trace_of_the_covariance(features):
    assert_close(total_variance(features), torch.cov(features.T, correction=0).trace())


def test_total_variance_gives_the_mean_squared_distance_of_pairs(features):
    pairs = itertools.combinations(features, 2)
    distance = torch.stack([(a - b).square().sum() for a, b in pairs]).mean()
    assert_close(2 * total_variance(features) * 11 / 10, distance)


def test_mean_cosine_agrees_with_a_loop_over_pairs(features):
    pairs = itertools.combinations(features, 2)
    cosine = torch.stack([F.cosine_similarity(a, b, dim=0) for a, b in pairs]).mean()
    assert_close(mean_pairwise_cosine(features), cosine)


def test_relative_variance_does_not_change_with_the_scale(features):
    assert_close(relative_variance(1000 * features), relative_variance(features))


def test_relative_variance_ends_at_zero_and_one():
    assert relative_variance(torch.tensor([[1.0, 2.0], [1.0, 2.0]])) == 0
    assert relative_variance(torch.tensor([[1.0, 2.0], [-1.0, -2.0]])) == 1


def test_a_common_offset_lowers_relative_variance_and_raises_cosine_but_not_variance(features):
    moved = features + 10
    assert_close(total_variance(moved), total_variance(features))
    assert relative_variance(moved) < relative_variance(features)
    assert mean_pairwise_cosine(moved) > mean_pairwise_cosine(features)


def test_float32_features_far_from_the_origin_keep_their_variance():
    features = torch.tensor([[4096.0], [4096.5], [4097.0]])
    assert float(total_variance(features)) == pytest.approx(1 / 6, rel=1e-12)


MEASURES = [
    total_variance,
    relative_variance,
    mean_pairwise_cosine,
    participation_ratio,
    spectrum,
]


@pytest.mark.parametrize("measure", MEASURES)
def test_dispersion_of_one_sentence_is_refused(measure):
    with pytest.raises(ValueError, match="2 or more, got 1"):
        measure(torch.ones(1, 3))


def test_cosine_of_a_zero_feature_is_refused():
    with pytest.raises(ValueError, match="row 1"):
        mean_pairwise_cosine(torch.tensor([[1.0], [0.0]]))


def test_relative_variance_of_zero_features_is_refused():
    with pytest.raises(ValueError, match="every feature is zero"):
        relative_variance(torch.zeros(3, 2))


@pytest.mark.parametrize("measure", MEASURES)
def test_features_of_another_shape_are_refused(measure):
    with pytest.raises(ValueError, match=r"features must be \(N, H\), got \(2, 3, 4\)"):
        measure(torch.ones(2, 3, 4))


# directions


def cloud(count: int, width: int) -> torch.Tensor:
    """Features whose directions differ in size, away from the origin."""
    generator = torch.Generator().manual_seed(0)
    scale = torch.linspace(0.2, 3, width, dtype=torch.float64)
    return scale * torch.randn(count, width, generator=generator, dtype=torch.float64) + 5


@pytest.mark.parametrize(("count", "width"), [(40, 6), (6, 6), (5, 12), (2, 3)])
def test_spectrum_and_participation_ratio_are_those_of_the_covariances_eigenvalues(count, width):
    features = cloud(count, width)
    eigenvalues = torch.linalg.eigvalsh(torch.cov(features.T, correction=0)).flip(0)
    found = spectrum(features)
    assert len(found) == min(count, width)
    assert_close(found, eigenvalues[: len(found)], rtol=0, atol=1e-10)
    assert_close(found.sum(), total_variance(features))
    ratio = eigenvalues.sum().square() / eigenvalues.square().sum()
    assert_close(participation_ratio(features), ratio)


def test_participation_ratio_is_one_on_a_line_and_the_width_where_all_directions_are_alike():
    line = torch.arange(5.0)[:, None] * torch.tensor([3.0, -1.0, 2.0])
    assert float(participation_ratio(line)) == pytest.approx(1)
    corners = torch.tensor(list(itertools.product([-1.0, 1.0], repeat=3)))
    assert float(participation_ratio(corners + 7)) == pytest.approx(3)


def test_participation_ratio_changes_neither_with_scale_nor_with_offset(features):
    moved = 50 * features - 3
    assert_close(participation_ratio(moved), participation_ratio(features))


@pytest.mark.parametrize("value", [0.0, 1.0, 0.1])  # the mean of three 0.1 rounds
def test_participation_ratio_of_equal_features_is_refused(value):
    with pytest.raises(ValueError, match="all features are equal"):
        participation_ratio(torch.full((3, 2), value, dtype=torch.float64))


# the states of sentences, by sums


def states(offset: float = 0.5):
    """Hidden states (4, 5, 3), with NaN where the mask has padding: behind, in front, between."""
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(4, 5, 3, generator=generator) + offset
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0], [0, 0, 0, 1, 1], [0, 1, 0, 1, 0]])
    return hidden.masked_fill(mask[..., None] == 0, math.nan), mask


@pytest.mark.parametrize("offset", [0.0, 0.5, 20.0])
def test_sums_over_sentences_give_the_dispersion_of_all_real_states(offset):
    hidden, mask = states(offset)
    found = dispersion_of_sums(feature_sums(hidden, mask))
    every = hidden[mask.bool()]
    assert len(every) == 11
    assert found.variance == pytest.approx(float(total_variance(every)), abs=1e-6 * (1 + offset**2))
    relative = float(relative_variance(every))
    assert found.relative_variance == pytest.approx(relative, abs=1e-6)
    assert found.mean_cosine == pytest.approx(float(mean_pairwise_cosine(every)), abs=1e-6)


def test_sums_are_added_up_sentence_by_sentence():
    hidden, mask = states()
    whole = feature_sums(hidden, mask)
    rows = [feature_sums(hidden[[i]], mask[[i]]) for i in range(4)]
    for name in FeatureSums._fields:
        together = torch.cat([getattr(row, name) for row in rows])
        assert_close(getattr(whole, name), together)
    assert whole.count.tolist() == [5, 2, 2, 2]
    two = hidden[1, :2]
    assert_close(whole.total[1], two[0] + two[1])
    assert_close(whole.squares[1], two.square().sum())
    assert_close(whole.directions[1], two[0] / two[0].norm() + two[1] / two[1].norm())


def test_states_of_half_precision_are_summed_in_float32():
    hidden = torch.full((1, 100, 2), 300.0, dtype=torch.float16)  # squares and sums overflow it
    sums = feature_sums(hidden, torch.ones(1, 100))
    assert sums.total.tolist() == [[30_000.0, 30_000.0]]
    assert float(sums.squares) == pytest.approx(100 * 2 * 300**2)


def test_equal_states_have_no_variance_and_never_less():
    for value in (0.1, 0.3, 0.7, 1.1):
        found = dispersion_of_sums(feature_sums(torch.full((2, 3, 4), value), torch.ones(2, 3)))
        assert 0 <= found.variance < 1e-6
        assert 0 <= found.relative_variance < 1e-6
        assert found.mean_cosine == pytest.approx(1)


def test_the_dispersion_of_one_state_and_of_a_zero_state_is_refused():
    with pytest.raises(ValueError, match="2 or more, got 1"):
        dispersion_of_sums(feature_sums(torch.ones(1, 3, 2), torch.tensor([[0, 1, 0]])))
    hidden = torch.ones(2, 3, 4)
    hidden[1, 2] = 0.0
    with pytest.raises(ValueError, match=r"undefined for a zero state \(sentence 1\)"):
        dispersion_of_sums(feature_sums(hidden, torch.ones(2, 3)))


# who wins max pooling


def test_winning_steps_by_eye():
    hidden = torch.tensor(
        [[[1.0, 5, 0], [3, 5, -9], [2, 4, 8]], [[9, 9, 9], [1, -7, 0], [0, 2, 0]]]
    )
    mask = torch.tensor([[1, 1, 1], [0, 1, 1]])
    # the first of two fives wins; the padding in front is not counted
    assert winning_steps(hidden, mask).tolist() == [[1, 0, 2], [0, 1, 0]]
    by_magnitude = winning_steps(hidden, mask, by_magnitude=True)
    assert by_magnitude.tolist() == [[1, 0, 1], [0, 0, 0]]


@pytest.mark.parametrize("by_magnitude", [False, True])
def test_winning_steps_agree_with_a_loop_over_real_tokens(by_magnitude):
    hidden, mask = states(-0.2)
    hidden = (2 * hidden).round()  # ties
    found = winning_steps(hidden, mask, by_magnitude=by_magnitude)
    for row, column in itertools.product(range(4), range(3)):
        places = mask[row].nonzero().squeeze(1).tolist()
        values = [float(hidden[row, place, column]) for place in places]
        values = [abs(value) for value in values] if by_magnitude else values
        winner = places[values.index(max(values))]
        assert int(found[row, column]) == winner - places[0]


@pytest.mark.parametrize(("pooling", "by_magnitude"), [("max", False), ("abs_max", True)])
def test_the_winning_state_is_what_pooling_takes(pooling, by_magnitude):
    hidden, mask = states()
    hidden = hidden.nan_to_num(99.0)
    first = mask.int().argmax(1, keepdim=True)
    place = winning_steps(hidden, mask, by_magnitude=by_magnitude) + first  # (B, H)
    taken = hidden.gather(1, place[:, None]).squeeze(1)
    assert torch.equal(taken, POOLINGS[pooling](hidden, mask))


def test_winners_are_counted_for_each_sentence():
    steps = torch.tensor([[0, 2, 2, 0], [1, 1, 1, 1]])
    assert winner_counts(steps, 4).tolist() == [[2, 0, 2, 0], [0, 4, 0, 0]]
