"""Figures of the latents in a Trainer's evaluation, which holds on to no logits."""

from collections.abc import Callable
from dataclasses import fields
from typing import Any

import torch
from torch import Tensor
from transformers import EvalPrediction

from hf_seqvae.evaluation.figures import ACTIVE
from hf_seqvae.metrics import (
    active_units,
    kl_per_dimension,
    mutual_information,
    row_noise,
    sample_with_noise,
    used_fraction,
)
from hf_seqvae.model.outputs import SeqVAEOutput
from hf_seqvae.model.posterior import DiagonalGaussian

# a Trainer hands on a bare tuple: the fields behind the loss, in their order
_FIELDS = [field.name for field in fields(SeqVAEOutput)][1:]
_KEPT = ("reconstruction_nll", "posterior_mean", "posterior_logvar")


def trainer_metrics(*, num_samples: int = 1, seed: int = 0) -> dict[str, Callable[..., Any]]:
    """What a Trainer's evaluation keeps of a `SeqVAEModel`, and the figures that it makes of it.

        Trainer(model, args, eval_dataset=..., **trainer_metrics())

    Left alone, a Trainer with `compute_metrics` holds all that the model returned for every
    sentence, logits (N, L, V) among it. Here 1 + 2 Z numbers of each sentence are kept.

    Figures, named as in a `Report`, over all N sentences of all processes: "kl" (nats a sentence,
    closed form), "active_units" (at 0.01), "mutual_information" (nats, at most ln N) and
    "used_fraction" (absent where it is not defined); and "mean_latent_nll", -log p(x|z) at the
    posterior mean in nats a sentence, which is no term of a bound. Of one sentence there are "kl"
    and "mean_latent_nll" alone. `eval_elbo` is SeqVAETrainer's, which takes these beside it.

    Args:
        num_samples: posterior samples a sentence of the mutual information.
        seed: of these samples, which each sentence draws by its place in the data set.

    Returns:
        `compute_metrics` and `preprocess_logits_for_metrics`, which go together.
    """

    def compute_metrics(prediction: EvalPrediction) -> dict[str, float]:
        found: Any = prediction.predictions
        if not (isinstance(found, tuple) and len(found) == len(_KEPT)):
            raise ValueError(
                "compute_metrics reads what its own preprocess_logits_for_metrics keeps. Give "
                "Trainer both (**trainer_metrics()), without eval_do_concat_batches=False."
            )
        real = torch.as_tensor(prediction.label_ids != -100).any(1)
        nll, mean, logvar = (torch.as_tensor(values)[real] for values in found)
        return _figures(nll, mean, logvar, num_samples, seed)

    return {
        "compute_metrics": compute_metrics,
        "preprocess_logits_for_metrics": terms_of_sentences,
    }


def terms_of_sentences(outputs: Any, labels: Tensor) -> tuple[Tensor, ...]:
    """What a Trainer hands on of a batch -> reconstruction_nll (B,), posterior mean, logvar (B, Z).

    Args:
        outputs: the fields of a `SeqVAEOutput` behind its loss, without those that are None.
        labels: (B, L), not read.
    """
    whole = isinstance(outputs, tuple) and len(outputs) > _FIELDS.index("posterior_logvar")
    terms = dict(zip(_FIELDS, outputs, strict=False)) if whole else {}
    if not terms or [terms[name].dim() for name in ("logits", *_KEPT)] != [3, 1, 2, 2]:
        raise ValueError(
            "trainer_metrics reads the terms of a SeqVAEModel that scored labels in eval(), and "
            "got other outputs. Generated tokens (predict_with_generate) have no terms: judge them "
            "by a compute_metrics of their own."
        )
    return tuple(terms[name].float() for name in _KEPT)


def _figures(
    nll: Tensor, mean: Tensor, logvar: Tensor, num_samples: int, seed: int
) -> dict[str, float]:
    kl = float(kl_per_dimension(mean, logvar).sum())
    figures = {"kl": kl, "mean_latent_nll": float(nll.double().mean())}
    count, latent_size = mean.shape
    if count < 2:
        return figures
    noise = row_noise(range(count), num_samples, latent_size, seed=seed)
    latents = sample_with_noise(DiagonalGaussian(mean, logvar), noise)  # (S, N, Z)
    information = float(mutual_information(mean, logvar, latents))
    figures["mutual_information"] = information
    figures["active_units"] = float(active_units(mean, threshold=ACTIVE))
    share, _ = used_fraction(information, kl, count)
    return figures if share is None else figures | {"used_fraction": share}
