"""The interpolated trigram: sums to one, by plain counting, and a source of known entropy."""

import math
from collections import Counter

import numpy as np
import pytest
import torch

from hf_seqvae.metrics.averages import perplexity_and_standard_error
from hf_seqvae.metrics.trigram import (
    InterpolatedTrigram,
    forward_perplexity,
    real_perplexity,
    reverse_perplexity,
)

TEXT = ["a b a c", "a b b", "", "c a b a", "b", "a a c b a b c"]
WEIGHTS = (0.4, 0.3, 0.2, 0.1)


def random_sentences(count, *, seed, words="abcde", longest=7):
    drawn = np.random.default_rng(seed)
    return [
        " ".join(drawn.choice(list(words), length)) for length in drawn.integers(0, longest, count)
    ]


def plain_probability(text, vocabulary, weights, history, word):
    """p(word | history) by counting in lists; `word` is None for EOS."""
    known = [[w if w in vocabulary else "?" for w in line.split()] for line in text]
    padded = [["<", "<", *line, None] for line in known]
    history = ["<", "<", *(w if w in vocabulary else "?" for w in history)][-2:]
    predicted = [w for line in padded for w in line[2:]]
    pairs = Counter((line[i - 1], line[i]) for line in padded for i in range(2, len(line)))
    triples = Counter(tuple(line[i - 2 : i + 1]) for line in padded for i in range(2, len(line)))
    before = Counter()
    for (left, _), times in pairs.items():
        before[left] += times
    two_before = Counter()
    for (left, middle, _), times in triples.items():
        two_before[left, middle] += times
    uniform = 1 / (len(vocabulary) + 2)
    unigram = predicted.count(word) / len(predicted)
    bigram = pairs[history[1], word] / before[history[1]] if before[history[1]] else unigram
    seen = two_before[tuple(history)]
    trigram = triples[*history, word] / seen if seen else bigram
    return np.dot(weights, [trigram, bigram, unigram, uniform])


@pytest.mark.parametrize("weights", [None, WEIGHTS])
@pytest.mark.parametrize("vocabulary", [None, "ab", "abcxy", ""])
@pytest.mark.parametrize("history", ["", "a", "a b", "b a c", "c c", "x a", "a x", "x y z"])
def test_what_follows_a_history_sums_to_one(history, vocabulary, weights):
    model = InterpolatedTrigram(TEXT, vocabulary=vocabulary, weights=weights)
    following = model.next_word(history)
    assert len(following) == model.vocabulary_size == len(model.words) + 2
    assert (following > 0).all()
    assert following.sum().item() == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("vocabulary", ["abcde", "abc", "abcdexyz"])
def test_probabilities_are_those_of_plain_counting(vocabulary):
    text = random_sentences(30, seed=0)
    model = InterpolatedTrigram(text, vocabulary=vocabulary, weights=WEIGHTS)
    words = [*vocabulary, "?", None]  # of unknown words, then EOS
    for history in ("", "a", "b c", "c d e", "x y", "e x"):
        expected = [
            plain_probability(text, set(vocabulary), WEIGHTS, history.split(), word)
            for word in words
        ]
        assert model.next_word(history).tolist() == pytest.approx(expected, rel=1e-12)


def test_nll_is_the_sum_over_words_and_eos():
    model = InterpolatedTrigram(TEXT, vocabulary="abc")
    place = {"a": 0, "b": 1, "c": 2, "z": 3}
    sentences = ["a b z a", "", "c"]
    expected = []
    for sentence in sentences:
        words = sentence.split()
        logs = [model.next_word(" ".join(words[:i]))[place[w]].log() for i, w in enumerate(words)]
        logs.append(model.next_word(sentence)[-1].log())
        expected.append(-sum(logs))
    nll, counts = model.nll(sentences)
    assert nll.dtype == torch.float64
    assert nll.tolist() == pytest.approx([float(value) for value in expected], rel=1e-12)
    assert counts.tolist() == [5, 1, 2]


def test_all_sentences_together_have_probability_one():
    # two words: all sentences up to nine words, and the share of those that go on
    model = InterpolatedTrigram(["a b", "b", "a a b", ""])
    total, going_on = 0.0, [""]
    for _ in range(10):
        nll, _ = model.nll(going_on)
        total += float(torch.exp(-nll).sum())
        going_on = [f"{beginning} {word}" for beginning in going_on for word in "ab"]
    # what begins with an unknown word, or has one later, or is longer, is the rest
    masses = {"": 1.0}
    rest = 0.0
    for _ in range(10):
        following = {}
        for beginning, mass in masses.items():
            a, b, unknown, _ = (mass * model.next_word(beginning)).tolist()
            rest += unknown
            following |= {f"{beginning} a": a, f"{beginning} b": b}
        masses = following
    assert total + rest + sum(masses.values()) == pytest.approx(1, abs=1e-12)
    assert total > 0.5


def test_weights_are_the_likeliest_of_the_sentences_held_out():
    text = random_sentences(200, seed=1, words="aaabbcde")
    held_out, rest = text[9::10], [line for row, line in enumerate(text) if row % 10 != 9]

    def objective(weights):
        model = InterpolatedTrigram(rest, vocabulary="abcde", weights=weights)
        return float(model.nll(held_out)[0].sum()) - np.log(weights).sum()

    fitted = InterpolatedTrigram(text, vocabulary="abcde").weights
    assert fitted.sum() == pytest.approx(1)
    least = objective(fitted)
    drawn = np.random.default_rng(0)
    for weights in [*drawn.dirichlet(np.ones(4), 60), *drawn.dirichlet(1000 * fitted, 60)]:
        assert objective(weights) >= least - 1e-6


def test_no_weight_is_zero_even_where_nothing_was_left_unseen():
    model = InterpolatedTrigram(["a b c"] * 50)
    assert model.weights[-1] > 0.001
    assert math.isfinite(float(model.nll(["never seen"])[0]))
    assert InterpolatedTrigram(["a b"]).weights.tolist() == [0.25] * 4


def test_perplexity_comes_near_that_of_a_source_of_known_entropy():
    # a Markov chain over three words and EOS: the bigram is the truth
    chain = np.array([[0.1, 0.5, 0.2, 0.2], [0.3, 0.1, 0.3, 0.3], [0.6, 0.1, 0.1, 0.2]])
    start = np.array([0.5, 0.3, 0.2])
    drawn = np.random.default_rng(0)

    def draw():
        state, words, nats = drawn.choice(3, p=start), [], 0.0
        nats -= math.log(start[state])
        while state != 3:
            words.append("abc"[state])
            following = drawn.choice(4, p=chain[state])
            nats -= math.log(chain[state, following])
            state = following
        return " ".join(words), nats

    text = [draw()[0] for _ in range(3000)]
    scored, nats = zip(*(draw() for _ in range(1500)), strict=True)
    nll, counts = InterpolatedTrigram(text, vocabulary="abc").nll(scored)
    truth = sum(nats) / int(counts.sum())
    assert 0 < float(nll.sum()) / int(counts.sum()) - truth < 0.01  # nats a word


def test_forward_and_reverse_are_one_figure_with_sides_exchanged():
    samples, data = random_sentences(40, seed=2, words="abc"), random_sentences(60, seed=3)
    forward = forward_perplexity(samples, data)
    assert forward == reverse_perplexity(data, samples)
    model = InterpolatedTrigram(data, vocabulary=set("abcde"))
    assert forward == perplexity_and_standard_error(*model.nll(samples))


def test_both_sides_share_the_union_of_their_words():
    # no word in common: each side's words are in the other's vocabulary, and not one unknown word
    samples, data = ["x y", "y"], ["a b c", "c"]
    words = {"x", "y", "a", "b", "c"}
    expected = perplexity_and_standard_error(
        *InterpolatedTrigram(data, vocabulary=words).nll(samples)
    )
    assert forward_perplexity(samples, data) == expected
    assert forward_perplexity(samples, data) != perplexity_and_standard_error(
        *InterpolatedTrigram(data).nll(samples)
    )


def test_one_likely_sentence_again_and_again_is_told_by_the_reverse_figure():
    data = random_sentences(400, seed=4)
    alike, varied = ["a b"] * 200, random_sentences(200, seed=5)
    assert forward_perplexity(alike, data)[0] < forward_perplexity(varied, data)[0]
    assert reverse_perplexity(alike, data)[0] > 2 * reverse_perplexity(varied, data)[0]
    real, error = real_perplexity(alike, data, read=200)
    assert reverse_perplexity(varied, data)[0] == pytest.approx(real, abs=4 * error)


def test_real_text_is_read_in_one_half_and_scored_in_the_other():
    data = random_sentences(21, seed=6)
    words = set("abcdex")
    whole = InterpolatedTrigram(data[0::2], vocabulary=words).nll(data[1::2])
    part = InterpolatedTrigram(data[0:8:2], vocabulary=words).nll(data[1::2])
    assert real_perplexity(["x"], data) == perplexity_and_standard_error(*whole)
    assert real_perplexity(["x"], data, read=4) == perplexity_and_standard_error(*part)
    assert real_perplexity(["x"], data, read=500) == real_perplexity(["x"], data)


def test_one_scored_sentence_has_no_error():
    assert forward_perplexity(["a b"], ["a", "b a"])[1] is None


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: InterpolatedTrigram([]), "sentences must hold at least one sentence"),
        (lambda: InterpolatedTrigram("a b"), "got one string"),
        (lambda: InterpolatedTrigram(["a"], weights=(0.5, 0.5)), "four positive numbers"),
        (lambda: InterpolatedTrigram(["a"], weights=(0.5, 0.5, 0.5, 0.5)), "sum to one"),
        (lambda: InterpolatedTrigram(["a"], weights=(0.5, 0.5, 0, 0)), "four positive"),
        (lambda: InterpolatedTrigram(["a"]).nll([]), "at least one sentence"),
        (lambda: forward_perplexity([], ["a"]), "samples must hold"),
        (lambda: reverse_perplexity(["a"], []), "data must hold"),
        (lambda: real_perplexity(["a"], ["a"]), "in two parts: give 2, got 1"),
        (lambda: real_perplexity(["a"], ["a", "b"], read=0), "read must be 1 or more"),
    ],
)
def test_what_is_undefined_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
