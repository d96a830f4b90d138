"""Means, ratios and perplexities with their errors: by hand, by bootstrap, and as papers print."""

import math

import pytest
import torch
from torch.testing import assert_close

from hf_seqvae.metrics import (
    jackknife,
    mean_and_standard_error,
    perplexity_and_standard_error,
    ratio_and_standard_error,
    token_perplexity,
    word_perplexity,
)


def sentences(count: int, *, seed: int = 0):
    """Lengths of 3 to 30 and nats that grow with them, as sentences have: (N,) each."""
    generator = torch.Generator().manual_seed(seed)
    counts = torch.randint(3, 31, (count,), generator=generator)
    noise = torch.randn(count, generator=generator, dtype=torch.float64)
    return 2.0 * counts + 3 + noise * counts.double().sqrt() * 2, counts


def bootstrap_error(statistic, count: int, *, draws: int = 2000, seed: int = 1) -> float:
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randint(0, count, (draws, count), generator=generator)
    return float(statistic(rows).std())


# means


def test_standard_error_is_the_unbiased_one():
    mean, error = mean_and_standard_error(torch.tensor([1.0, 2.0, 6.0]))
    assert mean == 3.0
    assert error == pytest.approx(math.sqrt((4 + 1 + 9) / 2 / 3))


def test_standard_errors_are_taken_column_by_column():
    values = torch.tensor([[1.0, 10.0], [3.0, 10.0]])
    mean, error = mean_and_standard_error(values)
    assert mean.tolist() == [2.0, 10.0]
    assert error.tolist() == [1.0, 0.0]


def test_means_are_taken_in_float64():
    values = torch.tensor([2.0**24, 1.0, 1.0, 1.0])  # float32 cannot hold their sum
    assert float(mean_and_standard_error(values)[0]) * 4 == 2**24 + 3


def test_one_value_has_a_mean_and_no_standard_error():
    assert mean_and_standard_error(torch.tensor([4.0])) == (4.0, None)


def test_mean_of_nothing_is_refused():
    with pytest.raises(ValueError, match="no values"):
        mean_and_standard_error(torch.tensor([]))


# ratios


def test_a_ratio_is_of_sums_and_not_a_mean_of_ratios():
    ratio, error = ratio_and_standard_error(torch.tensor([1.0, 9.0]), torch.tensor([1.0, 3.0]))
    assert ratio == 10 / 4
    # residuals 1 - 2.5 and 9 - 7.5; their mean has error 1.5, over a mean denominator of 2
    assert error == pytest.approx(1.5 / 2)


def test_the_error_of_a_ratio_over_equal_denominators_is_that_of_a_mean():
    values = torch.tensor([1.0, 2.0, 6.0])
    _, of_mean = mean_and_standard_error(values)
    _, of_ratio = ratio_and_standard_error(values, torch.full((3,), 5))
    assert of_ratio == pytest.approx(float(of_mean) / 5)


def test_the_error_of_a_ratio_agrees_with_the_bootstrap():
    nll, counts = sentences(300)
    expected = bootstrap_error(lambda rows: nll[rows].sum(1) / counts[rows].sum(1), 300)
    assert ratio_and_standard_error(nll, counts)[1] == pytest.approx(expected, rel=0.1)
    naive = float(nll.std() / math.sqrt(300) / counts.double().mean())
    assert naive > 1.5 * expected  # lengths vary together with nats, which the ratio takes out


@pytest.mark.parametrize(
    ("numerators", "denominators", "message"),
    [
        ([1.0, 2.0], [1.0], "one denominator for each of 2 numerators, got 1"),
        ([1.0], [0.0], "add up to more than 0, got 0.0"),
        ([], [], "add up to more than 0, got 0.0"),
    ],
)
def test_a_ratio_of_nothing_is_refused(numerators, denominators, message):
    with pytest.raises(ValueError, match=message):
        ratio_and_standard_error(torch.tensor(numerators), torch.tensor(denominators))


# perplexities


@pytest.mark.parametrize("perplexity", [word_perplexity, token_perplexity])
def test_perplexity_of_the_uniform_distribution_is_the_size_of_the_vocabulary(perplexity):
    assert perplexity(17 * math.log(50), 17) == pytest.approx(50)


def test_perplexity_over_sentences_is_that_of_their_sums():
    nll, counts = sentences(40)
    value, _ = perplexity_and_standard_error(nll, counts)
    assert value == pytest.approx(word_perplexity(float(nll.sum()), int(counts.sum())))


def test_perplexity_error_agrees_with_the_bootstrap():
    nll, counts = sentences(300)
    _, error = perplexity_and_standard_error(nll, counts)
    expected = bootstrap_error(lambda rows: (nll[rows].sum(1) / counts[rows].sum(1)).exp(), 300)
    assert error == pytest.approx(expected, rel=0.1)


def test_perplexity_error_of_equal_lengths_in_closed_form():
    nll = torch.tensor([18.0, 22.0, 20.0, 24.0], dtype=torch.float64)
    value, error = perplexity_and_standard_error(nll, torch.full((4,), 10))
    assert value == pytest.approx(math.exp(2.1))
    variance = (3**2 + 1 + 1 + 3**2) / 3
    assert error == pytest.approx(math.exp(2.1) * math.sqrt(variance / 4) / 10)


def test_the_perplexity_of_one_sentence_has_no_error():
    value, error = perplexity_and_standard_error(torch.tensor([4.0]), torch.tensor([2]))
    assert (value, error) == (pytest.approx(math.exp(2)), None)


def test_perplexity_beyond_every_float_is_infinite_and_has_no_error():
    assert token_perplexity(1e6, 2) == math.inf
    nll, counts = torch.tensor([1e6, 2e6]), torch.tensor([2, 2])
    assert perplexity_and_standard_error(nll, counts) == (math.inf, None)


def test_perplexity_of_nan_is_not_a_number_and_not_infinite():
    assert math.isnan(token_perplexity(math.nan, 2))


def test_perplexity_of_no_words_is_refused():
    with pytest.raises(ValueError, match="at least one predicted unit"):
        word_perplexity(1.0, 0)


# test sets of the literature: sentences, words without EOS; Source: He et al., arXiv 1901.05534
PTB, YAHOO = (3_761, 78_669), (10_000, 788_673)


@pytest.mark.parametrize(
    ("test_set", "nll", "nll_digit", "printed", "printed_digit"),
    [
        (PTB, 101.04, 0.01, 100.47, 0.01),  # LSTM-LM, Optimus, arXiv 2004.04092
        (YAHOO, 328.00, 0.01, 60.75, 0.01),  # LSTM-LM, the same
        (YAHOO, 326.70, 0.01, 59.77, 0.01),  # aggressive training with annealing
        (YAHOO, 328.60, 0.01, 61.21, 0.01),  # VAE with annealing
        (YAHOO, 329.1, 0.1, 61.6, 0.1),  # LM, Kim et al., arXiv 1802.02550
        (YAHOO, 330.2, 0.1, 62.5, 0.1),  # VAE, the same
        (YAHOO, 327.5, 0.1, 60.4, 0.1),  # SA-VAE, the same
    ],
)
def test_word_perplexity_is_what_papers_print(test_set, nll, nll_digit, printed, printed_digit):
    count, words = test_set
    low, high = (
        word_perplexity(count * (nll + sign * nll_digit / 2), words + count) for sign in (-1, 1)
    )
    assert low - printed_digit / 2 <= printed <= high + printed_digit / 2


# the jackknife


def test_jackknife_of_a_mean_by_single_rows_is_its_standard_error():
    values = torch.tensor([1.0, 2.0, 6.0, 3.0, -4.0], dtype=torch.float64)
    _, expected = mean_and_standard_error(values)
    assert jackknife(lambda rows: float(rows.mean()), values) == pytest.approx(float(expected))


def test_jackknife_leaves_out_one_group_at_a_time():
    values = torch.arange(6.0)
    # groups {0, 3}, {1, 4}, {2, 5}: the means of the rest
    means = torch.tensor([(1 + 2 + 4 + 5) / 4, (0 + 2 + 3 + 5) / 4, (0 + 1 + 3 + 4) / 4])
    expected = math.sqrt(2 / 3 * float((means - means.mean()).square().sum()))
    found = jackknife(lambda rows: float(rows.mean()), values, num_groups=3)
    assert found == pytest.approx(expected)


@pytest.mark.parametrize(
    ("statistic", "variance"),
    [(lambda rows: float(rows.mean()), 1 / 160), (lambda rows: float(rows.var()), 2 / 159)],
    ids=["mean", "variance"],
)
def test_jackknife_squared_is_on_average_the_variance_of_the_statistic(statistic, variance):
    # of 160 standard normal values, mean and variance have the variances 1 / N and 2 / (N - 1)
    generator = torch.Generator().manual_seed(0)
    squares = torch.tensor(
        [jackknife(statistic, torch.randn(160, generator=generator)) ** 2 for _ in range(200)]
    )
    mean, error = mean_and_standard_error(squares)
    assert abs(float(mean) / variance - 1) < 3 * float(error) / variance < 0.2


def test_jackknife_takes_rows_of_several_columns_and_needs_three():
    rows = torch.randn(20, 3, generator=torch.Generator().manual_seed(0))
    single = jackknife(lambda part: float(part.sum(1).mean()), rows)
    assert single == pytest.approx(jackknife(lambda part: float(part.mean()), rows.sum(1)))
    assert jackknife(lambda part: float(part.mean()), torch.ones(2)) is None
    assert jackknife(lambda part: float(part.mean()), torch.ones(3)) == 0.0


def test_an_error_shrinks_with_the_square_root_of_the_sentences():
    nll, counts = sentences(100)
    _, small = perplexity_and_standard_error(nll, counts)
    _, large = perplexity_and_standard_error(nll.repeat(4), counts.repeat(4))
    assert_close(large / small, math.sqrt(99 / 399))
