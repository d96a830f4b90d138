"""The check of `evaluate`: each figure of its report on two-word sentences against enumeration."""

import math
from collections.abc import Iterator
from typing import Any

from datasets import Dataset
from torch import Tensor

from hf_seqvae.evaluation import Report, evaluate
from hf_seqvae.metrics import exchange_partners
from hf_seqvae.oracles import SENTENCES, Enumeration
from hf_seqvae.selfcheck.comparison import Comparison, same, sampled
from hf_seqvae.selfcheck.likelihood import two_words

COPIES = (40, 20, 20, 8, 6, 6, 6)  # of each sentence in the data set
NUM_SAMPLES, IW_SAMPLES, SEED = 64, 300, 3


def report(full: bool) -> Iterator[Comparison]:
    """Batches, chunks, averages and denominators of `evaluate`, not its estimators alone."""
    model, exact = two_words()
    rows = [n for n, copies in enumerate(COPIES) for _ in range(copies)]
    found = evaluate(
        model,
        _dataset(rows),
        num_samples=NUM_SAMPLES,
        iw_samples=IW_SAMPLES,
        seed=SEED,
        batch_size=16,
        decode_size=900,
    )
    yield from _likelihood(found, exact, rows)
    yield from _usage(found, exact, rows)


def _likelihood(found: Report, exact: Enumeration, rows: list[int]) -> Iterator[Comparison]:
    error = _error(exact.variance(exact.log_likelihood)[rows], NUM_SAMPLES)
    for name, values in (
        ("negative_elbo", exact.negative_elbo()),
        ("reconstruction_nll", exact.reconstruction_nll()),
    ):
        yield sampled(name, _value(found, name), values[rows].mean(), error)
    yield same("kl", _value(found, "kl"), exact.kl()[rows].mean(), tolerance=1e-5)
    variance = exact.importance_weight_variance()[rows]
    nll = -exact.log_prob()[rows]
    error, bias = _error(variance, IW_SAMPLES), 0.5 * float(variance.mean()) / IW_SAMPLES
    yield sampled("iw_nll", _value(found, "iw_nll"), nll.mean(), error, bias=bias)
    # words and one end each; here tokens are the same
    units = sum(len(SENTENCES[n]) + 1 for n in rows)
    perplexity = math.exp(float(nll.sum()) / units)
    slope = perplexity * len(rows) / units  # of the perplexity in the mean nll
    for name in ("word_perplexity", "token_perplexity"):
        yield sampled(name, _value(found, name), perplexity, slope * error, bias=slope * bias)


def _usage(found: Report, exact: Enumeration, rows: list[int]) -> Iterator[Comparison]:
    information = exact.mutual_information(rows)
    error = _error(exact.variance(exact.log_density_ratio(rows))[rows], NUM_SAMPLES)
    yield sampled("mutual_information", _value(found, "mutual_information"), information, error)
    rate = float(exact.kl()[rows].mean())
    value = _value(found, "used_fraction")
    yield sampled("used_fraction", value, information / rate, error / rate)
    means = exact.expectation(exact.grid.expand(len(SENTENCES), -1))[rows]
    active = int(means.var(correction=1) >= 0.01)
    yield same("active_units", _value(found, "active_units"), active)

    partners = [rows[n] for n in exchange_partners(len(rows), seed=SEED).tolist()]
    for name, values in (
        ("swap_gap", exact.log_likelihood),
        ("length_saving", exact.length_log_prob.sum(1)),
    ):
        mean, variance = exact.cross_expectation(values), exact.cross_variance(values)
        expected = mean[rows, rows] - mean[rows, partners]
        error = _error(variance[rows, rows] + variance[rows, partners], NUM_SAMPLES)
        yield sampled(name, _value(found, name), expected.mean(), error)


def _dataset(rows: list[int]) -> Dataset:
    words = [SENTENCES[n] for n in rows]
    return Dataset.from_dict(
        {
            "input_ids": [[0, *sentence, 0] for sentence in words],
            "labels": [[*sentence, 0] for sentence in words],
            "length": [len(sentence) + 1 for sentence in words],
            "num_words": [len(sentence) for sentence in words],
        }
    )


def _value(found: Report, name: str) -> Any:
    value = found[name].value
    return math.nan if value is None else value


def _error(variances: Tensor, num_samples: int) -> float:
    """Standard error of a mean over rows of means over samples; variances are (R,)."""
    return float((variances / num_samples).sum().sqrt()) / len(variances)
