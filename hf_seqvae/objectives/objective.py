"""The objective: a model's terms reduced to one loss, and the sums to log.

The model gives terms for each sentence and each latent dimension, in nats. Everything that turns
them into a scalar is in this folder, and nothing here sees the model.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from hf_seqvae.objectives.checks import BatchReader, check_weight
from hf_seqvae.objectives.kl_terms import KL_TERMS, plain, unknown_kl_term
from hf_seqvae.objectives.mmd import mmd_to_standard_normal
from hf_seqvae.objectives.schedules import SCHEDULES, ConstantSchedule, Schedule

NORMALIZATIONS = ("token", "sequence")


@dataclass(frozen=True)
class Objective:
    """Loss (sum nll + beta * sum kl_term) / num_items of a model's output, and the sums to log.

    Args:
        beta: weight of the KL term, a function of the number of optimizer updates made.
        kl_term: a name in KL_TERMS.
        free_bits: the threshold of the free-bits terms in nats: of a dimension, a sentence or the
            batch's mean, as the term's name says.
        normalization: what `num_items` counts where the caller does not give it: "token" (words and
            EOS) or "sequence".
        capacity: C nats a sentence; only for the capacity terms.
        mmd_weight: weight of the MMD between the batch's latents and the prior, in units of a
            sentence's nats: alpha + lambda - 1 of InfoVAE, where beta is 1 - alpha.
    """

    beta: Schedule = field(default_factory=ConstantSchedule)
    kl_term: str = "plain"
    free_bits: float = 0.0
    normalization: str = "token"
    capacity: float = 0.0
    mmd_weight: float = 0.0

    def __post_init__(self) -> None:
        """Check that the parts exist and fit together."""
        if not callable(self.beta):
            raise ValueError(
                f"beta must be a schedule, a function of the step, got {self.beta!r}. Schedules "
                "by name: "
                f"{sorted(SCHEDULES)}; for a number write ConstantSchedule(number)."
            )
        if self.kl_term not in KL_TERMS:
            raise ValueError(unknown_kl_term(self.kl_term))
        if self.normalization not in NORMALIZATIONS:
            raise ValueError(
                f"normalization must be one of {list(NORMALIZATIONS)}, got {self.normalization!r}."
            )
        for name in ("free_bits", "capacity", "mmd_weight"):
            check_weight(name, getattr(self, name))
        check_amounts(self.kl_term, free_bits=self.free_bits, capacity=self.capacity)

    @property
    def batch_reader(self) -> BatchReader | None:
        """What makes the loss no sum over sentences; None where it is one."""
        return batch_reader(self.kl_term, self.mmd_weight)

    def __call__(
        self,
        output: Any,
        step: int,
        num_items: int | float | Tensor | None = None,
        *,
        sum_over_processes: Callable[[Tensor], Tensor] | None = None,
    ) -> tuple[Tensor, dict[str, Any]]:
        """The loss, and detached sums over the real sentences of this batch.

        A row without a token to predict (`num_tokens == 0`) counts nothing. With the same global
        `num_items` given to each, the losses of micro-batches add up to the loss of the whole
        batch, and so do their gradients, unless there is a `batch_reader`.

        Args:
            output: holds `reconstruction_nll` (B,), `kl` (B, Z), both in nats, and `num_tokens`
                (B,); `latents` (B, Z) for the MMD.
            step: optimizer updates already made.
            num_items: tokens or sentences, over all micro-batches and processes, to divide by. None
                counts this batch (and then a batch of empty rows alone has loss 0).
            sum_over_processes: adds a tensor up over processes, for the terms that read the mean of
                the batch; the MMD of several processes is not known and must be refused before.

        Returns:
            loss: float32 scalar with a graph, also where every row is empty.
            logs: `reconstruction_nll`, `kl` (the plain one), `num_sentences`, `num_tokens` and,
                where it has a weight, `mmd` (times sentences): float tensors, SUMS over sentences;
                `beta`: a float. `summarize` turns sums into the figures that are shown.
        """
        if output.kl is None:
            raise ValueError(
                "the output has no KL, since its latents were given: an objective needs texts "
                "(input_ids) beside their labels."
            )
        num_tokens = output.num_tokens
        real = num_tokens > 0  # (B,)
        # where, not a product: an empty row may hold anything, and 0 * nan is nan
        nll = torch.where(real, _at_least_float32(output.reconstruction_nll), 0.0)  # (B,)
        kl = _at_least_float32(output.kl)  # (B, Z)
        term = KL_TERMS[self.kl_term]
        mean_kl = _mean_over_batch(kl, real, sum_over_processes) if term.per_batch else None
        amount = self.capacity if term.amount == "capacity" else self.free_bits
        kl_term = torch.where(real, term.function(kl, amount, mean_kl), 0.0)  # (B,)

        if num_items is None:
            counted = num_tokens if self.normalization == "token" else real
            items = counted.sum().clamp(min=1)
        elif not isinstance(num_items, Tensor) and not num_items > 0:
            raise ValueError(
                f"num_items must be positive, got {num_items!r}: a step needs at least one real "
                "sentence."
            )
        else:
            items = num_items

        beta = self.beta(step)
        total = nll.sum() + beta * kl_term.sum()
        mmd = None
        if self.mmd_weight:
            mmd = mmd_to_standard_normal(output.latents[real]) * real.sum()
            total = total + self.mmd_weight * mmd
        logs = {
            "reconstruction_nll": nll.detach().sum(),
            "kl": torch.where(real, plain(kl.detach()), 0.0).sum(),
            "num_sentences": real.sum().to(nll.dtype),
            "num_tokens": num_tokens.sum().to(nll.dtype),
            "beta": beta,
        }
        if mmd is not None:
            logs["mmd"] = mmd.detach().to(nll.dtype)
        return total / items, logs


def summarize(sums: Mapping[str, Any], beta: float) -> dict[str, float]:
    """The logged figures of summed logs: elbo, reconstruction_nll, kl (nats a sentence) and beta.

    And `mmd`, where it was summed. elbo = -reconstruction_nll - kl with the plain KL at weight 1,
    whatever was optimised.

    Args:
        sums: the tensors or numbers of one or more logs, added up key by key (beta is not read from
            them).
        beta: the weight to report.
    """
    num_sentences = float(sums["num_sentences"])
    if not num_sentences > 0:
        raise ValueError(f"There is no sentence to average over: num_sentences is {num_sentences}.")
    nll = float(sums["reconstruction_nll"]) / num_sentences
    kl = float(sums["kl"]) / num_sentences
    figures = {"elbo": -nll - kl, "reconstruction_nll": nll, "kl": kl, "beta": float(beta)}
    if "mmd" in sums:
        figures["mmd"] = float(sums["mmd"]) / num_sentences
    return figures


def batch_reader(kl_term: str, mmd_weight: float) -> BatchReader | None:
    """The part of an objective that reads the whole batch."""
    if mmd_weight:
        return BatchReader("mmd_weight", alone=True)
    if KL_TERMS[kl_term].per_batch:
        return BatchReader(f"kl_term {kl_term!r}", alone=False)
    return None


def check_amounts(kl_term: str, *, free_bits: float, capacity: float) -> None:
    """Raises where a KL term is given nats that it does not read, or not those that it does."""
    for name, value in (("free_bits", free_bits), ("capacity", capacity)):
        readers = [term for term, what in KL_TERMS.items() if what.amount == name]
        words = name.replace("_", " ")
        if value and kl_term not in readers:
            raise ValueError(
                f"kl_term {kl_term!r} has no {words}, got {name}={value}. "
                f"Set {name} to 0, or kl_term to one of {readers}."
            )
        if not value and kl_term in readers:
            raise ValueError(
                f"kl_term {kl_term!r} needs {name}, in nats: without {words} it is the plain KL. "
                f"Set {name}, or kl_term to 'plain'."
            )


def _mean_over_batch(
    kl: Tensor, real: Tensor, sum_over_processes: Callable[[Tensor], Tensor] | None
) -> Tensor:
    """The mean KL of each dimension over the real sentences of all processes, (Z,), detached."""
    kl = torch.where(real[:, None], kl.detach(), 0.0)
    sums = torch.cat([kl.sum(dim=0), real.sum()[None].to(kl.dtype)])  # (Z + 1,)
    if sum_over_processes is not None:
        sums = sum_over_processes(sums)
    return sums[:-1] / sums[-1].clamp(min=1)


def _at_least_float32(x: Tensor) -> Tensor:
    """`x` in float32, or in its own dtype where that is wider."""
    return x.to(torch.promote_types(x.dtype, torch.float32))
