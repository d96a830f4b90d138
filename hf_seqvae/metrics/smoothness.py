"""Smoothness of interpolations: how evenly a path of sentences changes. A measure of ours.

No paper defines it, and no figure in the literature compares with it. It speaks of words alone: a
path may change evenly and be nonsense. A decoder that ignores its latent writes one sentence along
the whole path, which is why such paths are told apart as still ones.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hf_seqvae.metrics.text import split_words


@dataclass(frozen=True)
class Smoothness:
    """Figures of P paths, each (P,) or, of the M paths on which anything changes, (M,).

    Their means and standard errors are `mean_and_standard_error` of each.
    """

    step: Tensor  # mean over steps of edits / words of the longer neighbour, 0 to 1, (P,)
    moving: Tensor  # 1 where any two neighbours differ, 0 for a still path, (P,)
    largest_share: Tensor  # edits of the largest step / of all; 1 / steps is perfectly even, (M,)
    monotonicity: Tensor  # share of steps after which the end point is no farther, (M,)


def interpolation_smoothness(paths: Sequence[Sequence[str]]) -> Smoothness:
    """How evenly, and how straight towards their end points, paths of sentences change.

    Edits are word insertions, deletions and replacements. A still path, along which no word
    changes, has step 0 and no largest share or monotonicity: it is left out of both, and
    `moving` says how many those are.

    Args:
        paths: P lists of sentences, from one end point to the other, both included; all of one
            length, 2 or more.
    """
    if not len(paths):
        raise ValueError("paths must hold at least one path, got none.")
    sizes = sorted({len(path) for path in paths})
    if len(sizes) > 1 or sizes[0] < 2:
        raise ValueError(
            f"paths must all have one number of sentences, 2 or more, got {sizes}: the share of "
            "the largest step depends on how many there are."
        )
    step, largest_share, monotonicity = [], [], []
    for path in paths:
        words = split_words(path, name="a path")
        pairs = list(zip(words[:-1], words[1:], strict=True))
        edits = np.array([edit_distance(left, right) for left, right in pairs])
        longer = np.array([max(len(left), len(right), 1) for left, right in pairs])
        step.append((edits / longer).mean())
        if not edits.any():
            continue
        left_to_go = np.array([edit_distance(sentence, words[-1]) for sentence in words])
        largest_share.append(edits.max() / edits.sum())
        monotonicity.append((np.diff(left_to_go) <= 0).mean())
    step = torch.tensor(np.array(step))
    return Smoothness(
        step=step,
        moving=(step > 0).double(),
        largest_share=torch.tensor(largest_share, dtype=torch.float64),
        monotonicity=torch.tensor(monotonicity, dtype=torch.float64),
    )


def edit_distance(left: Sequence[str], right: Sequence[str]) -> int:
    """Fewest insertions, deletions and replacements of words that turn one text into the other."""
    if list(left) == list(right):
        return 0
    codes = {word: code for code, word in enumerate({*left, *right})}
    target = np.array([codes[word] for word in right], dtype=np.int64)
    places = np.arange(len(right) + 1)
    row = places  # distances from no word of `left` to each beginning of `right`
    for count, word in enumerate(left, start=1):
        replaced = row[:-1] + (target != codes[word])
        best = np.concatenate([[count], np.minimum(replaced, row[1:] + 1)])
        # insertions run along the row: min over k <= j of best[k] + (j - k)
        row = np.minimum.accumulate(best - places) + places
    return int(row[-1])
