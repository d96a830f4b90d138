"""Mutual information as an `evaluate` module: what the latent tells of the sentence."""

import hashlib
import math
from collections.abc import Sequence
from typing import Any

import evaluate
import torch
from datasets import Features, List, Value
from torch import Tensor

from hf_seqvae.evaluate_modules.columns import check_options, same_shape, table
from hf_seqvae.metrics import (
    mean_and_standard_error,
    minibatch_cap,
    minibatch_mutual_information,
    pointwise_mutual_information,
)

_DESCRIPTION = """
Mutual information between sentence and latent under q, in nats: the mean over N sentences of
log q(z_i|x_i) - log (1/N) sum_j q(z_i|x_j), z_i drawn from q(z|x_i), where q(z|x) is a diagonal
Gaussian. Both terms are taken at the same z, so that it never exceeds its cap ln N and is 0 without
noise for a collapsed posterior. A figure near its cap says only that all N posteriors can be told
apart.

The mutual information within minibatches, whose cap is ln of the batch size, comes on request: it
is a different quantity, which a part of the literature reports. Two sentences are the least for
either.
"""

_INPUTS = """
Args:
    posterior_mean: mean of q(z|x) for each sentence, (N, Z): a list of Z numbers a sentence, or an
        array or tensor of that shape. Kept in float64, like the two others.
    posterior_logvar: logarithm of the variance of q(z|x), (N, Z).
    latents: one sample of q(z|x) for each sentence, (N, Z).
    batch_size (option of compute): sentences of a minibatch; none by default, and then there is no
        minibatch figure. Minibatches are drawn by a hash of the sentence's numbers, so that the
        order in which sentences come, and from which process, makes no difference.

Returns:
    mutual_information: nats.
    standard_error: over sentences, with the aggregate posterior as it is.
    cap: ln N, the most it can be.
    minibatch_mutual_information, minibatch_standard_error, minibatch_cap: with `batch_size` only.
    num_sentences: N.
"""

_CITATION = """
@inproceedings{he2019lagging,
  title = {Lagging Inference Networks and Posterior Collapse in Variational Autoencoders},
  author = {He, Junxian and Spokoyny, Daniel and Neubig, Graham and Berg-Kirkpatrick, Taylor},
  booktitle = {International Conference on Learning Representations},
  year = {2019},
  url = {https://arxiv.org/abs/1901.05534}
}
"""


class MutualInformation(evaluate.Metric):
    """Mutual information under q by the aggregate posterior of all sentences."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_INPUTS,
            features=Features(
                {
                    "posterior_mean": List(Value("float64")),
                    "posterior_logvar": List(Value("float64")),
                    "latents": List(Value("float64")),
                }
            ),
            reference_urls=["https://arxiv.org/abs/1901.05534"],
        )

    def _compute(
        self,
        *,
        posterior_mean: Sequence[Sequence[float]],
        posterior_logvar: Sequence[Sequence[float]],
        latents: Sequence[Sequence[float]],
        batch_size: int | None = None,
        **others: Any,
    ) -> dict[str, Any]:
        check_options("mutual_information", others, ["batch_size"])
        mean = table(posterior_mean, "posterior_mean")
        logvar = table(posterior_logvar, "posterior_logvar")
        sample = table(latents, "latents")
        same_shape(posterior_mean=mean, posterior_logvar=logvar, latents=sample)
        information = pointwise_mutual_information(mean, logvar, sample)
        value, error = mean_and_standard_error(information)
        figures = {
            "mutual_information": float(value),
            "standard_error": None if error is None else float(error),
            "cap": math.log(len(mean)),
            "num_sentences": len(mean),
        }
        if batch_size is not None:
            order = _order(torch.cat([mean, logvar, sample], dim=1))
            information = minibatch_mutual_information(
                mean[order], logvar[order], sample[order], batch_size=batch_size
            )
            value, error = mean_and_standard_error(information)
            figures["minibatch_mutual_information"] = float(value)
            figures["minibatch_standard_error"] = None if error is None else float(error)
            figures["minibatch_cap"] = minibatch_cap(len(mean), batch_size)
        return figures


def _order(rows: Tensor) -> list[int]:
    """Places of rows (N, D) in the order of their hashes: as good as random, and never another."""
    hashes = [hashlib.sha256(row.tobytes()).digest() for row in rows.numpy()]
    return sorted(range(len(hashes)), key=hashes.__getitem__)
