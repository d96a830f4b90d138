"""What the modules share: columns of lists as tensors, options of one among several, a citation."""

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor

# of the importance-weighted estimate and of active units
BURDA = """
@inproceedings{burda2016importance,
  title = {Importance Weighted Autoencoders},
  author = {Burda, Yuri and Grosse, Roger and Salakhutdinov, Ruslan},
  booktitle = {International Conference on Learning Representations},
  year = {2016},
  url = {https://arxiv.org/abs/1509.00519}
}
"""

# inputs and options of all modules: `evaluate.combine` hands those of one to every other
_ANY_MODULE = {
    "batch_size",
    "features",
    "latents",
    "log_weights",
    "num_units",
    "posterior_logvar",
    "posterior_mean",
    "predictions",
    "references",
    "threshold",
    "unit",
}


def table(rows: Sequence[Sequence[float]], name: str) -> Tensor:
    """The lists of a column as one float64 tensor (N, D); ValueError where they do not form one."""
    if not rows:
        raise ValueError(f"{name} holds no sentence: add one before compute().")
    widths = sorted({len(row) for row in rows})
    if len(widths) > 1 or not widths[0]:
        raise ValueError(
            f"{name} must be equally many numbers for each sentence, 1 or more, got {widths}."
        )
    values = torch.from_numpy(np.array(rows, dtype=np.float64))
    bad = ~values.isfinite().all(1)
    if bad.any():
        row = int(bad.nonzero()[0])
        raise ValueError(f"{name} must be finite, got {values[row].tolist()} (sentence {row}).")
    return values


def same_shape(**tables: Tensor) -> None:
    """Raises ValueError unless all tables, given by their names, have the shape of the first."""
    shapes = {name: tuple(values.shape) for name, values in tables.items()}
    if len(set(shapes.values())) > 1:
        listed = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise ValueError(f"these must have one shape (N, Z), got {listed}.")


def check_options(module: str, given: Iterable[str], known: Sequence[str]) -> None:
    """Raises ValueError for an option that neither this module nor another one has."""
    unknown = sorted(set(given) - _ANY_MODULE)
    if unknown:
        raise ValueError(
            f"compute() of {module} takes the options {', '.join(known) or 'none'}; "
            f"got {', '.join(unknown)}."
        )
