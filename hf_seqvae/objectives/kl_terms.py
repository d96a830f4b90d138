"""KL terms: the KL of each sentence and dimension, (B, Z) in nats, -> what beta weighs, (B,).

Several methods are called "free bits", so each has a full name that says what is free (of a
dimension or of a sentence), over what it is judged (each sentence, or the mean of the batch) and
what happens below it: a `mask` charges nothing there, a `hinge` charges the free amount. Both give
no gradient below and the plain one above.

A term judged by each sentence is exact under any cut of the batch. One judged by the mean of the
batch is a sum over sentences weighted by detached statistics of the whole batch: gathered over
processes they make it exact there too; under gradient accumulation it is refused.

Sources: Kingma et al., arXiv 1606.04934 (hinge on the batch's mean); Li et al., arXiv 1909.00868
(the masks; their code's options `--fb 1`, `2` and `3`); Li et al. (Optimus), arXiv 2004.04092,
equation 9 (hinge of each sentence); Burgess et al., arXiv 1804.03599, and for text Prokhorov et
al., arXiv 1909.13668 (capacity).
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor


def plain(kl: Tensor, amount: float = 0.0, mean_kl: Tensor | None = None) -> Tensor:
    """KL of each sentence: sum_i KL_i, (B, Z) -> (B,), nats. No other argument has a part in it."""
    return kl.sum(dim=-1)


def free_bits_per_sentence_mask(kl: Tensor, amount: float, mean_kl: Tensor | None = None) -> Tensor:
    """The KL of the sentences above T nats, 0 for others: KL 1[KL > T], (B, Z) -> (B,)."""
    total = kl.sum(dim=-1)
    return _masked(total, total <= amount)


def free_bits_per_dimension_mask(
    kl: Tensor, amount: float, mean_kl: Tensor | None = None
) -> Tensor:
    """The KL of a sentence's dimensions above lambda: sum_i KL_i 1[KL_i > lambda], -> (B,)."""
    return _masked(kl, kl <= amount).sum(dim=-1)


def free_bits_per_dimension_hinge(
    kl: Tensor, amount: float, mean_kl: Tensor | None = None
) -> Tensor:
    """Lambda nats a dimension of each sentence free: sum_i max(lambda, KL_i), (B, Z) -> (B,)."""
    return kl.clamp(min=amount).sum(dim=-1)


def free_bits_batch_mean_mask(kl: Tensor, amount: float, mean_kl: Tensor) -> Tensor:
    """The KL, or 0 for all while the batch's mean is below T: KL 1[mean KL > T], -> (B,)."""
    total = kl.sum(dim=-1)
    return _masked(total, mean_kl.sum() <= amount)


def free_bits_batch_dimension_hinge(kl: Tensor, amount: float, mean_kl: Tensor) -> Tensor:
    """Lambda nats a dimension of the batch's mean free; its mean is sum_i max(lambda, mean KL_i).

    The first form of free bits. (B, Z) -> (B,).
    """
    return torch.where(mean_kl <= amount, torch.full_like(kl, amount), kl).sum(dim=-1)


def capacity_per_sentence(kl: Tensor, amount: float, mean_kl: Tensor | None = None) -> Tensor:
    """How far the KL of each sentence is from C nats: |KL - C|, (B, Z) -> (B,)."""
    return (kl.sum(dim=-1) - amount).abs()


def capacity_batch_mean(kl: Tensor, amount: float, mean_kl: Tensor) -> Tensor:
    """What makes the mean over the batch |mean KL - C|, as in the papers: (B, Z) -> (B,)."""
    return torch.sign(mean_kl.sum() - amount) * (kl.sum(dim=-1) - amount)


class KLTerm(NamedTuple):
    """A KL term and what it declares of itself.

    Attributes:
        function: (kl (B, Z), amount, detached mean of kl over the whole batch (Z,)) -> (B,).
        amount: what its number of nats is called: "free_bits", "capacity", or None for none.
        per_batch: it reads the mean over the batch.
    """

    function: Callable[..., Tensor]
    amount: str | None = None
    per_batch: bool = False


KL_TERMS: dict[str, KLTerm] = {
    "plain": KLTerm(plain),
    "free_bits_per_sentence_mask": KLTerm(free_bits_per_sentence_mask, "free_bits"),
    "free_bits_per_dimension_mask": KLTerm(free_bits_per_dimension_mask, "free_bits"),
    "free_bits_per_dimension_hinge": KLTerm(free_bits_per_dimension_hinge, "free_bits"),
    "free_bits_batch_mean_mask": KLTerm(free_bits_batch_mean_mask, "free_bits", per_batch=True),
    "free_bits_batch_dimension_hinge": KLTerm(
        free_bits_batch_dimension_hinge, "free_bits", per_batch=True
    ),
    "capacity_per_sentence": KLTerm(capacity_per_sentence, "capacity"),
    "capacity_batch_mean": KLTerm(capacity_batch_mean, "capacity", per_batch=True),
}


def unknown_kl_term(name: str) -> str:
    """The message for a KL term that does not exist: a family's word lists its variants."""
    message = f"kl_term must be one of {sorted(KL_TERMS)}, got {name!r}."
    for family, words in (("free_bits", "free bits"), ("capacity", "capacity")):
        if str(name).startswith(family):
            variants = [term for term in sorted(KL_TERMS) if term.startswith(family)]
            message += (
                f" Several methods are called {words}, so each has its own full name: {variants}."
            )
    return message


def _masked(values: Tensor, where: Tensor) -> Tensor:
    """`values` with zeros `where`, but for what is not a number, which must not be hidden."""
    return values.masked_fill(where & values.isfinite(), 0.0)
