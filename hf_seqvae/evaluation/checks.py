"""What `evaluate` refuses: models without a likelihood, wrong counts and columns, NaN."""

from typing import Any

import torch
from datasets import Dataset
from torch import Tensor

from hf_seqvae.evaluation.store import Table
from hf_seqvae.metrics import LanguageModel, LatentVariableModel


def check_protocol(model: Any) -> None:
    """Raises where a model gives none of the protocols."""
    if not isinstance(model, LatentVariableModel | LanguageModel):
        raise ValueError(
            f"{type(model).__name__} gives no likelihood to evaluate: a model needs posterior, "
            "prior and log_likelihood (a SeqVAEModel has them), or log_prob where it has no "
            "latents (our LSTM language model has it)."
        )


def check_counts(
    num_samples: int, iw_samples: int | None, batch_size: int, decode_size: int, seed: int
) -> None:
    """Raises where a count or the seed makes no sense."""
    if seed < 0:
        raise ValueError(f"seed must be 0 or more, got {seed}.")
    for name, value in (
        ("num_samples", num_samples),
        ("batch_size", batch_size),
        ("decode_size", decode_size),
    ):
        if value < 1:
            raise ValueError(f"{name} must be 1 or more, got {value}.")
    if iw_samples is not None and iw_samples < num_samples:
        raise ValueError(
            f"iw_samples (K) must be at least num_samples = {num_samples}, whose samples are the "
            f"first of the K, got {iw_samples}. None leaves the importance weighting out."
        )


def checked_columns(dataset: Dataset, floor: Any) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Lengths, words and exact nll of each row, (N,); the latter two where they are known."""
    missing = sorted({"input_ids", "labels", "length"} - set(dataset.column_names))
    if missing:
        raise ValueError(
            f"the data set has no column {missing}, only {dataset.column_names}: tokenise it first."
        )
    if len(dataset) == 0:
        raise ValueError("the data set is empty: there is nothing to evaluate.")
    lengths = torch.tensor(dataset["length"][:])
    if (lengths < 1).any():
        row = int((lengths < 1).nonzero()[0])
        raise ValueError(f"row {row} has no label: labels are the text's tokens and one EOS.")
    words = torch.tensor(dataset["num_words"][:]) if "num_words" in dataset.column_names else None
    if floor is None:
        return lengths, words, None
    exact_nll = torch.as_tensor(floor, dtype=torch.float64).cpu()
    if exact_nll.shape != (len(dataset),):
        raise ValueError(
            f"floor must hold -log p(x) of each of the {len(dataset)} rows, "
            f"got shape {tuple(exact_nll.shape)}."
        )
    if not (exact_nll >= 0).all():
        row = int((~(exact_nll >= 0)).nonzero()[0])
        raise ValueError(
            f"floor must be -log p(x), which is 0 or more for text; row {row} has "
            f"{float(exact_nll[row])}. If these are log probabilities, negate them."
        )
    return lengths, words, exact_nll


def check_finite(columns: Table) -> None:
    """Raises where a column holds NaN or infinity, and names the row."""
    for name, values in columns.items():
        if not torch.isfinite(values).all():
            row = int((~torch.isfinite(values)).nonzero()[0, 0])
            raise ValueError(
                f"{name} is not finite at row {row}: the weights have diverged, or the sentence "
                "has probability 0. Evaluate an earlier checkpoint."
            )
