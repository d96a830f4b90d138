"""How far latents are used: KL by dimension, used fraction, active units, collapse, swap gap."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from hf_seqvae.metrics.likelihood import reconstruction_nll
from hf_seqvae.metrics.protocol import LatentVariableModel
from hf_seqvae.model.posterior import kl_to_standard_normal

SMALLEST_RATE = 0.05  # nats of KL below which a used fraction is a quotient of two noises


def kl_per_dimension(mean: Tensor, logvar: Tensor) -> Tensor:
    """KL(q(z_j|x) || N(0, 1)) averaged over sentences (N, Z), in nats: (Z,)."""
    if not len(mean):
        raise ValueError("the KL of no sentences is undefined: give at least one.")
    return kl_to_standard_normal(mean.double(), logvar.double()).mean(0)


def active_units(mean: Tensor, *, threshold: float = 0.01) -> int:
    """Number of dimensions in which the posterior means (N, Z) have at least `threshold` variance.

    The variance is the unbiased one. Source: Burda, Grosse and Salakhutdinov, arXiv 1509.00519.
    """
    if mean.dim() != 2:
        raise ValueError(f"mean must be (N, Z), got {tuple(mean.shape)}.")
    if len(mean) < 2:
        raise ValueError(f"a variance over sentences needs 2 or more, got {len(mean)}.")
    return int((mean.double().var(0, correction=1) >= threshold).sum())


def used_fraction(information: float, kl: float, count: int) -> tuple[float | None, str | None]:
    """min(1, MI / KL): the share of the rate that tells sentences apart; or None, and why.

    The rest of the rate, KL(q(z) || p(z)), is paid and says nothing of x.

    Args:
        information: mutual information by the aggregate of all `count` sentences, nats.
        kl: mean KL, nats a sentence.
        count: N.
    """
    if not (math.isfinite(information) and math.isfinite(kl)):
        raise ValueError(f"MI and KL must be finite, got {information} and {kl}.")
    if count < 1:
        raise ValueError(f"a used fraction needs at least one sentence, got {count}.")
    if kl < SMALLEST_RATE:
        return None, f"KL is below {SMALLEST_RATE} nats: there is no rate to be used"
    cap = math.log(count)
    if information > cap - 1:
        return None, (
            f"MI is within 1 nat of ln N = {cap:.2f}, the most that {count} sentences can show: "
            "only the swap gap speaks, or more sentences"
        )
    return min(1.0, max(0.0, information) / kl), None


def collapse_curve(kl: Tensor, epsilons: Sequence[float], *, delta: float = 0.01) -> Tensor:
    """Share of latent dimensions that are (epsilon, delta)-collapsed, for each epsilon: (E,).

    A dimension is where KL_i(x) < epsilon on at least a share 1 - delta of the sentences. The idea
    is that of Lucas et al., arXiv 1911.02469; this wording of the definition is ours.

    Args:
        kl: of each sentence and dimension, (N, Z), nats.
        epsilons: thresholds in nats, (E,).
        delta: share of sentences that may exceed them.
    """
    if kl.dim() != 2 or not len(kl):
        raise ValueError(f"kl must be (N, Z) of at least one sentence, got {tuple(kl.shape)}.")
    if kl.isnan().any():
        raise ValueError("kl must not be NaN, which is below no threshold and above none.")
    if not 0 <= delta < 1:
        raise ValueError(f"delta must be in [0, 1), got {delta}.")
    grid = torch.as_tensor(epsilons, dtype=torch.float64, device=kl.device)
    below = (kl.double() < grid[:, None, None]).double().mean(1)  # (E, Z)
    # exactly delta of the sentences may exceed epsilon, however the two shares round
    return (below >= 1 - delta - 1e-12).double().mean(1)


def exchange_partners(count: int, *, seed: int) -> Tensor:
    """For each of `count` sentences another one, by shifting a seeded permutation: (count,) int64.

    No sentence is its own partner and each is the partner of exactly one other.
    """
    if count < 2:
        raise ValueError(f"exchanging latents needs 2 or more sentences, got {count}.")
    order = np.random.default_rng(seed).permutation(count)
    partners = np.empty(count, dtype=np.int64)
    partners[order] = np.roll(order, -1)
    return torch.from_numpy(partners)


def swap_gap(
    model: LatentVariableModel,
    batch: Mapping[str, Tensor],
    *,
    exchanged: Tensor,
    own_nll: Tensor,
) -> Tensor:
    """Nats each sentence loses when it is decoded from another sentence's latents: (B,).

    Zero for a decoder that ignores z. No bound on the mutual information: a decoder that trusts z
    is misled by a wrong one, and loses more than z told it.

    Args:
        model: the model.
        batch: the sentences, (B, ...).
        exchanged: latents (S, B, Z) sampled for other sentences (see `exchange_partners`).
        own_nll: the sentences' `reconstruction_nll` at latents of their own, (B,).
    """
    return reconstruction_nll(model, batch, exchanged) - own_nll
