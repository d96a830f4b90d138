"""Dispersion figures: encoder states, pooled features and posterior means, each named."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from hf_seqvae.evaluation.figures import ONE_SENTENCE
from hf_seqvae.evaluation.report import Figure
from hf_seqvae.metrics import (
    dispersion_of_sums,
    jackknife,
    mean_and_standard_error,
    mean_pairwise_cosine,
    participation_ratio,
    relative_variance,
    spectrum,
    total_variance,
)
from hf_seqvae.metrics.dispersion import FeatureSums

GROUPS = 16  # of sentences, for standard errors by the jackknife
_LARGEST = 64  # eigenvalues that a report lists
_EQUAL = 1e-12  # relative variance of features that differ by the rounding of float32 alone
_STATISTICS = ("variance", "relative_variance", "mean_cosine")


def dispersion_figures(encoded: Mapping[str, Tensor]) -> dict[str, Figure]:
    """Three statistics of each set of features, their spectrum, and who wins max pooling.

    Args:
        encoded: the table of the encoding pass.
    """
    figures = _of_states(encoded)
    figures |= _of_rows("pooled", "pooled encoder features", encoded["pooled"])
    figures |= _of_rows("posterior_mean", "posterior means", encoded["posterior_mean"])
    if "winners" in encoded:
        counts = encoded["winners"].double()
        shares, errors = mean_and_standard_error(counts / counts.sum(1, keepdim=True))
        figures["pooling_winners"] = Figure(
            shares.tolist(),
            "share of the coordinates of max pooling that each token gives, from the first that "
            "counts on",
            None if errors is None else errors.tolist(),
        )
    return figures


def _definitions(what: str) -> dict[str, str]:
    return {
        "variance": f"tr Cov of the {what}, divided by N",
        "relative_variance": f"tr Cov / E||f||^2 of the {what}, 0 to 1",
        "mean_cosine": f"mean cosine between two of the {what}; lower is more dispersed",
    }


def _of_states(encoded: Mapping[str, Tensor]) -> dict[str, Figure]:
    """Encoder states before pooling: every token of every sentence is one."""
    sums = FeatureSums(*(encoded[f"features_{name}"] for name in FeatureSums._fields))
    definitions = _definitions("encoder states of all tokens")
    reason = None
    if int(sums.count.sum()) < 2:
        reason = "one token: there is no other to compare it with"
    elif not float(sums.squares.sum()) > 0 or not torch.isfinite(sums.directions).all():
        reason = "an encoder state is zero"
    if reason is not None:
        return {
            f"features_{name}": Figure(None, definitions[name], reason=reason)
            for name in _STATISTICS
        }
    # sums by group of sentences, of which the jackknife leaves out one at a time
    place = torch.arange(len(sums.count)) % GROUPS
    sums = FeatureSums(
        *(
            torch.zeros(GROUPS, *value.shape[1:], dtype=torch.float64).index_add_(
                0, place, value.double()
            )
            for value in sums
        )
    )
    places = torch.arange(min(GROUPS, len(place)))

    def of(rows: Tensor, name: str) -> float:
        return getattr(dispersion_of_sums(FeatureSums(*(value[rows] for value in sums))), name)

    return {
        f"features_{name}": Figure(
            of(places, name),
            definitions[name],
            jackknife(lambda rows, name=name: of(rows, name), places),
        )
        for name in _STATISTICS
    }


def _of_rows(name: str, what: str, features: Tensor) -> dict[str, Figure]:
    zero = (features == 0).all(1)  # (N,)
    one = ONE_SENTENCE if len(features) == 1 else None
    equal = one or ("all of them are equal" if _all_equal(features) else None)
    definitions = _definitions(what)

    def figure(measure: Callable[[Tensor], Tensor], definition: str, reason: str | None) -> Figure:
        if reason is not None:
            return Figure(None, definition, reason=reason)
        try:
            error = jackknife(lambda rows: float(measure(rows)), features)
        except ValueError:  # without some group of sentences the statistic is undefined
            error = None
        return Figure(float(measure(features)), definition, error)

    eigenvalues = None if one else spectrum(features)[:_LARGEST].tolist()
    return {
        f"{name}_variance": figure(total_variance, definitions["variance"], one),
        f"{name}_relative_variance": figure(
            relative_variance,
            definitions["relative_variance"],
            one or ("every feature is zero" if zero.all() else None),
        ),
        f"{name}_mean_cosine": figure(
            mean_pairwise_cosine,
            definitions["mean_cosine"],
            one or ("a feature is zero" if zero.any() else None),
        ),
        f"{name}_participation_ratio": figure(
            participation_ratio,
            f"(sum of eigenvalues)^2 / sum of squares, of Cov of the {what}: in how many "
            "directions they spread",
            equal,
        ),
        f"{name}_spectrum": Figure(
            eigenvalues,
            f"eigenvalues of Cov of the {what}, the largest {_LARGEST}",
            reason=one,
        ),
    }


def _all_equal(features: Tensor) -> bool:
    """Whether two or more features are one and the same, but for the shape of their batches."""
    return bool((features == 0).all()) or float(relative_variance(features)) < _EQUAL
