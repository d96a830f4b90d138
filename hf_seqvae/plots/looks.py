"""How the runs of a study are told apart: a colour, a marker and a kind of line each."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.textpath import TextPath

from hf_seqvae.plots.style import PALETTE

_MARKERS = "osD^vPX*"
# a dash is (offset, (points drawn, left out, ...))
_LINES = (
    "-",
    "--",
    ":",
    "-.",
    (0, (8, 3)),
    (0, (3, 1, 1, 1, 1, 1)),
    (0, (1, 4)),
    (0, (8, 2, 2, 2)),
)
_LETTERS, _ENTRY_HEIGHT = 9, 0.22  # of a name in the legend: points, inches
# the statistics of the pooled features, and how axes call them
DISPERSIONS = (
    ("pooled_variance", "tr Cov"),
    ("pooled_relative_variance", "tr Cov / E‖f‖²"),
    ("pooled_mean_cosine", "mean pairwise cosine"),
)


class Look(NamedTuple):
    """How one run is drawn."""

    colour: str
    marker: str
    line: Any


def looks_of(runs: Sequence[Mapping[str, Any]]) -> dict[str, Look]:
    """{name: look} of runs with "name" and "pooling".

    A colour for each pooling and a shape for what differs within it; where more runs share one
    than there are kinds of line, a colour for each run.
    """
    by_pooling: dict[str, list[str]] = {}
    for run in runs:
        names = by_pooling.setdefault(run["pooling"], [])
        if run["name"] not in names:
            names.append(run["name"])
    if max(map(len, by_pooling.values()), default=0) <= len(_LINES):
        return {
            name: _look(colour, shape)
            for colour, names in enumerate(by_pooling.values())
            for shape, name in enumerate(names)
        }
    names = [name for names in by_pooling.values() for name in names]
    return {name: _look(place, place // len(PALETTE)) for place, name in enumerate(names)}


def name_runs(figure: Figure, looks: Mapping[str, Look], *, lines: bool = False) -> None:
    """The legend of all runs, right of the axes; each column of it widens the figure."""
    handles = [
        Line2D([], [], color=look.colour, ls=look.line, lw=1.8, label=name)
        if lines
        else Line2D([], [], color=look.colour, ls="", marker=look.marker, ms=8, label=name)
        for name, look in looks.items()
    ]
    width, height = figure.get_size_inches()
    columns = math.ceil(len(handles) / max(1, int(height / _ENTRY_HEIGHT) - 2))
    widths = [TextPath((0, 0), name, size=_LETTERS).get_extents().width for name in looks]
    figure.set_size_inches(width + columns * (0.7 + max(widths, default=0.0) / 72), height)
    figure.legend(
        handles=handles, fontsize=_LETTERS, frameon=False, loc="outside right upper", ncols=columns
    )


def _look(colour: int, shape: int) -> Look:
    return Look(
        PALETTE[colour % len(PALETTE)], _MARKERS[shape % len(_MARKERS)], _LINES[shape % len(_LINES)]
    )
