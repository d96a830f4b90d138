"""Active units as an `evaluate` module: latent dimensions whose posterior mean varies."""

from collections.abc import Sequence
from typing import Any

import evaluate
from datasets import Features, List, Value

from hf_seqvae.evaluate_modules.columns import BURDA, check_options, table
from hf_seqvae.metrics import active_units

_DESCRIPTION = """
Active units of a VAE: the number of latent dimensions in which the posterior means of N sentences
have a variance (unbiased, n - 1) of at least `threshold`. The variances themselves come with it, so
that any other threshold can be applied: the literature uses 0.01, and sometimes 0.2 or n for n - 1.
Two sentences are the least that have a variance.
"""

_INPUTS = """
Args:
    posterior_mean: mean of q(z|x) for each sentence, (N, Z): a list of Z numbers a sentence, or an
        array or tensor of that shape. Kept in float64.
    threshold (option of compute): least variance of an active unit, 0.01 by default.

Returns:
    active_units: their number, 0 to Z.
    num_units: Z.
    variances: of the posterior means over sentences, Z numbers.
    threshold: the one applied.
    num_sentences: N.
"""


class ActiveUnits(evaluate.Metric):
    """Number of latent dimensions in use, by the variance of the posterior mean."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=BURDA,
            inputs_description=_INPUTS,
            features=Features({"posterior_mean": List(Value("float64"))}),
            reference_urls=["https://arxiv.org/abs/1509.00519"],
        )

    def _compute(
        self, *, posterior_mean: Sequence[Sequence[float]], threshold: float = 0.01, **others: Any
    ) -> dict[str, Any]:
        check_options("active_units", others, ["threshold"])
        mean = table(posterior_mean, "posterior_mean")
        return {
            "active_units": active_units(mean, threshold=threshold),
            "num_units": mean.shape[1],
            "variances": mean.var(0, correction=1).tolist(),
            "threshold": threshold,
            "num_sentences": len(mean),
        }
