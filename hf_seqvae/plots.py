"""Plots: training curves and the KL of each latent dimension, as image files, without a display."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

# from the palette of Okabe and Ito, told apart with every common form of colour blindness
_BLUE, _ORANGE, _GREEN = "#0072B2", "#D55E00", "#009E73"
_DPI = 150


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


def read_log(path: str | Path) -> list[dict[str, Any]]:
    """The records of a log of one JSON object a line, in order.

    A last line without its end is one that a killed run was still writing, and is left out if it
    cannot be read. Any other broken line is an error.
    """
    lines = Path(path).read_bytes().split(b"\n")
    records = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            records.append(json.loads(line))
        except ValueError as error:  # bad JSON, or half a character
            if number == len(lines):
                break
            raise ValueError(
                f"{path}, line {number}, is not JSON: {error}. Remove the line or restore the file."
            ) from error
    return records


def training_curves(
    log: str | Path | Iterable[Mapping[str, Any]],
    out_path: str | Path,
    *,
    floor: float | None = None,
) -> Path:
    """Draws the curves of a run into an image file and returns its path.

    Training and validation share a panel for each of −ELBO, reconstruction, KL, β, mutual
    information and active units; what the log does not hold has no panel.

    Args:
        log: path of a `log.jsonl`, or its records, with "step", "train/..." and "eval/...".
        out_path: the image; its suffix chooses the format (.png, .pdf, .svg).
        floor: entropy of the validation text in nats per sentence, where it is known; no bound on
            that text lies below it but by sampling error.
    """
    records = read_log(log) if isinstance(log, str | Path) else list(log)
    panels = [panel for panel in _PANELS if any(_series(records, panel))]
    if not panels:
        raise ValueError("the log holds no figure to draw: expected keys such as 'eval/elbo'.")
    columns = 2 if len(panels) == 4 else min(3, len(panels))
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(4.6 * columns, 3.5 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, sharex=True).flatten().tolist()
    for axis, panel in zip(axes, panels, strict=False):
        _draw(axis, panel, *_series(records, panel), floor if panel.key == "elbo" else None)
    for axis in axes[len(panels) :]:
        axis.set_axis_off()
    return _save(figure, out_path)


def kl_per_dimension(values: Sequence[float], out_path: str | Path) -> Path:
    """Draws the mean KL of each latent dimension in nats, largest first, and returns the path.

    Args:
        values: the report's figure "kl_per_dimension", (Z,).
        out_path: the image; its suffix chooses the format.
    """
    if not values:
        raise ValueError("there is no latent dimension to draw.")
    order = sorted(range(len(values)), key=lambda dimension: -values[dimension])
    width = min(max(5.0, 1.5 + 0.26 * len(values)), 14.0)
    figure = Figure(figsize=(width, 3.8), layout="constrained")
    axis = figure.subplots()
    axis.bar(range(len(values)), [values[dimension] for dimension in order], color=_BLUE, width=0.8)
    _dress(axis, f"KL of each latent dimension, {sum(values):.2f} nats in all", "nats per sentence")
    axis.set_xlabel("latent dimension, largest KL first", fontsize=11)
    axis.set_xlim(-0.7, len(values) - 0.3)
    axis.grid(visible=False, axis="x")
    if len(values) <= 64:
        axis.set_xticks(range(len(values)), [str(dimension) for dimension in order], fontsize=8)
    return _save(figure, out_path)


def _series(records: Sequence[Mapping[str, Any]], panel: _Panel) -> tuple[list[Any], list[Any]]:
    """(step, value) of training and of validation; empty where the log has none."""

    def points(split: str) -> list[tuple[int, float]]:
        key = f"{split}/{panel.key}"
        known = [record for record in records if record.get(key) is not None]
        return [(record["step"], panel.sign * record[key]) for record in known]

    return points("train"), points("eval")


def _draw(
    axis: Axes, panel: _Panel, train: list[Any], valid: list[Any], floor: float | None
) -> None:
    if train:
        marker = "o" if len(train) == 1 else ""
        axis.plot(*zip(*train, strict=True), color=_BLUE, lw=1.4, marker=marker, label="training")
    if valid:
        axis.plot(
            *zip(*valid, strict=True), color=_ORANGE, lw=1.8, marker="o", ms=4.5, label="validation"
        )
    if floor is not None:
        axis.axhline(floor, color=_GREEN, lw=1.5, ls="--", label=f"entropy {floor:.2f}")
    _dress(axis, panel.title, panel.unit)
    if panel.key in ("elbo", "reconstruction_nll"):
        _let_the_start_run_off(axis, train, valid)
    else:
        axis.set_ylim(bottom=min(0.0, axis.dataLim.ymin))
    axis.set_xlabel("training step", fontsize=11)
    axis.tick_params(labelbottom=True)
    axis.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    axis.xaxis.set_major_formatter(FuncFormatter(lambda step, _: _thousands(step)))
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


def _dress(axis: Axes, title: str, unit: str) -> None:
    axis.set_title(title, fontsize=12)
    axis.set_ylabel(unit, fontsize=11)
    axis.tick_params(labelsize=10)
    axis.grid(color="#DDDDDD", lw=0.7)
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)


def _thousands(step: float) -> str:
    return f"{step / 1000:g}k" if abs(step) >= 10_000 else f"{step:g}"


def _save(figure: Figure, out_path: str | Path) -> Path:
    out_path = Path(out_path)
    out_path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out_path, dpi=_DPI)
    return out_path
