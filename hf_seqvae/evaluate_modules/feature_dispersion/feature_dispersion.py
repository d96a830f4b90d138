"""Feature dispersion as an `evaluate` module: how widely features of sentences spread."""

from collections.abc import Sequence
from typing import Any

import evaluate
from datasets import Features, List, Value

from hf_seqvae.evaluate_modules.columns import check_options, table
from hf_seqvae.metrics import (
    mean_pairwise_cosine,
    participation_ratio,
    relative_variance,
    total_variance,
)

_DESCRIPTION = """
Dispersion of the features of N sentences (encoder states after pooling, posterior means, sentence
embeddings), by four statistics that are linear in N. They can disagree: an offset common to all
features leaves the variance alone, but lowers the relative variance and raises the cosine. Two
sentences are the least that can be compared.
"""

_INPUTS = """
Args:
    features: one vector for each sentence, (N, H): a list of H numbers a sentence, or an array or
        tensor of that shape. Kept in float64. A vector of zeros has no direction and is refused.

Returns:
    variance: trace of the covariance (divided by N), in the square of the features' unit. The mean
        squared distance between two different sentences is 2 N / (N - 1) times this.
    relative_variance: variance / mean squared norm, 0 (all equal) to 1 (their mean is zero).
    mean_cosine: mean cosine between two different sentences, -1 / (N - 1) to 1; lower is more
        dispersed.
    participation_ratio: (sum of eigenvalues of the covariance)^2 / sum of their squares: in how
        many directions the features spread, 1 to H. None where all features are equal.
    reason: why the participation ratio is None, or None.
    num_sentences: N.
"""

_CITATION = """
@article{long2019dispersion,
  title = {On Posterior Collapse and Encoder Feature Dispersion in Sequence VAEs},
  author = {Long, Teng and Cao, Yanshuai and Cheung, Jackie Chi Kit},
  journal = {arXiv preprint arXiv:1911.03976},
  year = {2019},
  url = {https://arxiv.org/abs/1911.03976}
}
"""


class FeatureDispersion(evaluate.Metric):
    """Variance, relative variance, mean cosine and participation ratio of features."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_INPUTS,
            features=Features({"features": List(Value("float64"))}),
            reference_urls=["https://arxiv.org/abs/1911.03976"],
        )

    def _compute(self, *, features: Sequence[Sequence[float]], **others: Any) -> dict[str, Any]:
        check_options("feature_dispersion", others, [])
        values = table(features, "features")
        figures = {
            "variance": float(total_variance(values)),
            "relative_variance": float(relative_variance(values)),
            "mean_cosine": float(mean_pairwise_cosine(values)),
            "participation_ratio": None,
            "reason": None,
            "num_sentences": len(values),
        }
        if (values == values[0]).all():
            figures["reason"] = "all features are equal: they spread in no direction"
        else:
            figures["participation_ratio"] = float(participation_ratio(values))
        return figures
