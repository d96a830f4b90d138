"""Reconstruction and sample text: figures by hand, by sacrebleu, by plain loops, by simulation."""

import math
import time
from collections import Counter

import numpy as np
import pytest
import torch
from sacrebleu import corpus_bleu as their_corpus_bleu
from sacrebleu.metrics.bleu import BLEU

from hf_seqvae.metrics.averages import mean_and_standard_error, ratio_and_standard_error
from hf_seqvae.metrics.text import (
    corpus_bleu,
    distinct_n,
    exact_match,
    length_distribution,
    self_bleu,
    token_accuracy,
)


def random_sentences(count, *, seed, words=6, shortest=0, longest=9):
    drawn = np.random.default_rng(seed)
    lengths = drawn.integers(shortest, longest + 1, count)
    return [" ".join(f"w{i}" for i in drawn.integers(0, words, length)) for length in lengths]


def ngrams(words, n):
    return [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]


def clipped(words, references, n):
    """Matches of one text with the reference that has most of each n-gram, by plain counting."""
    counts = [Counter(ngrams(reference, n)) for reference in references]
    mine = Counter(ngrams(words, n))
    return sum(min(times, max(c[gram] for c in counts)) for gram, times in mine.items())


def plain_sentence_bleu(words, references, order):
    """BLEU as nltk computes it with smoothing method 1, written out."""
    if clipped(words, references, 1) == 0:
        return 0.0
    logs = []
    for n in range(1, order + 1):
        matches = clipped(words, references, n) or 0.1
        logs.append(math.log(matches / max(1, len(words) - n + 1)))
    _, nearest = min((abs(len(reference) - len(words)), len(reference)) for reference in references)
    penalty = 1 if len(words) > nearest else math.exp(1 - nearest / len(words))
    return 100 * penalty * math.exp(sum(logs) / order)


@pytest.mark.parametrize("order", [1, 2, 4])
def test_corpus_bleu_is_that_of_sacrebleu(order):
    references = random_sentences(120, seed=0, words=4, shortest=1)
    hypotheses = random_sentences(120, seed=1, words=4)
    theirs = BLEU(tokenize="none", smooth_method="none", max_ngram_order=order, force=True)
    expected = theirs.corpus_score(hypotheses, [references]).score
    assert expected > 0
    assert corpus_bleu(hypotheses, references, max_order=order, num_bootstrap=2)[0] == expected


def test_corpus_bleu_of_two_sentences_by_hand():
    hypotheses, references = (
        ["the cat sat on a mat", "a dog"],
        ["the cat sat on the mat", "a dog ran"],
    )
    # matches over n-grams: 7/8, 4/6, 2/4, 1/3; 8 words where 9 are due
    by_hand = 100 * math.exp(1 - 9 / 8) * (7 / 8 * 4 / 6 * 2 / 4 * 1 / 3) ** 0.25
    value, _ = corpus_bleu(hypotheses, references)
    assert value == pytest.approx(by_hand, rel=1e-12)
    default = their_corpus_bleu(hypotheses, [references], tokenize="none").score
    assert value == pytest.approx(default, rel=1e-12)  # smoothing changes no order that matched


def test_corpus_bleu_is_zero_without_a_match_of_some_order_and_100_for_a_copy():
    assert corpus_bleu(["a b c d", "a"], ["a b c e", "a"])[0] == 0
    assert corpus_bleu(["", ""], ["a", "b"])[0] == 0
    assert corpus_bleu(["a b c d e", "f g h i"], ["a b c d e", "f g h i"]) == (
        pytest.approx(100),
        pytest.approx(0),
    )


def test_bootstrap_error_of_bleu_is_the_analytic_one_where_bleu_is_a_mean():
    # of single words in equally long texts, BLEU is the mean share of right words
    drawn = np.random.default_rng(0)
    rights = drawn.integers(0, 11, 300)
    references = ["x " * 10] * 300
    hypotheses = ["x " * right + "y " * (10 - right) for right in rights]
    value, error = corpus_bleu(hypotheses, references, max_order=1, num_bootstrap=4000)
    assert value == pytest.approx(100 * rights.mean() / 10)
    assert error == pytest.approx(100 * rights.std() / 10 / math.sqrt(300), rel=0.04)


def test_bootstrap_is_a_function_of_the_seed():
    texts = random_sentences(40, seed=0, shortest=4), random_sentences(40, seed=1, shortest=4)
    options = {"max_order": 2, "num_bootstrap": 50}
    first = corpus_bleu(*texts, seed=3, **options)
    np.random.seed(9)
    assert corpus_bleu(*texts, seed=3, **options) == first
    assert corpus_bleu(*texts, seed=4, **options)[1] != first[1]


def test_corpus_bleu_of_one_sentence_has_no_error():
    assert corpus_bleu(["a b c d"], ["a b c d"]) == (pytest.approx(100), None)


def test_exact_match_reads_words_and_not_spaces():
    match = exact_match(["a b", " a  b\n", "a", "", "b a"], ["a b", "a b", "a b", "", "a b"])
    assert match.tolist() == [1, 1, 0, 1, 0]
    assert mean_and_standard_error(match)[0] == 0.6


@pytest.mark.parametrize(
    ("hypothesis", "reference", "right", "positions"),
    [
        ("a b c", "a b c", 4, 4),  # EOS is a token
        ("a x c", "a b c", 3, 4),
        ("a b", "a b c", 2, 4),  # EOS in place of c, nothing in place of EOS
        ("a b c", "a b", 2, 4),
        ("b c", "a b c", 0, 4),  # a word missing at the beginning shifts all that follows
        ("", "a b", 0, 3),
        ("", "", 1, 1),
    ],
)
def test_token_accuracy_counts_positions_of_the_longer_text(
    hypothesis, reference, right, positions
):
    assert [t.tolist() for t in token_accuracy([hypothesis], [reference])] == [[right], [positions]]


def test_token_accuracy_gives_a_ratio_with_its_error():
    ratio, error = ratio_and_standard_error(*token_accuracy(["a", "a b"], ["a", "c b"]))
    assert ratio == pytest.approx(4 / 5)
    assert error == pytest.approx(math.sqrt(2 * (0.4**2 + 0.4**2)) / 5)


@pytest.mark.parametrize("order", [1, 3, 4])
@pytest.mark.parametrize(("count", "longest"), [(40, 6), (7, 6), (7, 25)])
@pytest.mark.parametrize("seed", range(4))
def test_self_bleu_is_plain_sentence_bleu_against_all_others(seed, count, longest, order):
    # many short samples: ties of counts, orders without any n-gram; few: lengths of one sample only
    samples = random_sentences(count, seed=seed, words=4, shortest=1, longest=longest)
    words = [sample.split() for sample in samples]
    expected = [
        plain_sentence_bleu(words[i], words[:i] + words[i + 1 :], order) for i in range(len(words))
    ]
    assert self_bleu(samples, max_order=order).tolist() == pytest.approx(expected, rel=1e-12)


def test_self_bleu_is_that_of_sacrebleu_with_a_floor():
    samples = random_sentences(30, seed=7, words=5, shortest=3)
    theirs = BLEU(
        tokenize="none", smooth_method="floor", smooth_value=0.1, max_ngram_order=3, force=True
    )
    expected = [
        theirs.corpus_score([sample], [[s] for s in samples[:i] + samples[i + 1 :]]).score
        for i, sample in enumerate(samples)
    ]
    assert self_bleu(samples).tolist() == pytest.approx(expected, rel=1e-12)


def test_self_bleu_of_equal_different_and_empty_samples():
    assert self_bleu(["a b c", "a b c"]).tolist() == pytest.approx([100, 100])
    assert self_bleu(["a b c", "d e f"]).tolist() == [0, 0]
    assert self_bleu(["", "", "a b c"]).tolist() == [100, 100, 0]  # an empty one repeats the other
    assert self_bleu(["", "a b c"]).tolist() == [0, 0]


def test_self_bleu_of_500_long_samples_takes_seconds_at_most():
    samples = random_sentences(500, seed=0, words=3000, shortest=30, longest=50)
    start = time.perf_counter()
    assert self_bleu(samples).shape == (500,)
    assert time.perf_counter() - start < 10


def test_distinct_n_by_hand():
    # a b, b a, a b | a b: 2 different bigrams of 4
    assert distinct_n(["a b a b", "a b"], 2)[0] == 0.5
    assert distinct_n(["a b a b", "a b"], 1)[0] == pytest.approx(2 / 6)
    assert distinct_n(["a b", "c d", "e"], 2) == (1, 0)  # nothing repeats: no error either


def test_distinct_n_error_is_the_jackknife_that_leaves_each_sentence_out():
    samples = random_sentences(30, seed=0, words=12)
    without = [distinct_n(samples[:i] + samples[i + 1 :], 2)[0] for i in range(30)]
    expected = math.sqrt(29 / 30 * np.square(without - np.mean(without)).sum())
    assert distinct_n(samples, 2)[1] == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("words", "shortest"), [(6, 3), (15, 0), (200, 0)])
def test_distinct_n_error_is_the_spread_over_texts_or_somewhat_more(words, shortest):
    texts = [random_sentences(60, seed=s, words=words, shortest=shortest) for s in range(200)]
    values, errors = map(np.array, zip(*(distinct_n(text, 2) for text in texts), strict=True))
    # the jackknife errs on the large side, where most n-grams occur once or twice
    assert 0.9 < math.sqrt(np.square(errors).mean()) / values.std() < 1.7


def test_distinct_n_of_a_text_in_one_sentence_has_no_error():
    assert distinct_n(["a b c"], 2) == (1, None)
    assert distinct_n(["a b a b", "a"], 2) == (pytest.approx(2 / 3), None)


def test_length_distribution_by_hand():
    figures = length_distribution(["a", "a b", "a b"], ["a b", "a b c", "", "a b c"])
    assert figures.samples_mean == pytest.approx((5 / 3, 1 / 3))
    mean, error = 2, math.sqrt(2 / 4)  # lengths 2, 3, 0, 3
    assert figures.data_mean == pytest.approx((mean, error))
    assert figures.difference == pytest.approx((5 / 3 - 2, math.hypot(1 / 3, error)))
    # shares of lengths 0 to 3: 0, 1/3, 2/3, 0 against 1/4, 0, 1/4, 1/2
    assert figures.total_variation[0] == pytest.approx((1 / 4 + 1 / 3 + 5 / 12 + 1 / 2) / 2)


def test_total_variation_error_is_the_analytic_one_of_two_shares():
    # two lengths, far apart in frequency: the distance is a difference of two shares
    samples, data = ["a"] * 80 + ["a b"] * 20, ["a"] * 60 + ["a b"] * 240
    distance, error = length_distribution(samples, data, num_bootstrap=4000).total_variation
    assert distance == pytest.approx(0.6)
    assert error == pytest.approx(math.sqrt(0.8 * 0.2 / 100 + 0.2 * 0.8 / 300), rel=0.04)


def test_noise_floor_is_what_texts_of_equal_lengths_read():
    drawn = np.random.default_rng(0)
    data = ["a " * length for length in drawn.binomial(12, 0.4, 2000)]
    distances = []
    for seed in range(40):
        samples = [
            "a " * length for length in np.random.default_rng(seed + 1).binomial(12, 0.4, 90)
        ]
        figures = length_distribution(samples, data, num_bootstrap=200)
        distances.append(figures.total_variation[0])
    assert figures.noise_floor == pytest.approx(np.mean(distances), rel=0.08)
    assert length_distribution(data, data).total_variation[0] == 0


def test_lengths_of_one_sentence_have_no_errors():
    figures = length_distribution(["a"], ["a", "a b"])
    assert figures.samples_mean == (1, None)
    assert figures.difference == (-0.5, None)
    assert figures.total_variation == (0.5, None)
    assert figures.data_mean[1] is not None


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: corpus_bleu([], []), "hypotheses must hold at least one sentence, got none"),
        (lambda: corpus_bleu("a", "a"), "list of strings, got one string"),
        (lambda: corpus_bleu(["a"], ["a", "b"]), "got 1 hypotheses and 2 references"),
        (lambda: corpus_bleu(["a"], ["a"], num_bootstrap=1), "2 or more resamples, got 1"),
        (lambda: corpus_bleu(["a"], ["a"], max_order=0), "got n=0"),
        (lambda: exact_match(["a"], []), "references must hold at least one"),
        (lambda: token_accuracy(["a", "b"], ["a"]), "2 hypotheses and 1 references"),
        (lambda: self_bleu(["a"]), "2 or more, got 1"),
        (lambda: self_bleu([]), "samples must hold"),
        (lambda: self_bleu(["a", "b"], max_order=0), "got n=0"),
        (lambda: distinct_n([], 1), "samples must hold"),
        (lambda: distinct_n(["a", ""], 2), "distinct-2 needs a sample of 2 or more words"),
        (lambda: distinct_n(["a"], 0), "got n=0"),
        (lambda: length_distribution(["a"], []), "data must hold"),
        (lambda: length_distribution(["a"], ["a"], num_bootstrap=1), "2 or more resamples"),
    ],
)
def test_what_is_undefined_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_values_per_sentence_are_tensors_that_averages_take():
    for values in (exact_match(["a"], ["a"]), self_bleu(["a", "b"])):
        assert values.dtype == torch.float64
        mean_and_standard_error(values)
