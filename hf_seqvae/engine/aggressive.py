"""Aggressive updates: the encoder alone, until its loss stops falling, before the decoder's turn.

Source: He et al. (lagging inference networks), arXiv 1901.05534, and its published code: before
each update of the decoder the encoder is updated on that batch and then on batches drawn at random;
after every 15 the mean loss a word is compared with that of the 15 before, and the inner loop stops
where it rose. While this goes on, the decoder's turn leaves the encoder alone. It ends for
good after the first validation whose mutual information is below that of the one before.

Departures: one optimizer, which passes over parameters without a gradient; the gradient is clipped
over the parameters that move, since those of the others are not computed; MI over all sentences of
the validation, not within batches of 32; the loss that is compared has the plain KL at its weight
and no MMD.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor, nn

from hf_seqvae.engine.log import LogSums
from hf_seqvae.engine.step import TrainingStep, count_items
from hf_seqvae.recipe.training import INNER_WINDOW, MAX_INNER_UPDATES


@dataclass(frozen=True)
class InnerLoop:
    """When the inner loop stops.

    Attributes:
        max_updates: of the encoder alone, before each update of the decoder.
        window: updates whose mean loss a word is compared with that of as many before.
    """

    max_updates: int = MAX_INNER_UPDATES
    window: int = INNER_WINDOW

    def __post_init__(self) -> None:
        """Check the counts."""
        for name in ("max_updates", "window"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be 1 or more, got {getattr(self, name)}.")
        if self.window > self.max_updates:
            raise ValueError(
                f"the inner loop is judged every {self.window} updates (inner_window) and ends "
                f"after {self.max_updates} (max_inner_updates): it would never be. Make the "
                "window the smaller one."
            )


class AggressiveUpdates:
    """The inner loop; its random batches are a function of (seed, step), so a run resumes exactly.

    Args:
        update: one optimizer update over a batch.
        loader: has `draw(generator)`, a random batch of the epoch.
        model: with an `encoder`; everything outside of it is the decoder's side.
        inner: when to stop.
        seed: of the draws.
    """

    def __init__(
        self, update: TrainingStep, loader: Any, model: Any, inner: InnerLoop, *, seed: int
    ) -> None:
        if not hasattr(loader, "draw"):
            raise ValueError(
                "aggressive updates draw batches at random: give a loader of a data set, such as "
                "build_loader makes, and no stream."
            )
        self.update = update
        self.loader = loader
        self.inner = inner
        self.seed = seed
        self.encoder, self.rest = sides(model)

    def __call__(self, batch: Mapping[str, Tensor], step: int, phase_step: int) -> int:
        """Update the encoder alone; how many times.

        Args:
            batch: the one whose turn it is: the first of the inner loop.
            step: updates of the decoder made in the run.
            phase_step: those of them in the phase, for the schedule.
        """
        generator = np.random.default_rng([self.seed, step])
        sums, before = LogSums(self.update.accelerator.device), float("inf")
        with frozen(self.rest):
            for count in range(1, self.inner.max_updates + 1):
                items = count_items(batch, self.update.objective.normalization)
                self.update(batch, phase_step, items, sums)
                batch = self.loader.draw(generator)
                if count % self.inner.window == 0:
                    now = loss_a_word(sums)
                    if not now <= before:
                        return count
                    before = now
                    sums.clear()
        return self.inner.max_updates

    @contextmanager
    def decoder_turn(self) -> Iterator[None]:
        """The encoder left alone."""
        with frozen(self.encoder):
            yield


def loss_a_word(sums: LogSums) -> float:
    """(nll + beta KL) of summed logs over their tokens, nats."""
    values = sums.sums
    total = values["reconstruction_nll"] + sums.beta * values["kl"]
    return float(total / values["num_tokens"])


def still_lagging(figures: Mapping[str, float], before: float | None) -> bool:
    """Whether the encoder still lags: the MI of a validation is not below that of the one before.

    Raises:
        ValueError: the validation measured no MI.
    """
    if "eval/mutual_information" not in figures:
        raise ValueError(
            "aggressive updates end by the MI of validations, which needs two sentences and a "
            "posterior. Validate on more, or use joint updates."
        )
    return before is None or figures["eval/mutual_information"] >= before


def sides(model: Any) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """The parameters of the encoder, and all others.

    Raises:
        ValueError: there is no encoder, or the two share a parameter.
    """
    encoder = getattr(model, "encoder", None)
    if not isinstance(encoder, nn.Module):
        raise ValueError(
            "aggressive updates need a model with an encoder, got "
            f"{type(model).__name__}. Use joint updates."
        )
    own = {id(parameter) for parameter in encoder.parameters()}
    shared = [
        name
        for name, parameter in model.named_parameters(remove_duplicate=False)
        if id(parameter) in own and not name.startswith("encoder.")
    ]
    if shared:
        raise ValueError(
            f"aggressive updates move the encoder alone, and it shares {shared[0]} with the "
            "decoder. Set tie_word_embeddings=False."
        )
    rest = [parameter for parameter in model.parameters() if id(parameter) not in own]
    return list(encoder.parameters()), rest


@contextmanager
def frozen(parameters: Sequence[nn.Parameter]) -> Iterator[None]:
    """Without gradients for `parameters`; those that asked for one ask again afterwards."""
    held = [parameter for parameter in parameters if parameter.requires_grad]
    for parameter in held:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in held:
            parameter.requires_grad_(True)
