"""Report -> Diagnosis: verdict, rule, evidence, meaning and remedies; no model is run."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from hf_seqvae.diagnosis.evidence import Evidence, gather_evidence
from hf_seqvae.diagnosis.meanings import meaning_of
from hf_seqvae.diagnosis.remedies import Remedy, remedies_for
from hf_seqvae.diagnosis.rules import LIMITS, Limits, Measured, judge
from hf_seqvae.evaluation.report import Report


@dataclass(frozen=True)
class Diagnosis:
    """What the collapse doctor finds.

    Attributes:
        verdict: one of `VERDICTS`.
        rule: the rule that gave it, with its figures.
        evidence: figures and how to read them.
        meaning: what the verdict means, in plain words.
        remedies: what to try next, the likeliest first.
    """

    verdict: str
    rule: str
    evidence: tuple[Evidence, ...]
    meaning: str
    remedies: tuple[Remedy, ...]

    def to_dict(self) -> dict[str, Any]:
        """The diagnosis as plain values for JSON."""
        values = asdict(self)
        for remedy, plain in zip(self.remedies, values["remedies"], strict=True):
            plain["line"] = remedy.line
        return values


def diagnose(
    report: Report, *, setup: Mapping[str, Any] | None = None, limits: Limits = LIMITS
) -> Diagnosis:
    """The diagnosis of a report of `hf_seqvae.evaluation.evaluate`.

    Args:
        report: of two sentences or more.
        setup: what the model has already, as `known_setup` gives it, so that no remedy repeats it.
        limits: thresholds of the rules.

    Raises:
        ValueError: a model without latents, one sentence alone, or a figure that is not finite.
    """
    if "swap_gap" not in report.figures:
        raise ValueError(
            "a diagnosis is of latents, and the report has no swap_gap: the model has no latents."
        )
    if report["swap_gap"].value is None:
        raise ValueError(
            f"a diagnosis compares sentences with each other and needs two or more, got "
            f"{report.num_sentences}. Give more text."
        )
    measured = measured_in(report)
    judgement = judge(measured, limits=limits)
    rule = judgement.rule + _doubt(report, measured, limits)
    size = {"model": {"latent_size": measured.latent_size}} if setup is None else setup
    return Diagnosis(
        verdict=judgement.verdict,
        rule=rule,
        evidence=gather_evidence(report, limits=limits),
        meaning=meaning_of(judgement.verdict),
        remedies=remedies_for(judgement, size),
    )


def measured_in(report: Report) -> Measured:
    """The figures of a report that the rules look at."""
    value: dict[str, Any] = {name: figure.value for name, figure in report.figures.items()}
    return Measured(
        kl=value["kl"],
        mutual_information=value["mutual_information"],
        num_sentences=report.num_sentences,
        swap_gap=value["swap_gap"],
        active_units=value["active_units"],
        latent_size=len(value["kl_per_dimension"]),
    )


def _doubt(report: Report, measured: Measured, limits: Limits) -> str:
    """A word of caution where the swap gap lies within two standard errors of its limit."""
    error: Any = report["swap_gap"].standard_error
    if error is None or measured.swap_gap is None or measured.kl < limits.paid_kl:
        return ""
    information, used = measured.mutual_information, measured.used
    unused = used is not None and used < limits.unused_fraction
    reference = measured.kl if information is None or unused else information
    limit = limits.heard_fraction * reference
    if abs(measured.swap_gap - limit) >= 2 * error:
        return ""
    return (
        f" (swap gap {measured.swap_gap:.2f} ± {error:.2f} is within two standard errors of its "
        f"limit {limit:.2f}: give more text)"
    )
