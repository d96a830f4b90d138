"""The floor under a bound on everyday sentences: their exact -log p(x), if they are read whole."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from hf_seqvae import everyday


def exact_nlls(texts: Sequence[str], labels: Sequence[Sequence[int]], tokenizer: Any) -> np.ndarray:
    """-log p(x) of everyday sentences under their grammar, in nats, (N,).

    Args:
        texts: sentences of `everyday.generate`.
        labels: their token ids, EOS last.
        tokenizer: of the labels.

    Raises:
        ChangedTextError: some were cut or hold words unknown to the model: a bound on another text
            may lie below the floor of this one.
    """
    read = tokenizer.batch_decode([ids[:-1] for ids in labels])
    changed = sum(text != seen.strip() for text, seen in zip(texts, read, strict=True))
    if changed:
        raise ChangedTextError(
            f"{changed} of {len(texts)} sentences hold words unknown to the model or were cut, so "
            "the grammar's exact figures are left out."
        )
    return np.array([-everyday.log_prob(text) for text in texts])


class ChangedTextError(ValueError):
    """The model does not read the sentences as they were written."""
