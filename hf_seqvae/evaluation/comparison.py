"""Models side by side: differences sentence by sentence, in standard errors."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from hf_seqvae.evaluation.report import Report
from hf_seqvae.metrics import mean_and_standard_error

# figures that are means over sentences, and the column that holds them; where lower is better: -1
PAIRED = {
    "iw_nll": ("iw_nll", -1),
    "negative_elbo": ("negative_elbo", -1),
    "exact_model_nll": ("nll", -1),
    "reconstruction_nll": ("reconstruction_nll", -1),
    "zero_latent_nll": ("zero_nll", 0),
    "kl": ("kl", 0),
    "mutual_information": ("mutual_information", 0),
    "swap_gap": ("swap_gap", 0),
    "length_saving": ("saved_length", 0),
}
# what a model without latents is held against: its exact nll beside the tightest bound of others
LIKELIHOOD = ("exact_model_nll", "iw_nll", "negative_elbo")


@dataclass(frozen=True)
class Difference:
    """A figure of a second model less that of the first, over the same sentences.

    Attributes:
        name: of the figure.
        difference: nats a sentence.
        standard_error: of the difference, paired; None for one sentence.
        sign: -1 where lower is better, 0 where neither is.
    """

    name: str
    difference: float
    standard_error: float | None
    sign: int

    @property
    def in_standard_errors(self) -> float | None:
        """The difference over its standard error; None where there is none."""
        if not self.standard_error:
            return None
        return self.difference / self.standard_error


def compare(first: Report, second: Report) -> list[Difference]:
    """Paired differences, second less first, of every figure that both have by sentence.

    Models with and without latents are compared by their likelihood: the exact nll of the one and
    the tightest bound of the other.

    Raises:
        ValueError: the reports are not of the same texts, or their iw_nll not of the same K.
    """
    check_same_texts({"the first": first, "the second": second})
    _check_same_samples(first, second)
    found = []
    for name, (column, sign) in PAIRED.items():
        if column in first.per_sentence and column in second.per_sentence:
            found.append(_difference(name, first, column, second, column, sign))
    if not any(item.name in LIKELIHOOD for item in found):
        columns = [_likelihood(report) for report in (first, second)]
        name = " against ".join(reversed(columns))
        found.insert(0, _difference(name, first, columns[0], second, columns[1], -1))
    return found


def check_same_texts(reports: Mapping[str, Report]) -> None:
    """Raises unless all reports, by name, are of the same texts, cut at the same places."""
    hashes = {name: report.data.get("texts_sha256") for name, report in reports.items()}
    if len(set(hashes.values())) > 1 or None in hashes.values():
        sizes = ", ".join(
            f"{name}: {report.num_sentences} sentences, {str(hashes[name])[:8]}"
            for name, report in reports.items()
        )
        raise ValueError(
            f"differences are taken sentence by sentence, over the same texts; got {sizes}. "
            "Evaluate the models on one file, with the same limits."
        )
    words = {name: report.num_words for name, report in reports.items()}
    if len(set(words.values())) > 1:
        sizes = ", ".join(f"{name}: {number} words" for name, number in words.items())
        raise ValueError(
            f"the same texts were read, and not as much of them, as some were cut: {sizes}. "
            "Evaluate the models with one --max-length that all of them can read."
        )


def _check_same_samples(first: Report, second: Report) -> None:
    counts = [
        report.settings["iw_samples"]
        for report in (first, second)
        if "iw_nll" in report.per_sentence
    ]
    if len(set(counts)) > 1:
        raise ValueError(
            f"iw_nll falls with K, whatever the model, got K = {counts[0]} and {counts[1]}. "
            "Evaluate both models with the same --iw-samples."
        )


def _likelihood(report: Report) -> str:
    return next(PAIRED[name][0] for name in LIKELIHOOD if PAIRED[name][0] in report.per_sentence)


def _difference(
    name: str, first: Report, own: str, second: Report, other: str, sign: int
) -> Difference:
    values = torch.from_numpy(second.per_sentence[other] - first.per_sentence[own])
    mean, error = mean_and_standard_error(values)
    return Difference(name, float(mean), None if error is None else float(error), sign)
