"""Importance-weighted perplexity as an `evaluate` module, from log importance weights."""

from collections.abc import Sequence
from typing import Any

import evaluate
import torch
from datasets import Features, List, Value

from hf_seqvae.evaluate_modules.columns import BURDA, check_options, table
from hf_seqvae.metrics import (
    importance_from_log_weights,
    mean_and_standard_error,
    perplexity_and_standard_error,
)

_DESCRIPTION = """
Importance-weighted negative log likelihood of a latent variable model, and the perplexity that
follows from it. Each sentence comes with K log weights log p(x, z_k) - log q(z_k|x), z_k drawn from
q(z|x); its nll is -log (1/K) sum_k w_k, in expectation an upper bound on -log p(x) that falls in K.
The perplexity is exp(sum of nll / sum of units), an upper bound too. Compare figures of equal K and
of the same unit only.
"""

_INPUTS = """
Args:
    log_weights: log p(x, z_k) - log q(z_k|x) in nats, EOS included in p(x|z), (N, K): a list of K
        numbers a sentence, or an array or tensor of that shape. Kept in float64.
    num_units: what is predicted in each sentence, (N,): words + 1 for EOS, or the decoder's tokens
        with EOS among them.
    unit (option of compute): "word" (default) or "token": which of the two num_units counts.

Returns:
    iw_nll: mean over sentences, nats.
    iw_nll_standard_error: over sentences; None for one sentence.
    word_perplexity or token_perplexity, by the unit: exp(sum of nll / sum of num_units).
    word_perplexity_standard_error or token_perplexity_standard_error; None for one sentence.
    effective_sample_size: (sum w)^2 / sum w^2, 1 to K, mean over sentences. Near 1, one sample
        decides and the bound is loose.
    num_samples: K.
    num_sentences: N.
"""


class IWPerplexity(evaluate.Metric):
    """Importance-weighted nll and perplexity per word + EOS or per token."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=BURDA,
            inputs_description=_INPUTS,
            features=Features({"log_weights": List(Value("float64")), "num_units": Value("int64")}),
            reference_urls=["https://arxiv.org/abs/1509.00519"],
        )

    def _compute(
        self,
        *,
        log_weights: Sequence[Sequence[float]],
        num_units: Sequence[int],
        unit: str = "word",
        **others: Any,
    ) -> dict[str, Any]:
        check_options("iw_perplexity", others, ["unit"])
        if unit not in ("word", "token"):
            raise ValueError(f"unit must be 'word' (words + EOS) or 'token', got {unit!r}.")
        weights = table(log_weights, "log_weights")  # (N, K)
        counts = torch.tensor(num_units)
        if (counts < 1).any():
            row = int((counts < 1).nonzero()[0])
            raise ValueError(
                f"num_units counts EOS and is 1 or more, got {num_units[row]} (sentence {row})."
            )
        estimate = importance_from_log_weights(weights.T)
        nll, error = mean_and_standard_error(estimate.nll)
        perplexity, perplexity_error = perplexity_and_standard_error(estimate.nll, counts)
        return {
            "iw_nll": float(nll),
            "iw_nll_standard_error": None if error is None else float(error),
            f"{unit}_perplexity": perplexity,
            f"{unit}_perplexity_standard_error": perplexity_error,
            "effective_sample_size": float(estimate.effective_sample_size.mean()),
            "num_samples": weights.shape[1],
            "num_sentences": len(weights),
        }
