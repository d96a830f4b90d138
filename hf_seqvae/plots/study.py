"""Pictures of a finished study: likelihood, rate and distortion, dispersion against use of z."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hf_seqvae.plots import style
from hf_seqvae.plots.looks import DISPERSIONS, looks_of, name_runs
from hf_seqvae.plots.style import GREY, ORANGE

Run = Mapping[str, Any]
_OUTCOMES = (("kl", "KL at the end, nats"), ("mutual_information", "MI at the end, nats"))


def likelihood_by_run(
    runs: Sequence[Run], out_path: str | Path, *, baseline: str | None, unit: str
) -> Path:
    """Draws the negative log likelihood of each run, a point a seed, the baseline's mean as a line.

    Args:
        runs: of each seed "name" and "nll"; "exact" where it is no estimate.
        out_path: the image; its suffix chooses the format.
        baseline: name of the run that the line is of.
        unit: what is drawn, for the axis.
    """
    names = list(dict.fromkeys(run["name"] for run in runs))
    figure = style.new_figure(8.0, max(2.6, 1.2 + 0.36 * len(names)))
    axis = figure.subplots()
    for place, name in enumerate(names):
        own = [run for run in runs if run["name"] == name]
        values = [run["nll"] for run in own]
        colour = ORANGE if name == baseline else style.BLUE
        axis.plot([sum(values) / len(values)] * 2, [place - 0.3, place + 0.3], color=colour, lw=2.5)
        axis.plot(values, [place] * len(values), "o", color=colour, ms=6, alpha=0.7, mew=0)
        if name == baseline:
            axis.axvline(sum(values) / len(values), color=ORANGE, lw=1.2, ls="--", zorder=1)
    style.dress(axis, "Likelihood by run (left is better)", "")
    axis.set_xlabel(unit, fontsize=11)
    exact = {run["name"] for run in runs if run.get("exact")}
    labels = [f"{name} (exact)" if name in exact else name for name in names]
    axis.set_yticks(range(len(names)), labels, fontsize=10)
    axis.set_ylim(len(names) - 0.4, -0.6)
    style.caption(figure, "A point is a seed, a bar the mean; dashed: the baseline.")
    return style.save(figure, out_path)


def rate_distortion(runs: Sequence[Run], out_path: str | Path) -> Path:
    """Draws reconstruction nll over KL, a point a run and seed; on a dashed line -ELBO is equal.

    Args:
        runs: of each seed "name", "pooling", "kl" and "reconstruction_nll".
        out_path: the image; its suffix chooses the format.
    """
    figure = style.new_figure(7.0, 5.2)
    axis = figure.subplots()
    looks = looks_of(runs)
    for run in runs:
        colour, marker = looks[run["name"]].colour, looks[run["name"]].marker
        axis.plot(run["kl"], run["reconstruction_nll"], marker, color=colour, ms=8, alpha=0.85)
    axis.margins(0.1)
    axis.set_xlim(left=min(0.0, axis.get_xlim()[0]))
    (left, right), (low, high) = axis.get_xlim(), axis.get_ylim()
    step = max(0.1, round((high + right - low - left) / 8, 1))
    bound = step * round((low + left) / step)
    while bound < high + right:
        axis.plot(
            [left, right], [bound - left, bound - right], color=GREY, lw=0.8, ls="--", zorder=0
        )
        bound += step
    axis.set_xlim(left, right)
    axis.set_ylim(low, high)
    style.dress(axis, "Rate and distortion", "reconstruction nll, nats a sentence")
    axis.set_xlabel("KL, nats a sentence", fontsize=11)
    name_runs(figure, looks)
    style.caption(
        figure, f"Along a dashed line −ELBO is equal; from one to the next {step:.1f} nats."
    )
    return style.save(figure, out_path)


def dispersion_against_usage(
    runs: Sequence[Run],
    out_path: str | Path,
    *,
    correlations: Mapping[tuple[str, str], str],
) -> Path:
    """Draws KL and MI at the end over dispersion before and after training, a point a seed.

    Args:
        runs: of each seed "name", "pooling", "kl", "mutual_information", and the statistics
            "pooled_..." and "initial_pooled_...".
        out_path: the image; its suffix chooses the format.
        correlations: what to write over the panel of (statistic, outcome).
    """
    figure = style.new_figure(13.0, 12.5)
    looks = looks_of(runs)
    grid = figure.subplots(4, 3)
    times = (("initial_", "before training"), ("", "after training"))
    rows = [(when, outcome) for when in times for outcome in _OUTCOMES]
    for line, ((prefix, when), (outcome, label)) in zip(grid, rows, strict=True):
        for axis, (key, title) in zip(line, DISPERSIONS, strict=True):
            for run in runs:
                colour, marker = looks[run["name"]].colour, looks[run["name"]].marker
                x, y = run[prefix + key], run[outcome]
                if x is not None and y is not None:
                    axis.plot(x, y, marker, color=colour, ms=7, alpha=0.85)
            style.dress(axis, correlations.get((prefix + key, outcome), ""), label)
            axis.set_xlabel(f"{title}, {when}", fontsize=11)
            axis.margins(0.1)
    name_runs(figure, looks)
    return style.save(figure, out_path)
