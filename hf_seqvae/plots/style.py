"""What all plots share: colours that everybody can tell apart, axes, files."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

# from the palette of Okabe and Ito, told apart with every common form of colour blindness
BLUE, ORANGE, GREEN = "#0072B2", "#D55E00", "#009E73"
PALETTE = (BLUE, "#E69F00", GREEN, "#CC79A7", "#56B4E9", ORANGE, "#F0E442", "#000000")
GREY = "#BBBBBB"
_DPI = 150


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of so many inches."""
    return Figure(figsize=(width, height), layout="constrained")


def dress(axis: Axes, title: str, unit: str) -> None:
    """Title, unit of y, sizes of letters, grid."""
    axis.set_title(title, fontsize=12)
    axis.set_ylabel(unit, fontsize=11)
    axis.tick_params(labelsize=10)
    axis.grid(color="#DDDDDD", lw=0.7)
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)


def steps_axis(axis: Axes) -> None:
    """The x axis of a training."""
    axis.set_xlabel("training step", fontsize=11)
    axis.tick_params(labelbottom=True)
    axis.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    axis.xaxis.set_major_formatter(FuncFormatter(lambda step, _: thousands(step)))


def caption(figure: Figure, text: str) -> None:
    """A line under the picture."""
    figure.supxlabel(text, fontsize=9.5, color="#444444")


def bar_axis(axis: Axes, count: int, labels: Sequence[Any] | None = None) -> None:
    """The x axis of `count` bars, labelled one by one where there is room."""
    axis.set_xlim(-0.7, count - 0.3)
    axis.grid(visible=False, axis="x")
    if labels is not None and count <= 64:
        axis.set_xticks(range(count), [str(label) for label in labels])
        axis.tick_params(axis="x", labelsize=9 if count <= 32 else 7)
    else:
        axis.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True))


def bars_width(count: int) -> float:
    """Inches for a picture of `count` bars."""
    return min(max(5.0, 1.5 + 0.26 * count), 14.0)


def thousands(step: float) -> str:
    """10000 as 10k."""
    return f"{step / 1000:g}k" if abs(step) >= 10_000 else f"{step:g}"


def save(figure: Figure, out_path: str | Path) -> Path:
    """Write the image; its suffix chooses the format."""
    out_path = Path(out_path)
    out_path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out_path, dpi=_DPI)
    return out_path
