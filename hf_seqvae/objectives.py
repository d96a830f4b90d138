"""The training objective: beta schedules, KL terms, and a model's terms reduced to one loss.

The model gives terms for each sentence and each latent dimension, in nats. Everything that turns
them into a scalar is here, and nothing here sees the model. Schedules are pure functions of the
step (the number of optimizer updates already made), so there is no state to save and a resumed run
goes on exactly.

Sources: linear annealing as in He et al., arXiv 1901.05534; cyclical annealing, Fu et al., arXiv
1903.10145; free bits, Kingma et al., arXiv 1606.04934, in the per-dimension hinge form of Li et al.
(Optimus), arXiv 2004.04092.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

Schedule = Callable[[int], float]

NORMALIZATIONS = ("token", "sequence")


@dataclass(frozen=True)
class ConstantSchedule:
    """The same weight at every step."""

    value: float = 1.0

    def __post_init__(self) -> None:
        """Check the weight."""
        _check_weight("value", self.value)

    def __call__(self, step: int) -> float:
        """The weight after `step` optimizer updates."""
        _check_step(step)
        return float(self.value)


@dataclass(frozen=True)
class LinearSchedule:
    """`start` until step `delay`, then a line that reaches `end` at step `delay + num_steps`."""

    start: float
    end: float
    num_steps: int
    delay: int = 0

    def __post_init__(self) -> None:
        """Check the weights and the lengths."""
        _check_weight("start", self.start)
        _check_weight("end", self.end)
        _check_length("num_steps", self.num_steps, minimum=1)
        _check_length("delay", self.delay, minimum=0)

    def __call__(self, step: int) -> float:
        """The weight after `step` optimizer updates."""
        _check_step(step)
        return _ramp(self.start, self.end, (step - self.delay) / self.num_steps)


@dataclass(frozen=True)
class CyclicalSchedule:
    """`num_cycles` equal cycles over `num_steps`, each a line from `start` to `end` and then `end`.

    After `num_steps` it stays at `end`.

    The line takes the first `ramp_fraction` of a cycle (M and R of Fu et al., arXiv 1903.10145, who
    use M=4, R=0.5).
    Departure: where M does not divide `num_steps`, the paper rounds the length of a cycle up and
    cuts the last cycle short; here all cycles have the same, perhaps fractional, length.
    """

    num_steps: int
    num_cycles: int = 4
    ramp_fraction: float = 0.5
    start: float = 0.0
    end: float = 1.0

    def __post_init__(self) -> None:
        """Check the weights, the lengths and the fraction."""
        _check_weight("start", self.start)
        _check_weight("end", self.end)
        _check_length("num_cycles", self.num_cycles, minimum=1)
        _check_length("num_steps", self.num_steps, minimum=self.num_cycles)
        if not 0.0 < self.ramp_fraction <= 1.0:
            raise ValueError(f"ramp_fraction must be in (0, 1], got {self.ramp_fraction!r}.")

    def __call__(self, step: int) -> float:
        """The weight after `step` optimizer updates."""
        _check_step(step)
        if step >= self.num_steps:
            return float(self.end)
        # tau = frac(step * M / num_steps), by integers: the start of every cycle is exact
        tau = (step * self.num_cycles) % self.num_steps / self.num_steps
        return _ramp(self.start, self.end, tau / self.ramp_fraction)


SCHEDULES: dict[str, type] = {
    "constant": ConstantSchedule,
    "linear": LinearSchedule,
    "cyclical": CyclicalSchedule,
}


def build_schedule(name: str, **values: Any) -> Schedule:
    """The schedule called `name` ("constant", "linear", "cyclical") with its own values."""
    if name not in SCHEDULES:
        raise ValueError(f"schedule must be one of {sorted(SCHEDULES)}, got {name!r}.")
    return SCHEDULES[name](**values)


def plain(kl: Tensor, free_bits: float) -> Tensor:
    """KL of each sentence: sum_i KL_i, (B, Z) -> (B,), nats. `free_bits` has no part in it."""
    return kl.sum(dim=-1)


def free_bits_per_dimension_hinge(kl: Tensor, free_bits: float) -> Tensor:
    """KL of each sentence, lambda nats a dimension free: sum_i max(lambda, KL_i), (B, Z) -> (B,).

    A dimension below lambda costs lambda and has no gradient. Source: arXiv 2004.04092, equation 9.
    """
    return kl.clamp(min=free_bits).sum(dim=-1)


KL_TERMS: dict[str, Callable[[Tensor, float], Tensor]] = {
    "plain": plain,
    "free_bits_per_dimension_hinge": free_bits_per_dimension_hinge,
}


@dataclass(frozen=True)
class Objective:
    """Loss (sum nll + beta * sum kl_term) / num_items of a model's output, and the sums to log.

    Args:
        beta: weight of the KL term, a function of the number of optimizer updates made.
        kl_term: a name in KL_TERMS.
        free_bits: nats of each latent dimension that cost nothing; only for the free-bits terms.
        normalization: what `num_items` counts where the caller does not give it: "token" (words and
            EOS) or "sequence".
    """

    beta: Schedule = field(default_factory=ConstantSchedule)
    kl_term: str = "plain"
    free_bits: float = 0.0
    normalization: str = "token"

    def __post_init__(self) -> None:
        """Check that the parts exist and fit together."""
        if not callable(self.beta):
            raise ValueError(
                f"beta must be a schedule, a function of the step, got {self.beta!r}. Schedules "
                "by name: "
                f"{sorted(SCHEDULES)}; for a number write ConstantSchedule(number)."
            )
        if self.kl_term not in KL_TERMS:
            raise ValueError(_unknown_kl_term(self.kl_term))
        if self.normalization not in NORMALIZATIONS:
            raise ValueError(
                f"normalization must be one of {list(NORMALIZATIONS)}, got {self.normalization!r}."
            )
        _check_weight("free_bits", self.free_bits)
        if self.kl_term == "plain" and self.free_bits != 0.0:
            raise ValueError(
                f"kl_term 'plain' has no free bits, got free_bits={self.free_bits}. "
                f"Set free_bits to 0 or kl_term to 'free_bits_per_dimension_hinge'."
            )

    def __call__(
        self, output: Any, step: int, num_items: int | float | Tensor | None = None
    ) -> tuple[Tensor, dict[str, Any]]:
        """The loss, and detached sums over the real sentences of this batch.

        A row without a token to predict (`num_tokens == 0`) counts nothing. With the same global
        `num_items` given to each, the losses of micro-batches add up to the loss of the whole
        batch, and so do their gradients.

        Args:
            output: holds `reconstruction_nll` (B,), `kl` (B, Z), both in nats, and `num_tokens`
                (B,).
            step: optimizer updates already made.
            num_items: tokens or sentences, over all micro-batches and processes, to divide by. None
                counts this batch (and then a batch of empty rows alone has loss 0).

        Returns:
            loss: float32 scalar with a graph, also where every row is empty.
            logs: `reconstruction_nll`, `kl` (the plain one), `num_sentences`, `num_tokens`: float
                tensors, SUMS over sentences; `beta`: a float. `summarize` turns sums into the
                figures that are shown.
        """
        num_tokens = output.num_tokens
        real = num_tokens > 0  # (B,)
        # where, not a product: an empty row may hold anything, and 0 * nan is nan
        nll = torch.where(real, _at_least_float32(output.reconstruction_nll), 0.0)  # (B,)
        kl = _at_least_float32(output.kl)  # (B, Z)
        kl_term = torch.where(real, KL_TERMS[self.kl_term](kl, self.free_bits), 0.0)  # (B,)

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
        loss = (nll.sum() + beta * kl_term.sum()) / items
        logs = {
            "reconstruction_nll": nll.detach().sum(),
            "kl": torch.where(real, plain(kl.detach(), 0.0), 0.0).sum(),
            "num_sentences": real.sum().to(nll.dtype),
            "num_tokens": num_tokens.sum().to(nll.dtype),
            "beta": beta,
        }
        return loss, logs


def summarize(sums: Mapping[str, Any], beta: float) -> dict[str, float]:
    """The logged figures of summed logs: elbo, reconstruction_nll, kl (nats a sentence) and beta.

    elbo = -reconstruction_nll - kl with the plain KL at weight 1, whatever was optimised.

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
    return {"elbo": -nll - kl, "reconstruction_nll": nll, "kl": kl, "beta": float(beta)}


def _at_least_float32(x: Tensor) -> Tensor:
    """`x` in float32, or in its own dtype where that is wider."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _ramp(start: float, end: float, fraction: float) -> float:
    """The point at `fraction` of the line from `start` to `end`; exactly an end outside [0, 1]."""
    if fraction <= 0.0:
        return float(start)
    if fraction >= 1.0:
        return float(end)
    return start + (end - start) * fraction


def _unknown_kl_term(name: str) -> str:
    """The message for a KL term that does not exist."""
    message = f"kl_term must be one of {sorted(KL_TERMS)}, got {name!r}."
    if str(name).startswith("free_bits"):
        variants = [term for term in sorted(KL_TERMS) if term.startswith("free_bits")]
        message += (
            f" Several methods are called free bits, so each has its own full name: {variants}."
        )
    return message


def _check_weight(name: str, value: float) -> None:
    if not (math.isfinite(value) and value >= 0.0):
        raise ValueError(f"{name} must be finite and not negative, got {value!r}.")


def _check_length(name: str, value: int, *, minimum: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < minimum:
        raise ValueError(
            f"{name} must be a whole number of steps, {minimum} or more, got {value!r}."
        )


def _check_step(step: int) -> None:
    if step < 0:
        raise ValueError(
            f"step counts optimizer updates already made and is not negative, got {step}."
        )
