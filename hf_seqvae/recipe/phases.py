"""The phases of a recipe: stretches of epochs that each begin with a fresh optimizer.

A phase is called by its name, and the name says what is optimised in it:

    autoencoder    beta 0: reconstruction alone; its best weights are those that reconstruct best
    vae            the recipe's own objective, whose schedule counts from the start of the phase

Each begins from the best weights of the one before, but for the parts that it resets. Source: Li et
al., arXiv 1909.00868: an autoencoder first, then a decoder from nothing under annealing and free
bits.
"""

import dataclasses
import difflib
from collections.abc import Mapping
from typing import Any, ClassVar

from hf_seqvae.recipe.fields import check_fields, from_mapping, option
from hf_seqvae.recipe.objective import BetaRecipe, ObjectiveRecipe

PHASES = ("autoencoder", "vae")
PARTS = ("encoder", "decoder")


@dataclasses.dataclass(frozen=True)
class PhaseRecipe:
    """One phase; `name` is its key in the recipe."""

    SECTION: ClassVar[str] = "phases.<name>."
    name: str = option("vae", "which phase")
    epochs: int | None = option(
        None,
        "passes over the train split; null: what the others leave of training.epochs",
        minimum=1,
    )
    reset: tuple[str, ...] = option((), "parts that begin from new weights: encoder, decoder")

    def __post_init__(self) -> None:
        """Check types, limits and the names of parts."""
        check_fields(self)
        for part in self.reset:
            if part not in PARTS:
                raise ValueError(
                    f"phases.{self.name}.reset must name parts out of {list(PARTS)}, got {part!r}."
                )


def build_phases(phases: Mapping[str, Any], epochs: int) -> list[PhaseRecipe]:
    """The phases of a recipe in their order, with the epochs of each; none without `phases`.

    Args:
        phases: the recipe's section, by name.
        epochs: of the whole run.

    Raises:
        ValueError: an unknown phase, or epochs that do not add up to those of the run.
    """
    found = []
    for name, values in phases.items():
        if name not in PHASES:
            near = difflib.get_close_matches(name, PHASES, n=1, cutoff=0.0)[0]
            raise ValueError(
                f"Unknown phase {name!r}. Did you mean {near!r}? Phases are {list(PHASES)}."
            )
        if not isinstance(values, Mapping):
            raise ValueError(
                f"phases.{name} must be a mapping, such as {{epochs: 5}}, got {values!r}."
            )
        if "name" in values:
            raise ValueError(f"phases.{name}.name is said by its key. Leave it out.")
        found.append(from_mapping(PhaseRecipe, {"name": name, **values}))
    if not found:
        return []
    if found[-1].name != "vae":
        raise ValueError(
            "The last of the phases must be vae: an autoencoder's latents have no prior to sample "
            "from."
        )
    if found[0].reset:
        raise ValueError(
            f"phases.{found[0].name}.reset: all weights are new in the first phase. Leave it out."
        )
    open_ended = [phase for phase in found if phase.epochs is None]
    given = sum(phase.epochs or 0 for phase in found)
    if len(open_ended) > 1 or (epochs <= given if open_ended else epochs != given):
        raise ValueError(
            f"The phases must share training.epochs ({epochs}): got "
            f"{ {phase.name: phase.epochs for phase in found} }. Let one of them leave out its "
            "epochs, or make the sum equal."
        )
    return [dataclasses.replace(phase, epochs=phase.epochs or epochs - given) for phase in found]


def phase_objective(phase: PhaseRecipe, objective: ObjectiveRecipe) -> ObjectiveRecipe:
    """What is optimised in a phase."""
    if phase.name == "vae":
        return objective
    return ObjectiveRecipe(beta=BetaRecipe(schedule="constant", value=0.0))
