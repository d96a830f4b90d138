"""Runs over their seeds, and against the baseline: what the table says, as plain values."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from hf_seqvae.recipe import Recipe
from hf_seqvae.study.differing import run_words
from hf_seqvae.study.result import LIKELIHOOD, Result
from hf_seqvae.study.schema import Study, StudyRun
from hf_seqvae.study.statistics import Interval, Spread, paired_difference, spread

COSTS = ("wall_seconds", "cpu_seconds")


@dataclass(frozen=True)
class Row:
    """One run of a study, over its finished seeds.

    Attributes:
        run: what the study says of it.
        results: one a seed, in the order of the seeds, finished or not.
        differs: "key: base -> own" of the recipe, but for the seed; of a run with a recipe of its
            own the name of that, and "key: own".
        figures: mean and standard deviation over the finished seeds, where defined on all.
        costs: "wall_seconds" and "cpu_seconds" over those of the baseline with the same seed; empty
            where `no_costs` says why.
        difference: of the likelihood from the baseline's, nats a sentence, paired by seed and
            sentence; None for the baseline itself and where `no_difference` says why.
        no_difference: why there is no difference.
        no_costs: why there are no costs.
    """

    run: StudyRun
    results: tuple[Result, ...]
    differs: tuple[str, ...] = ()
    figures: dict[str, Spread] = field(default_factory=dict)
    costs: dict[str, Spread] = field(default_factory=dict)
    difference: Interval | None = None
    no_difference: str | None = None
    no_costs: str | None = None

    @property
    def finished(self) -> list[Result]:
        """The results with figures."""
        return [result for result in self.results if result.finished]


def compare_runs(study: Study, results: Sequence[Result], base: Recipe) -> list[Row]:
    """A row for each run of the study that has results, in the order of the study.

    Args:
        study: names the baseline, and the seed of the bootstrap (that of the evaluation).
        results: of all jobs.
        base: what the recipes differ from.
    """
    by_run = {run.name: [one for one in results if one.job.run == run.name] for run in study.runs}
    baseline = {one.job.seed: one for one in by_run[str(study.baseline)] if one.finished}
    return [
        _row(run, by_run[run.name], baseline, study, base) for run in study.runs if by_run[run.name]
    ]


def _row(
    run: StudyRun,
    results: Sequence[Result],
    baseline: dict[int, Result],
    study: Study,
    base: Recipe,
) -> Row:
    finished = [result for result in results if result.finished]
    names = finished[0].figures if finished else ()
    figures = {name: _spread(finished, lambda one, name=name: one.figures[name]) for name in names}
    pairs = [(one, baseline[one.job.seed]) for one in finished if one.job.seed in baseline]
    difference, reason = None, None
    if run.name != study.baseline:
        reason = _cannot_compare(pairs)
        if reason is None:
            own = [one.likelihoods for one, _ in pairs]
            other = [one.likelihoods for _, one in pairs]
            difference = paired_difference(own, other, seed=study.evaluation.seed)
    no_costs, costs = _cannot_divide(pairs), {}
    if no_costs is None:
        costs = {name: _spread(pairs, lambda pair, name=name: _ratio(pair, name)) for name in COSTS}
    return Row(
        run,
        tuple(results),
        run_words(run, base, results[0].job.recipe),
        {name: value for name, value in figures.items() if value is not None},
        {name: value for name, value in costs.items() if value is not None},
        difference,
        reason,
        no_costs,
    )


def _spread(items: Sequence[Any], value: Callable[[Any], float | None]) -> Spread | None:
    """Over all items; None where one has no value, or there is none."""
    values = [value(item) for item in items]
    known = [one for one in values if one is not None]
    return spread(known) if known and len(known) == len(values) else None


def _ratio(pair: tuple[Result, Result], name: str) -> float | None:
    mine, theirs = (result.figures[name] for result in pair)
    return None if mine is None or not theirs else mine / theirs


def _cannot_divide(pairs: Sequence[tuple[Result, Result]]) -> str | None:
    """Why seconds are not comparable; None where they are."""
    for own, other in pairs:
        if own is other or (own.machine and own.machine == other.machine):
            continue
        if not (own.machine and other.machine):
            return "seconds of an unknown machine"
        return f"seconds of another machine than the baseline's: {own.machine} and {other.machine}"
    return None


def _cannot_compare(pairs: Sequence[tuple[Result, Result]]) -> str | None:
    """Why likelihoods are not comparable; None where they are."""
    if not pairs:
        return "no seed is finished here and in the baseline"
    for own, other in pairs:
        if own.texts != other.texts or len(own.likelihoods) != len(other.likelihoods):
            return "other sentences than the baseline's"
        if own.figures[LIKELIHOOD] is None or other.figures[LIKELIHOOD] is None:
            return "the likelihood is undefined"
    return None
