"""Dispersion against loops over pairs."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from hf_seqvae.metrics import mean_pairwise_cosine, relative_variance, total_variance


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


@pytest.mark.parametrize("measure", [total_variance, relative_variance, mean_pairwise_cosine])
def test_dispersion_of_one_sentence_is_refused(measure):
    with pytest.raises(ValueError, match="2 or more, got 1"):
        measure(torch.ones(1, 3))


def test_cosine_of_a_zero_feature_is_refused():
    with pytest.raises(ValueError, match="row 1"):
        mean_pairwise_cosine(torch.tensor([[1.0], [0.0]]))


def test_relative_variance_of_zero_features_is_refused():
    with pytest.raises(ValueError, match="every feature is zero"):
        relative_variance(torch.zeros(3, 2))
