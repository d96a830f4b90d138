"""Does dispersion early predict the use of the latents late? Rank correlations over runs.

The hypothesis of Long, Cao and Cheung, arXiv 1911.03976: widely dispersed features of the encoder
keep the posterior from collapsing.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from hf_seqvae.study.initial import STATISTICS
from hf_seqvae.study.result import Result
from hf_seqvae.study.statistics import Interval, rank_correlation_interval

OUTCOMES = ("kl", "mutual_information")


@dataclass(frozen=True)
class Prediction:
    """How one statistic at one time goes with one outcome.

    Attributes:
        statistic: of the pooled features.
        when: "init", "epoch 1", ... (validation text) or "end" (best weights, evaluated split).
        outcome: at the end.
        n: runs, each seed one.
        correlation: Spearman's, with its bootstrap interval over runs; None where undefined.
    """

    statistic: str
    when: str
    outcome: str
    n: int
    correlation: Interval | None


def predictions(results: Sequence[Result], *, seed: int = 0) -> list[Prediction]:
    """Rank correlation of each statistic at each time with KL and MI at the end.

    Seeds of one recipe count as points of their own. Undefined below 4 runs, and where one side is
    the same for all.

    Args:
        results: of the runs that the hypothesis is about; those without latents or unfinished are
            left out.
        seed: of the bootstrap.
    """
    known = [one for one in results if one.finished and one.figures["kl"] is not None]
    found = []
    for statistic in STATISTICS:
        for when, values in _over_time(known, statistic):
            pairs = [(x, one) for x, one in zip(values, known, strict=True) if x is not None]
            for outcome in OUTCOMES:
                ends = [(x, y) for x, one in pairs if (y := one.figures[outcome]) is not None]
                correlation = rank_correlation_interval(
                    [x for x, _ in ends], [y for _, y in ends], seed=seed
                )
                found.append(Prediction(statistic, when, outcome, len(ends), correlation))
    return found


def _over_time(
    results: Sequence[Result], statistic: str
) -> Iterator[tuple[str, list[float | None]]]:
    """(when, value of each result): init, every epoch that all have, end."""
    yield "init", [one.figures[f"initial_{statistic}"] for one in results]
    for number in range(min((len(one.validations) for one in results), default=0)):
        lines = [one.validations[number] for one in results]
        values = [line.get(f"eval/{statistic}") for line in lines]
        if any(value is not None for value in values):
            yield f"epoch {lines[0]['epoch']:g}", values
    yield "end", [one.figures[statistic] for one in results]
