"""Text: how near reconstructions are to the sentences, and how varied samples are.

Sentences are strings whose tokens stand between spaces, as `str.split` finds them: nothing is
lower-cased, detokenised or tokenised again. A figure is a pair (value, standard error), with None
for the error of a single sentence; figures that are averages or ratios over sentences come as what
is averaged, (N,), for `mean_and_standard_error` and `ratio_and_standard_error`.
"""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hf_seqvae.metrics.averages import mean_and_standard_error

# a precision without a match counts as this many matches; `method1` of Chen and Cherry (2014)
_EPSILON = 0.1


def split_words(sentences: Sequence[str], *, name: str = "sentences") -> list[list[str]]:
    """The words of each sentence; ValueError where there is no sentence at all."""
    if isinstance(sentences, str):
        raise ValueError(f"{name} must be a list of strings, got one string: put it in a list.")
    if not len(sentences):
        raise ValueError(f"{name} must hold at least one sentence, got none.")
    return [sentence.split() for sentence in sentences]


def corpus_bleu(
    hypotheses: Sequence[str],
    references: Sequence[str],
    *,
    max_order: int = 4,
    num_bootstrap: int = 1000,
    seed: int = 0,
) -> tuple[float, float | None]:
    """Corpus BLEU of N hypotheses, one reference each, 0 to 100, and its standard error.

    By sacrebleu without tokenisation, without smoothing and without effective order: the number
    that multi-bleu.perl prints, and 0 where no n-gram of an order up to `max_order` matches. The
    error is the bootstrap's, over sentences: their counts are taken once and drawn again.

    Args:
        hypotheses: what a model wrote, N strings.
        references: what it should have written, N strings.
        max_order: longest n-gram.
        num_bootstrap: resamples of N sentences, at least 2.
        seed: of the resamples.
    """
    # here and not above: it opens files and logs, which `import hf_seqvae` has no need of
    from sacrebleu.metrics.bleu import BLEU

    _check_pairs(hypotheses, references)
    _check_order(max_order)
    if num_bootstrap < 2:
        raise ValueError(f"a standard error needs 2 or more resamples, got {num_bootstrap}.")
    # the counts of a sentence do not depend on effective_order; without it a warning is logged
    counter = BLEU(tokenize="none", max_ngram_order=max_order, effective_order=True)
    table = np.empty((len(hypotheses), 2 * max_order + 2), dtype=np.int64)
    for row, (hypothesis, reference) in enumerate(zip(hypotheses, references, strict=True)):
        found = counter.sentence_score(hypothesis, [reference])
        table[row] = [*found.counts, *found.totals, found.sys_len, found.ref_len]

    def score(counts: np.ndarray) -> float:
        matches, totals = counts[:max_order].tolist(), counts[max_order:-2].tolist()
        return BLEU.compute_bleu(
            matches, totals, int(counts[-2]), int(counts[-1]), max_ngram_order=max_order
        ).score

    value = score(table.sum(0))
    if len(table) == 1:
        return value, None
    scores = [score(times @ table) for times in _resamples(len(table), num_bootstrap, seed)]
    return value, float(np.std(scores, ddof=1))


def exact_match(hypotheses: Sequence[str], references: Sequence[str]) -> Tensor:
    """1 where a hypothesis has the reference's words, all of them and in order, else 0: (N,)."""
    pairs = _check_pairs(hypotheses, references)
    return torch.tensor([float(mine == theirs) for mine, theirs in pairs], dtype=torch.float64)


def token_accuracy(hypotheses: Sequence[str], references: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Right positions of each sentence and all its positions: (N,) and (N,), int64.

    Hypothesis and reference are laid side by side from the left, each with one EOS at its end. A
    position is right where both have the same token; all up to the end of the longer one count, so
    that max(words) + 1 positions are the denominator, and a word too many or too few makes an error
    of every position after it. The text is the model's own, read back freely, not one word after a
    given prefix.
    """
    right, positions = [], []
    for mine, theirs in _check_pairs(hypotheses, references):
        same = sum(a == b for a, b in zip(mine, theirs, strict=False))
        right.append(same + (len(mine) == len(theirs)))  # EOS meets EOS at equal length alone
        positions.append(max(len(mine), len(theirs)) + 1)
    return torch.tensor(right), torch.tensor(positions)


def self_bleu(samples: Sequence[str], *, max_order: int = 3) -> Tensor:
    """BLEU of each sample with all others as its references, 0 to 100; lower is more varied: (N,).

    Sentence BLEU with equal weights up to `max_order`, matches clipped by the reference that has
    most, brevity penalty by the reference nearest in length (the shorter of two), 0 without a
    common word; an order without a match counts as 0.1 matches, over 1 where a sample is too short
    to have such n-grams. An empty sample repeats another empty one, and counts 100, or else 0.
    Samples are references of each other, so that the standard error of their mean, which takes
    them for independent, is an approximation. Linear in the number of words.

    Source: Zhu et al., Texygen, arXiv 1802.01886; Chen and Cherry (2014), method 1.
    """
    words = split_words(samples, name="samples")
    if len(words) < 2:
        raise ValueError(f"self-BLEU compares samples: it needs 2 or more, got {len(words)}.")
    _check_order(max_order)
    lengths = np.array([len(sample) for sample in words])
    matches = np.empty((len(words), max_order))
    for order in range(1, max_order + 1):
        matches[:, order - 1] = _matches_with_others(words, order)
    totals = np.maximum(lengths[:, None] - np.arange(max_order), 1)  # (N, n)
    precisions = np.where(matches > 0, matches, _EPSILON) / totals
    nearest = _nearest_other(lengths)
    penalty = np.exp(np.minimum(0, 1 - nearest / np.maximum(lengths, 1)))
    scores = np.where(matches[:, 0] > 0, penalty * np.exp(np.log(precisions).mean(1)), 0.0)
    scores[(lengths == 0) & (nearest == 0)] = 1.0
    return torch.from_numpy(100 * scores)


def distinct_n(samples: Sequence[str], n: int) -> tuple[float, float | None]:
    """Different n-grams over all n-grams of the samples, in (0, 1], and its standard error.

    It falls with the amount of text: compare equal numbers of samples. The error is the jackknife's
    over samples, exact by counting the n-grams that one sample alone has; it errs on the large
    side. A bootstrap draws some samples twice and leaves others
    out, and so reports noise where no n-gram ever repeats.

    Source: Li et al., arXiv 1510.03055.
    """
    words = split_words(samples, name="samples")
    _check_order(n)
    grams = [Counter(_ngrams(sample, n)) for sample in words]
    holders = Counter(gram for counts in grams for gram in counts)
    own = np.array([sum(holders[gram] == 1 for gram in counts) for counts in grams])
    totals = np.array([counts.total() for counts in grams])
    different, total = len(holders), int(totals.sum())
    if not total:
        raise ValueError(f"distinct-{n} needs a sample of {n} or more words, got none.")
    if (totals == total).any():  # one sample holds every n-gram
        return different / total, None
    without = (different - own) / (total - totals)  # the figure without each sample
    spread = np.square(without - without.mean()).sum()
    return different / total, math.sqrt((len(words) - 1) / len(words) * spread)


@dataclass(frozen=True)
class LengthDistribution:
    """Lengths in words, without EOS; each but the floor is (value, standard error)."""

    samples_mean: tuple[float, float | None]
    data_mean: tuple[float, float | None]
    difference: tuple[float, float | None]  # samples less data
    total_variation: tuple[float, float | None]  # between the histograms, 0 to 1
    noise_floor: float  # what total_variation reads where the samples have the data's lengths


def length_distribution(
    samples: Sequence[str], data: Sequence[str], *, num_bootstrap: int = 1000, seed: int = 0
) -> LengthDistribution:
    """How the lengths of samples differ from those of the data.

    The total variation distance is half the sum of |share of samples - share of data| over lengths.
    It is above 0 for any finite text: `noise_floor` is its mean over `num_bootstrap` pairs of texts
    of these two sizes, both drawn from the data's histogram. Its standard error is the bootstrap's.
    """
    if num_bootstrap < 2:
        raise ValueError(f"a standard error needs 2 or more resamples, got {num_bootstrap}.")
    mine = np.array([len(words) for words in split_words(samples, name="samples")])
    theirs = np.array([len(words) for words in split_words(data, name="data")])
    size = max(mine.max(), theirs.max()) + 1
    shares = [np.bincount(lengths, minlength=size) / len(lengths) for lengths in (mine, theirs)]

    def distances(left: np.ndarray, right: np.ndarray) -> np.ndarray:
        drawn = np.random.default_rng(seed)
        left = drawn.multinomial(len(mine), left, num_bootstrap) / len(mine)
        right = drawn.multinomial(len(theirs), right, num_bootstrap) / len(theirs)
        return np.abs(left - right).sum(1) / 2

    mean, error = _mean(mine)
    data_mean, data_error = _mean(theirs)
    if error is None or data_error is None:
        difference_error = variation_error = None
    else:
        difference_error = math.hypot(error, data_error)
        variation_error = float(distances(*shares).std(ddof=1))
    return LengthDistribution(
        samples_mean=(mean, error),
        data_mean=(data_mean, data_error),
        difference=(mean - data_mean, difference_error),
        total_variation=(float(np.abs(shares[0] - shares[1]).sum() / 2), variation_error),
        noise_floor=float(distances(shares[1], shares[1]).mean()),
    )


def _check_pairs(
    hypotheses: Sequence[str], references: Sequence[str]
) -> list[tuple[list[str], list[str]]]:
    mine = split_words(hypotheses, name="hypotheses")
    theirs = split_words(references, name="references")
    if len(mine) != len(theirs):
        raise ValueError(
            f"each hypothesis needs one reference, got {len(mine)} hypotheses and {len(theirs)} "
            "references."
        )
    return list(zip(mine, theirs, strict=True))


def _check_order(order: int) -> None:
    if order < 1:
        raise ValueError(f"n-grams have 1 or more words, got n={order}.")


def _mean(values: np.ndarray) -> tuple[float, float | None]:
    mean, error = mean_and_standard_error(torch.from_numpy(values))
    return float(mean), None if error is None else float(error)


def _resamples(count: int, num_bootstrap: int, seed: int) -> Iterator[np.ndarray]:
    """How often each of `count` sentences is drawn, for one resample after another: (count,)."""
    drawn = np.random.default_rng(seed)
    for _ in range(num_bootstrap):
        yield np.bincount(drawn.integers(0, count, count), minlength=count)


def _ngrams(words: list[str], n: int) -> Iterator[tuple[str, ...]]:
    return zip(*(words[start:] for start in range(n)), strict=False)


def _matches_with_others(words: list[list[str]], order: int) -> list[int]:
    """n-grams of each sample that another has, each as often as the other that has it most."""
    grams = [Counter(_ngrams(sample, order)) for sample in words]
    # the two largest counts of an n-gram answer for "the largest among all others"
    largest: dict[tuple[str, ...], tuple[int, int]] = {}
    for counts in grams:
        for gram, times in counts.items():
            first, second = largest.get(gram, (0, 0))
            largest[gram] = (times, first) if times > first else (first, max(second, times))
    return [
        sum(
            # a sample that has the largest count itself meets the second, be it as large
            min(times, largest[gram][times == largest[gram][0]])
            for gram, times in counts.items()
        )
        for counts in grams
    ]


def _nearest_other(lengths: np.ndarray) -> np.ndarray:
    """For each length that of another sample nearest to it, the shorter of two: (N,)."""
    present, place, counts = np.unique(lengths, return_inverse=True, return_counts=True)
    nearest = present.copy()
    for index in np.flatnonzero(counts == 1):
        others = np.delete(present, index)
        nearest[index] = others[np.abs(others - present[index]).argmin()]
    return nearest[place]
