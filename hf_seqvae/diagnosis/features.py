"""Features for the doctor's pictures: dispersion under every pooling, signal and noise."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from hf_seqvae.evaluation.bound import evaluation_mode
from hf_seqvae.metrics.dispersion import mean_pairwise_cosine, relative_variance, total_variance
from hf_seqvae.model.pooling import POOLINGS, last_pool_both_ways

STATISTICS: dict[str, Callable[[Tensor], Tensor]] = {
    "variance": total_variance,
    "relative_variance": relative_variance,
    "mean_cosine": mean_pairwise_cosine,
}
PARAMETER_FREE = ("last", "first", "mean", "max", "abs_max", "mean_max")


def dispersion_by_pooling(
    model: Any, batches: Iterable[Mapping[str, Tensor]]
) -> dict[str, dict[str, float | None]]:
    """Three statistics of the same encoder states under each pooling without parameters.

    The states are those of the trained encoder, whatever pooling it was trained with: the picture
    shows what each operator makes of them, not what a model trained with it would have.

    Args:
        model: a SeqVAEModel; its mode is restored.
        batches: mappings of input_ids and attention_mask (B, T); two sentences or more in all.

    Returns:
        pooling -> {"variance", "relative_variance", "mean_cosine"} -> value, None where it is
        undefined (every feature is zero, or one is).
    """
    device = next(model.parameters()).device
    pooled: dict[str, list[Tensor]] = {name: [] for name in PARAMETER_FREE}
    poolings: dict[str, Any] = {name: POOLINGS[name] for name in PARAMETER_FREE}
    if getattr(model.encoder.backbone.config, "bidirectional", False):
        poolings["last"] = last_pool_both_ways
    with evaluation_mode(model):
        for batch in batches:
            ids, mask = (batch[name].to(device) for name in ("input_ids", "attention_mask"))
            states = model.encoder(input_ids=ids, attention_mask=mask).last_hidden_state
            real = model.encoder.pooling_mask(ids, mask)
            for name, pool in poolings.items():
                pooled[name].append(pool(states, real).float().cpu())
    found = {}
    for name, chunks in pooled.items():
        features = torch.cat(chunks)
        found[name] = {kind: _value(measure, features) for kind, measure in STATISTICS.items()}
    return found


def signal_to_noise(mean: Tensor, logvar: Tensor) -> Tensor:
    """(signal + noise) / noise of z along its principal directions, (Z,), largest first, 1 or more.

    Eigenvalues of the aggregated posterior's covariance in units of the mean posterior variance.
    In the linear VAE this is eigenvalue / water level, so that half its logarithm is the rate of
    the dimension; anywhere else it is a Gaussian picture of z.

    Args:
        mean, logvar: posterior parameters of N sentences, (N, Z), N > 1.
    """
    if len(mean) < 2:
        raise ValueError(f"a spectrum over sentences needs 2 or more, got {len(mean)}.")
    mean, noise = mean.double(), logvar.double().exp().mean(0)  # (N, Z), (Z,)
    whitened = (mean - mean.mean(0)) / noise.sqrt()
    return 1 + torch.linalg.eigvalsh(whitened.T @ whitened / len(mean)).flip(0).clamp(min=0)


def _value(measure: Callable[[Tensor], Tensor], features: Tensor) -> float | None:
    zero = (features == 0).all(1)
    if (measure is relative_variance and zero.all()) or (
        measure is mean_pairwise_cosine and zero.any()
    ):
        return None
    return float(measure(features))
