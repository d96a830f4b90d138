"""Curves over training from log.jsonl: every figure in a panel, and MI and KL in one."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from hf_seqvae.plots import style
from hf_seqvae.plots.style import BLUE, GREEN, ORANGE
from hf_seqvae.run_log import read_log, series


@dataclass(frozen=True)
class _Panel:
    title: str
    unit: str
    key: str
    sign: float = 1.0
    whole_numbers: bool = False


_PANELS = (
    _Panel("Negative ELBO", "nats per sentence", "elbo", sign=-1.0),
    _Panel("Reconstruction: −log p(x|z)", "nats per sentence", "reconstruction_nll"),
    _Panel("KL to the prior", "nats per sentence", "kl"),
    _Panel("KL weight β", "β", "beta"),
    _Panel("Mutual information of x and z", "nats", "mutual_information"),
    _Panel("Active units", "latent dimensions", "active_units", whole_numbers=True),
)

Log = str | Path | Iterable[Mapping[str, Any]]


def training_curves(log: Log, out_path: str | Path, *, floor: float | None = None) -> Path:
    """Draws the curves of a run into an image file and returns its path.

    Training and validation share a panel for each of −ELBO, reconstruction, KL, β, mutual
    information and active units; what the log does not hold has no panel.

    Args:
        log: path of a `log.jsonl`, or its records, with "step", "train/..." and "eval/...".
        out_path: the image; its suffix chooses the format (.png, .pdf, .svg).
        floor: entropy of the validation text in nats per sentence, where it is known; no bound on
            that text lies below it but by sampling error.
    """
    records = _records(log)
    panels = [panel for panel in _PANELS if any(_both(records, panel))]
    if not panels:
        raise ValueError("the log holds no figure to draw: expected keys such as 'eval/elbo'.")
    columns = 2 if len(panels) == 4 else min(3, len(panels))
    rows = -(-len(panels) // columns)
    figure = style.new_figure(4.6 * columns, 3.5 * rows)
    axes = figure.subplots(rows, columns, squeeze=False, sharex=True).flatten().tolist()
    for axis, panel in zip(axes, panels, strict=False):
        _draw(axis, panel, *_both(records, panel), floor if panel.key == "elbo" else None)
    for axis in axes[len(panels) :]:
        axis.set_axis_off()
    return style.save(figure, out_path)


def information_over_training(log: Log, out_path: str | Path) -> Path:
    """Draws KL and mutual information of the validations over the steps, β behind them.

    The distance between the two is rate that is paid and tells nothing.

    Args:
        log: path of a `log.jsonl`, or its records.
        out_path: the image; its suffix chooses the format.
    """
    records = _records(log)
    rate, information = series(records, "eval/kl"), series(records, "eval/mutual_information")
    if not rate:
        raise ValueError("the log holds no 'eval/kl': a validation writes it.")
    figure = style.new_figure(7.2, 4.2)
    axis = figure.subplots()
    steps, kl = zip(*rate, strict=True)
    axis.plot(steps, kl, color=BLUE, lw=2, marker="o", ms=5, label="KL, what is paid")
    if information:
        known = dict(information)
        steps_of, values = zip(*information, strict=True)
        axis.plot(
            steps_of,
            values,
            color=ORANGE,
            lw=2,
            marker="s",
            ms=5,
            label="MI, what tells sentences apart",
        )
        both = [(step, paid, known[step]) for step, paid in rate if step in known]
        columns = list(zip(*both, strict=True))
        axis.fill_between(columns[0], columns[1], columns[2], color=BLUE, alpha=0.12, lw=0)
    style.dress(axis, "Rate paid and rate used, on the validation text", "nats per sentence")
    axis.set_ylim(bottom=min(0.0, axis.dataLim.ymin))
    style.steps_axis(axis)
    weights = series(records, "train/beta")
    if weights:
        beta = axis.twinx()
        beta.plot(*zip(*weights, strict=True), color=GREEN, lw=1.3, ls="--", label="β (right)")
        beta.set_ylim(0, max(1.0, *(weight for _, weight in weights)) * 1.05)
        beta.set_ylabel("KL weight β", fontsize=11, color=GREEN)
        beta.tick_params(labelsize=10, colors=GREEN)
        beta.spines["top"].set_visible(False)
        axis.plot([], [], color=GREEN, lw=1.3, ls="--", label="β (right axis)")
    axis.legend(
        fontsize=10, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=3
    )
    return style.save(figure, out_path)


def _records(log: Log) -> list[Any]:
    return read_log(log) if isinstance(log, str | Path) else list(log)


def _both(records: Sequence[Mapping[str, Any]], panel: _Panel) -> tuple[list[Any], list[Any]]:
    """(step, value) of training and of validation; empty where the log has none."""
    return (
        series(records, f"train/{panel.key}", panel.sign),
        series(records, f"eval/{panel.key}", panel.sign),
    )


def _draw(
    axis: Axes, panel: _Panel, train: list[Any], valid: list[Any], floor: float | None
) -> None:
    if train:
        marker = "o" if len(train) == 1 else ""
        axis.plot(*zip(*train, strict=True), color=BLUE, lw=1.4, marker=marker, label="training")
    if valid:
        axis.plot(
            *zip(*valid, strict=True), color=ORANGE, lw=1.8, marker="o", ms=4.5, label="validation"
        )
    if floor is not None:
        axis.axhline(floor, color=GREEN, lw=1.5, ls="--", label=f"entropy {floor:.2f}")
    style.dress(axis, panel.title, panel.unit)
    if panel.key in ("elbo", "reconstruction_nll"):
        _let_the_start_run_off(axis, train, valid)
    else:
        axis.set_ylim(bottom=min(0.0, axis.dataLim.ymin))
    style.steps_axis(axis)
    if panel.whole_numbers:
        axis.yaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    if len(axis.lines) > 1:
        axis.legend(fontsize=10, frameon=False)
    elif train or valid:
        axis.set_title(f"{panel.title} ({'training' if train else 'validation'})", fontsize=12)


def _let_the_start_run_off(axis: Axes, train: list[Any], valid: list[Any]) -> None:
    """Cuts the first twentieth of training off at the top, which would flatten all that follows."""
    if len(train) < 20:
        return
    begin, end = train[0][0], train[-1][0]
    later = [value for step, value in train if step >= begin + 0.05 * (end - begin)]
    later += [value for _, value in valid]
    low, high = axis.get_ylim()
    highest = max(later) + 0.05 * (max(later) - low)
    if low < highest < high:
        axis.set_ylim(low, highest)
