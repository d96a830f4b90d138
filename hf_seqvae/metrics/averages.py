"""Averages over sentences with their standard errors, and perplexities named by their unit."""

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor


def mean_and_standard_error(values: Tensor) -> tuple[Tensor, Tensor | None]:
    """Mean over the first axis and its standard error, in float64; no error for a single value."""
    count = len(values)
    if count == 0:
        raise ValueError("the mean of no values is undefined: give at least one sentence.")
    values = values.double()
    if count == 1:
        return values.mean(0), None
    return values.mean(0), values.std(0, correction=1) / math.sqrt(count)


def ratio_and_standard_error(
    numerators: Tensor, denominators: Tensor
) -> tuple[float, float | None]:
    """sum of numerators / sum of denominators over N sentences, with its standard error.

    The error is the linearised one: of the mean of (numerator - ratio * denominator), over the mean
    denominator. None for a single sentence.
    """
    if len(numerators) != len(denominators):
        raise ValueError(
            f"a ratio needs one denominator for each of {len(numerators)} numerators, "
            f"got {len(denominators)}."
        )
    numerators, denominators = numerators.double(), denominators.double()
    total = float(denominators.sum())
    if not total > 0:
        raise ValueError(f"a ratio needs denominators that add up to more than 0, got {total}.")
    ratio = float(numerators.sum()) / total
    _, error = mean_and_standard_error(numerators - ratio * denominators)
    return ratio, None if error is None else float(error) * len(numerators) / total


def perplexity_and_standard_error(nll: Tensor, counts: Tensor) -> tuple[float, float | None]:
    """exp(sum of nats / sum of counts) of N sentences, and its standard error.

    Args:
        nll: -log p(x) of each sentence or a bound on it, in nats, (N,).
        counts: what is predicted in each: words + 1 EOS for the word perplexity, labels for that of
            tokens, (N,).

    Returns:
        infinity, without an error, where the perplexity is beyond the largest float.
    """
    rate, error = ratio_and_standard_error(nll, counts)  # nats per unit
    value = _exp(rate)
    # an infinite perplexity has no error, and the error of a rate is that of its exponential / ppl
    return value, None if error is None or math.isinf(value) else error * value


def word_perplexity(total_nll: float, total_words_plus_eos: int) -> float:
    """exp(sum of nats / (words + one EOS a sentence)); a bound wherever the nats are one.

    The unit of the literature's figures: EOS is counted, BOS is not.
    """
    return _perplexity(total_nll, total_words_plus_eos)


def token_perplexity(total_nll: float, total_tokens: int) -> float:
    """exp(sum of nats / tokens), EOS among them; comparable between equal tokenizers only."""
    return _perplexity(total_nll, total_tokens)


def jackknife(
    statistic: Callable[[Tensor], float], values: Tensor, *, num_groups: int = 16
) -> float | None:
    """Standard error of a statistic of N rows by leaving out one of G groups at a time.

    Rows i::G form a group. sqrt((G - 1) / G * sum of squared deviations of the G figures from their
    mean), for statistics that are smooth in the data. None for fewer than 3 rows.
    """
    count = len(values)
    groups = min(num_groups, count)
    if groups < 3:
        return None
    place = torch.arange(count, device=values.device) % groups
    figures = torch.tensor(
        [statistic(values[place != group]) for group in range(groups)], dtype=torch.float64
    )
    spread = (figures - figures.mean()).square().sum()
    return math.sqrt((groups - 1) / groups * float(spread))


def _perplexity(total_nll: float, count: int) -> float:
    if count < 1:
        raise ValueError(f"a perplexity needs at least one predicted unit, got {count}.")
    return _exp(total_nll / count)


def _exp(rate: float) -> float:
    # NaN stays NaN
    return math.inf if rate >= math.log(np.finfo(np.float64).max) else math.exp(rate)
