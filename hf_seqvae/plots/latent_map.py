"""The latent map: posterior means on their two principal axes, coloured by any label."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hf_seqvae.plots import style
from hf_seqvae.plots.style import BLUE, GREY, PALETTE

OTHERS = "others"
_MARKERS = "osD^vP"


def principal_axes(points: Any) -> tuple[np.ndarray, np.ndarray]:
    """Points on their two principal axes (N, 2), and the share of variance of each axis (2,).

    An axis that the points do not have (one dimension, or no variance) is all zeros.

    Args:
        points: (N, Z), N > 1.
    """
    points = np.asarray(points, dtype=np.float64)
    if points.ndim != 2 or len(points) < 2:
        raise ValueError(f"a map needs points (N, Z), two or more, got {points.shape}.")
    centred = points - points.mean(0)
    left, scales, _ = np.linalg.svd(centred, full_matrices=False)
    total = float((scales**2).sum())
    size = min(2, scales.size)
    placed, shares = np.zeros((len(points), 2)), np.zeros(2)
    placed[:, :size] = left[:, :size] * scales[:size]
    if total > 0:
        shares[:size] = scales[:size] ** 2 / total
    return placed, shares


def latent_map(
    means: Any,
    out_path: str | Path,
    *,
    labels: Sequence[Any] | None = None,
    label_name: str = "",
    max_labels: int = 6,
) -> Path:
    """Draws posterior means on their two principal axes, and returns the path.

    Args:
        means: posterior means, (N, Z).
        out_path: the image; its suffix chooses the format.
        labels: one a sentence, for the colours; any words or numbers.
        label_name: what the labels are.
        max_labels: colours, for the most frequent labels; the rest is grey. At most 6: more could
            not be told apart.
    """
    if not 1 <= max_labels <= len(_MARKERS):
        raise ValueError(f"max_labels must be 1 to {len(_MARKERS)}, got {max_labels}.")
    placed, shares = principal_axes(means)
    if labels is not None and len(labels) != len(placed):
        raise ValueError(f"{len(placed)} points need as many labels, got {len(labels)}.")
    figure = style.new_figure(7.4 if labels is not None else 5.6, 5.2)
    axis = figure.subplots()
    size = float(np.clip(16_000 / len(placed), 7, 36))
    dots: dict[str, Any] = {"s": size, "alpha": 0.75, "linewidths": 0}
    if labels is None:
        axis.scatter(*placed.T, color=BLUE, **dots)
    else:
        entries = []
        words = [str(label) or "(none)" for label in labels]
        counts = Counter(words)
        shown = [word for word, _ in counts.most_common(max_labels)]
        rest = np.array([word not in shown for word in words])
        if rest.any():
            entries.append(f"{OTHERS} ({rest.sum():,}, {len(counts) - len(shown)} labels)")
            axis.scatter(*placed[rest].T, color=GREY, label=len(entries), **dots)
        for number, word in enumerate(shown):
            own = np.array([other == word for other in words])
            entries.append(f"{_shortened(word)} ({counts[word]:,})")
            look = {"color": PALETTE[number], "marker": _MARKERS[number]}
            axis.scatter(*placed[own].T, label=len(entries), **look, **dots)
        legend = axis.legend(
            title=label_name or None,
            fontsize=10,
            frameon=False,
            loc="upper left",
            bbox_to_anchor=(1.0, 1.0),
            title_fontsize=11,
        )
        # put in afterwards: as labels a leading _ would hide them
        for text, entry in zip(legend.get_texts(), entries, strict=True):
            text.set_text(entry)
        for text in (*legend.get_texts(), legend.get_title()):
            text.set_parse_math(False)  # a $ is a dollar
        for handle in legend.legend_handles:
            if handle is not None:
                handle.set(sizes=[40], alpha=1)
    style.dress(axis, f"Posterior means of {len(placed):,} sentences", "")
    axis.set_xlabel(f"first principal axis, {shares[0]:.0%} of the variance", fontsize=11)
    axis.set_ylabel(f"second, {shares[1]:.0%}", fontsize=11)
    axis.set_aspect("equal", adjustable="datalim")
    return style.save(figure, out_path)


def _shortened(word: str) -> str:
    return word if len(word) <= 24 else f"{word[:11]} … {word[-10:]}"
