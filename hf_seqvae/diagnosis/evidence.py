"""The evidence behind a verdict: figures of a report, each with how to read it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from hf_seqvae.diagnosis.rules import LIMITS, Limits
from hf_seqvae.evaluation.report import Figure, Report

_DISPERSION = (
    ("features", "states", "of every encoder state, before pooling"),
    ("pooled", "pooled", "of the pooled features, which the posterior reads"),
    ("posterior_mean", "means", "of the posterior means"),
)


@dataclass(frozen=True)
class Evidence:
    """One figure, its uncertainty and how to read it.

    Attributes:
        name: of the figure in the report.
        label: what it is called in a table.
        value: the figure; a list where each dimension or place has one; None where undefined.
        reading: what it says, in words; where it is undefined, why.
        standard_error: of `value`, over sentences.
        cap: the most that the estimator can say.
        unit: "nats", "" for a share or a count.
    """

    name: str
    label: str
    value: float | list[float] | None
    reading: str
    standard_error: float | list[float] | list[float | None] | None = None
    cap: float | None = None
    unit: str = ""


def gather_evidence(report: Report, *, limits: Limits = LIMITS) -> tuple[Evidence, ...]:
    """Every line of evidence that the report has figures for, in the order of the argument."""
    return tuple(
        line
        for lines in (
            _rate(report, limits),
            _information(report, limits),
            _decoder(report, limits),
            _units(report, limits),
            _dispersion(report),
            _places(report),
        )
        for line in lines
    )


def _line(name: str, label: str, figure: Figure, reading: str, unit: str = "") -> Evidence:
    said = reading if figure.reason is None else f"undefined: {figure.reason}"
    return Evidence(name, label, figure.value, said, figure.standard_error, figure.cap, unit)


def _value(report: Report, name: str) -> Any:
    """The value of a figure, None where it is undefined or not in the report."""
    figure = report.figures.get(name)
    return None if figure is None else figure.value


def _rate(report: Report, limits: Limits) -> Iterator[Evidence]:
    reading = (
        f"what z costs; below {limits.paid_kl:g} nothing is paid, below {limits.useful_kl:g} "
        "z can say little"
    )
    yield _line("kl", "KL", report["kl"], reading, "nats")
    figure = report["kl_per_dimension"]
    values = sorted(_list(figure.value), reverse=True)
    paid = sum(value >= limits.paid_kl for value in values)
    reading = f"{paid} of {len(values)} dimensions cost {limits.paid_kl:g} nats or more"
    if sum(values) > 0 and len(values) > 3:
        reading += f"; the first three hold {sum(values[:3]) / sum(values):.0%}"
    yield _line("kl_per_dimension", "KL by dimension", figure, reading, "nats")


def _information(report: Report, limits: Limits) -> Iterator[Evidence]:
    figure = report["mutual_information"]
    reading = "how much q(z|x) tells which sentence it is"
    if figure.value is not None and figure.cap is not None:
        near = _number(figure.value) > figure.cap - 1
        reading += f", at most ln N = {figure.cap:.2f}"
        reading += ": too near for more than a lower bound" if near else ""
    yield _line("mutual_information", "MI", figure, reading, "nats")
    if "used_fraction" in report.figures:
        reading = (
            f"MI / KL: the share that is used; below {limits.used_fraction:g} most is wasted, "
            f"below {limits.unused_fraction:g} next to all"
        )
        yield _line("used_fraction", "used of the KL", report["used_fraction"], reading)


def _decoder(report: Report, limits: Limits) -> Iterator[Evidence]:
    losses = (
        ("reconstruction_nll", "loss, own z", "decoder's -log p(x|z) with the sentence's own z"),
        ("exchanged_nll", "loss, shuffled z", "the same with the z of another sentence"),
        ("zero_latent_nll", "loss, z = 0", "the same with the z in the middle of the prior"),
    )
    for name, label, reading in losses:
        if name in report.figures:
            yield _line(name, label, report[name], reading, "nats")
    reading = (
        f"what another's z costs; a decoder that uses all of z loses the MI or more, below "
        f"{limits.heard_fraction:g} of it the decoder does not listen"
    )
    yield _line("swap_gap", "swap gap", report["swap_gap"], reading, "nats")
    if "zero_gap" in report.figures:
        yield _line("zero_gap", "zero gap", report["zero_gap"], "what z = 0 costs", "nats")


def _units(report: Report, limits: Limits) -> Iterator[Evidence]:
    figure = report["active_units"]
    reading = (
        f"dimensions whose mean varies; free bits can hold all of them up, so many prove little, "
        f"fewer than {limits.active_fraction:.0%} that most are empty"
    )
    yield _line("active_units", "active units", figure, reading)


def _dispersion(report: Report) -> Iterator[Evidence]:
    for prefix, label, what in _DISPERSION:
        name = f"{prefix}_relative_variance"
        if name not in report.figures:
            continue
        reading = f"relative variance {what}"
        cosine, variance = (
            _value(report, f"{prefix}_{part}") for part in ("mean_cosine", "variance")
        )
        if cosine is not None and variance is not None:
            reading += f"; mean cosine {cosine:.2f}, variance {variance:.3g}"
        yield _line(name, f"dispersion, {label}", report[name], reading)


def _places(report: Report) -> Iterator[Evidence]:
    """Where in the sentence pooling looks, and where z helps."""
    winners = report.figures.get("pooling_winners")
    if winners is not None and winners.value is not None:
        shares = _list(winners.value)
        reading = (
            "share of coordinates that max pooling takes from each token; the first gives "
            f"{shares[0]:.0%}"
        )
        yield _line("pooling_winners", "pooling looks at", winners, reading)
    savings = report.figures.get("position_savings")
    if savings is not None and savings.value is not None:
        yield _line(
            "position_savings", "saved by token", savings, "what z saves at each token", "nats"
        )
    ratio = report.figures.get("first_words_ratio")
    if ratio is not None:
        reading = (
            "savings a token in the first quarter over those in all: 1, all words alike; 4, z "
            "holds the first quarter alone"
        )
        yield _line("first_words_ratio", "first words", ratio, reading)


def _list(value: Any) -> list[float]:
    return list(value)


def _number(value: Any) -> float:
    return float(value)
