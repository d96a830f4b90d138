"""Pictures of a study over training: use of z and dispersion of the features, run by run."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, ScalarFormatter

from hf_seqvae.plots import style
from hf_seqvae.plots.looks import DISPERSIONS, Look, looks_of, name_runs

Run = Mapping[str, Any]


def usage_over_training(runs: Sequence[Run], out_path: str | Path) -> Path:
    """Draws KL and mutual information of the validations over the epochs, a line a run and seed.

    Where one run goes far above what all end with (an autoencoder that becomes a VAE), the axis is
    logarithmic above 1 nat.

    Args:
        runs: of each seed "name", "pooling" and "validations", lines of its log.
        out_path: the image; its suffix chooses the format.
    """
    figure = style.new_figure(10.0, 4.8)
    looks = looks_of(runs)
    panels = (("kl", "KL"), ("mutual_information", "Mutual information"))
    for axis, (key, title) in zip(figure.subplots(1, 2), panels, strict=True):
        _lines_over_epochs(axis, runs, looks, key)
        style.dress(axis, f"{title}, validation", "nats a sentence")
        if axis.lines:
            _let_the_end_be_seen(axis)
            axis.set_ylim(bottom=min(0.0, axis.dataLim.ymin))
    name_runs(figure, looks, lines=True)
    return style.save(figure, out_path)


def dispersion_over_training(runs: Sequence[Run], out_path: str | Path) -> Path:
    """Draws the dispersion of the pooled features over the epochs, a line a run and seed.

    Args:
        runs: of each seed "name", "pooling" and "validations"; where the first step is known,
            "initial_..." is the point at epoch 0.
        out_path: the image; its suffix chooses the format.
    """
    figure = style.new_figure(12.0, 4.6)
    looks = looks_of(runs)
    for axis, (key, title) in zip(figure.subplots(1, 3), DISPERSIONS, strict=True):
        _lines_over_epochs(axis, runs, looks, key)
        style.dress(axis, f"Pooled features: {title}", "")
    name_runs(figure, looks, lines=True)
    style.caption(figure, "Epoch 0: before training, on the evaluated split; then validation text.")
    return style.save(figure, out_path)


def _lines_over_epochs(
    axis: Axes, runs: Sequence[Run], looks: Mapping[str, Look], key: str
) -> None:
    """A figure of the validations over the epochs, and what it was before training."""
    for run in runs:
        look = looks[run["name"]]
        known = [line for line in run["validations"] if line.get(f"eval/{key}") is not None]
        points = [(line["epoch"], line[f"eval/{key}"]) for line in known]
        start = run.get(f"initial_{key}")
        if points and start is not None:
            points.insert(0, (0.0, start))
        if points:
            axis.plot(
                *zip(*points, strict=True), color=look.colour, ls=look.line, lw=1.5, alpha=0.85
            )
    axis.set_xlabel("epoch", fontsize=11)
    axis.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True))


def _let_the_end_be_seen(axis: Axes) -> None:
    """Logarithmic above 1 where a line has been more than ten times as high as any ends."""
    ends = max(np.asarray(line.get_ydata(), dtype=float)[-1] for line in axis.lines)
    if axis.dataLim.ymax > 10.0 * max(1.0, ends):
        axis.set_yscale("symlog", linthresh=1.0)
        axis.yaxis.set_major_formatter(ScalarFormatter())
