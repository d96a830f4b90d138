"""An interpolated trigram: how well one text predicts another, in perplexity per word + EOS."""

from collections.abc import Collection, Iterable, Sequence
from itertools import chain

import numpy as np
import torch
from torch import Tensor

from hf_seqvae.metrics.averages import perplexity_and_standard_error
from hf_seqvae.metrics.text import split_words

_HELD_OUT = 10  # one sentence in so many tells the weights
_MOST_KEYS = 2_000_000  # words whose cubed number still fits 64 bits


class InterpolatedTrigram:
    """A trigram read off sentences, mixed with a bigram, a unigram and a uniform distribution.

    p(w | u v) = a3 c(u v w) / c(u v) + a2 c(v w) / c(v) + a1 c(w) / c() + a0 / V. Where a history
    was never seen, its fraction stands for the next shorter one. V counts the vocabulary, the
    unknown word and EOS; a sentence begins with two marks that are never predicted. Sums to one.

    The weights maximise the likelihood of every tenth sentence (of the last, where there are fewer
    than ten) under the counts of the others, by EM, with one more observation of each component, so
    that none is 0; the counts then take in all sentences. Source: Jelinek and Mercer (1980).

    Args:
        sentences: what is read; at least one.
        vocabulary: words that are told apart; all others are one unknown word. Those of
            `sentences` by default.
        weights: (a3, a2, a1, a0), which are positive and sum to one, instead of fitted ones.
    """

    def __init__(
        self,
        sentences: Sequence[str],
        *,
        vocabulary: Iterable[str] | None = None,
        weights: Sequence[float] | None = None,
    ):
        texts = split_words(sentences)
        known = set(chain.from_iterable(texts) if vocabulary is None else vocabulary)
        if len(known) > _MOST_KEYS:
            raise ValueError(f"a vocabulary holds at most {_MOST_KEYS} words, got {len(known)}.")
        self.words = sorted(known)
        self._ids = {word: index for index, word in enumerate(self.words)}
        self._unknown = len(self.words)
        self._eos = self._unknown + 1
        self.vocabulary_size = self._eos + 1
        self.weights = self._fitted_weights(texts) if weights is None else _checked(weights)
        self._count(texts)

    def nll(self, sentences: Sequence[str]) -> tuple[Tensor, Tensor]:
        """-log p of each sentence in nats, EOS included, and its words + 1: (N,) and (N,)."""
        older, previous, word, counts = self._positions(split_words(sentences))
        nats = -np.log(self.weights @ self._components(older, previous, word))
        totals = np.add.reduceat(nats, np.cumsum(counts) - counts)
        return torch.from_numpy(totals), torch.from_numpy(counts)

    def next_word(self, history: str) -> Tensor:
        """p of what follows `history`: for each of `words`, then unknown, then EOS: (V,)."""
        older, previous, word, _ = self._positions([history.split()])
        size = self.vocabulary_size
        last = np.full(size, older[-1]), np.full(size, previous[-1])
        return torch.from_numpy(self.weights @ self._components(*last, np.arange(size)))

    def _fitted_weights(self, texts: Sequence[list[str]]) -> np.ndarray:
        every = min(_HELD_OUT, len(texts))
        rest = [text for row, text in enumerate(texts) if row % every != every - 1]
        if not rest:
            return np.full(4, 0.25)  # what one observation of each component says
        self._count(rest)
        held_out = texts[every - 1 :: every]
        return _mixture_weights(self._components(*self._positions(held_out)[:3]))

    def _positions(self, texts: Sequence[list[str]]) -> tuple[np.ndarray, ...]:
        """Every predicted word with the two before it, (M,) each, and words + 1 of a text, (N,)."""
        start = self._eos + 1
        flat: list[int] = []
        for text in texts:
            flat += [
                start,
                start,
                *(self._ids.get(word, self._unknown) for word in text),
                self._eos,
            ]
        ids = np.array(flat, dtype=np.int64)
        counts = np.array([len(text) + 1 for text in texts], dtype=np.int64)
        places = np.flatnonzero(ids != start)
        return ids[places - 2], ids[places - 1], ids[places], counts

    def _count(self, texts: Sequence[list[str]]) -> None:
        older, previous, word, _ = self._positions(texts)
        self._total = len(word)
        self._unigrams = _Counts(word)
        self._previous = _Counts(previous)
        self._bigrams = _Counts(self._key(previous, word))
        self._histories = _Counts(self._key(older, previous))
        self._trigrams = _Counts(self._key(older, previous, word))

    def _key(self, *ids: np.ndarray) -> np.ndarray:
        key = ids[0]
        for following in ids[1:]:
            key = key * (self.vocabulary_size + 1) + following
        return key

    def _components(self, older: np.ndarray, previous: np.ndarray, word: np.ndarray) -> np.ndarray:
        """p of each word by trigram, bigram, unigram, uniform distribution: (4, M)."""
        uniform = np.full(len(word), 1 / self.vocabulary_size)
        unigram = self._unigrams.of(word) / self._total
        bigram = _fraction(
            self._bigrams.of(self._key(previous, word)), self._previous.of(previous), unigram
        )
        trigram = _fraction(
            self._trigrams.of(self._key(older, previous, word)),
            self._histories.of(self._key(older, previous)),
            bigram,
        )
        return np.stack([trigram, bigram, unigram, uniform])


def forward_perplexity(
    samples: Sequence[str], data: Sequence[str], *, vocabulary: Collection[str] = ()
) -> tuple[float, float | None]:
    """Perplexity of the samples per word + EOS under a trigram of the data, and standard error.

    Low where samples look like the data, and also where all of them are the same likely sentence:
    read it beside `reverse_perplexity`. The vocabulary is the union of the words of both sides, so
    that neither direction meets an unknown word, and both share one uniform distribution. The error
    is over the sentences scored, with the trigram as it is.

    Args:
        samples: the sentences scored.
        data: the sentences read.
        vocabulary: further words to know, where several figures are to share one vocabulary.
    """
    return _perplexity(read=data, scored=samples, words=_union(samples, data).union(vocabulary))


def reverse_perplexity(
    samples: Sequence[str], data: Sequence[str], *, vocabulary: Collection[str] = ()
) -> tuple[float, float | None]:
    """Perplexity of the data per word + EOS under a trigram of the samples, and standard error.

    High where samples leave out what the data has; it falls as more samples are drawn. Arguments,
    vocabulary and error as in `forward_perplexity`, but that samples are read and data scored.
    """
    return _perplexity(read=samples, scored=data, words=_union(samples, data).union(vocabulary))


def real_perplexity(
    samples: Sequence[str], data: Sequence[str], *, read: int | None = None
) -> tuple[float, float | None]:
    """Perplexity of real text under a trigram of other real text, by which to read the two others.

    The trigram reads every second sentence of the data and scores the rest. The words of the
    samples are in the vocabulary, as they are in the other two figures.

    Args:
        samples: add their words, and are neither read nor scored.
        data: real sentences, at least two.
        read: how many sentences the trigram reads at most, the first ones. With the number of
            samples this is the counterpart of `reverse_perplexity`; all of its half by default.
    """
    if len(data) < 2:
        raise ValueError(f"real text is read and scored in two parts: give 2, got {len(data)}.")
    if read is not None and read < 1:
        raise ValueError(f"read must be 1 or more sentences, got {read}.")
    return _perplexity(read=data[::2][:read], scored=data[1::2], words=_union(samples, data))


def _perplexity(
    *, read: Sequence[str], scored: Sequence[str], words: set[str]
) -> tuple[float, float | None]:
    model = InterpolatedTrigram(read, vocabulary=words)
    return perplexity_and_standard_error(*model.nll(scored))


def _union(samples: Sequence[str], data: Sequence[str]) -> set[str]:
    texts = split_words(samples, name="samples") + split_words(data, name="data")
    return set(chain.from_iterable(texts))


class _Counts:
    """How often each key was seen."""

    def __init__(self, keys: np.ndarray):
        self._keys, self._counts = np.unique(keys, return_counts=True)

    def of(self, keys: np.ndarray) -> np.ndarray:
        """Counts of `keys`, 0 for those never seen."""
        place = np.searchsorted(self._keys, keys).clip(max=len(self._keys) - 1)
        return np.where(self._keys[place] == keys, self._counts[place], 0)


def _fraction(part: np.ndarray, whole: np.ndarray, otherwise: np.ndarray) -> np.ndarray:
    return np.where(whole > 0, part / np.maximum(whole, 1), otherwise)


def _checked(weights: Sequence[float]) -> np.ndarray:
    checked = np.asarray(weights, dtype=np.float64)
    if checked.shape != (4,) or (checked <= 0).any() or abs(checked.sum() - 1) > 1e-9:
        raise ValueError(f"weights must be four positive numbers that sum to one, got {weights}.")
    return checked


def _mixture_weights(components: np.ndarray, *, tolerance: float = 1e-7) -> np.ndarray:
    """Weights of the likeliest mixture of (4, M) probabilities, by EM: (4,)."""
    weights = np.full(len(components), 1 / len(components))
    for _ in range(1000):
        shares = weights[:, None] * components
        expected = (shares / shares.sum(0)).sum(1) + 1  # and one observation of each
        before, weights = weights, expected / expected.sum()
        if np.abs(weights - before).max() < tolerance:
            break
    return weights
