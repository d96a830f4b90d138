"""Spectra: eigenvalues of features, and the water level under which dimensions collapse."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from hf_seqvae.plots import style
from hf_seqvae.plots.style import BLUE, GREY, ORANGE, PALETTE

EXACT = "Linear VAE: the dimensions above the water are active, at exactly these rates."
PICTURE = "A picture, not a prediction: text is not Gaussian and its decoder is not linear."
ACTIVE = 0.99  # above level / 0.99 the mean has the variance 0.01 that makes a unit active
_MARKERS = "osD^vPX*"
_SMALLEST = 1e-12  # of the largest eigenvalue: below it is rounding
_LABELLED = 32  # bars that have room for a number each


def spectrum(
    spectra: Mapping[str, Sequence[float]],
    out_path: str | Path,
    *,
    totals: Mapping[str, float] | None = None,
    participation: Mapping[str, float] | None = None,
) -> Path:
    """Draws eigenvalues, largest first, as shares of their sum on a logarithmic scale.

    Args:
        spectra: what they are of -> eigenvalues of its covariance.
        out_path: the image; its suffix chooses the format.
        totals: likewise -> the sum of all eigenvalues, where only the largest are given.
        participation: likewise -> participation ratio, how many directions it spreads in.
    """
    if not spectra or not all(sum(values) > 0 for values in spectra.values()):
        raise ValueError(
            "a spectrum needs a positive eigenvalue: features that are all equal have none."
        )
    figure = style.new_figure(7.2, 4.2)
    axis = figure.subplots()
    for number, (name, values) in enumerate(spectra.items()):
        total = sum(values) if totals is None else totals[name]
        shares = [value / total for value in sorted(values, reverse=True)]
        shares = [share for share in shares if share > _SMALLEST]
        label = name
        if participation is not None and name in participation:
            label += f", participation ratio {participation[name]:.1f}"
        axis.plot(
            range(1, len(shares) + 1),
            shares,
            color=PALETTE[number % len(PALETTE)],
            marker=_MARKERS[number % len(_MARKERS)] if len(shares) <= 64 else "",
            ms=4.5,
            lw=1.8,
            label=label,
        )
    axis.set_yscale("log")
    style.dress(axis, "Eigenvalues of the covariance", "share of the variance")
    axis.set_xlabel("direction, largest first", fontsize=11)
    axis.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True))
    axis.set_xlim(left=0)
    axis.legend(fontsize=10, frameon=False)
    return style.save(figure, out_path)


def water_level(
    eigenvalues: Sequence[float],
    level: float,
    out_path: str | Path,
    *,
    exact: bool = False,
    latent_size: int | None = None,
    title: str = "Eigenvalues of the data and the water level",
    unit: str = "variance",
    level_name: str = "water level βσ²",
) -> Path:
    """Draws a spectrum with the level below which a dimension collapses, and the rates above it.

    A dimension above the level has the rate ½ ln(eigenvalue / level) nats, the others none: the
    optimum of the linear VAE, at the level βσ². Sources: Lucas et al., arXiv 1911.02469; Wang and
    Ziyin, arXiv 2205.04009.

    Args:
        eigenvalues: of the data's covariance, (n,), in any order.
        level: the water level, in the same unit.
        out_path: the image; its suffix chooses the format.
        exact: whether the model is the linear VAE; the caption says which it is.
        latent_size: Z, where it may be too few for all that is above the level.
        title: over the picture.
        unit: of the eigenvalues.
        level_name: of the level.
    """
    if not eigenvalues or min(eigenvalues) < 0 or not max(eigenvalues) > 0:
        raise ValueError("eigenvalues of a covariance are 0 or more, and one at least is positive.")
    if not level > 0:
        raise ValueError(f"level must be positive, got {level}.")
    values = sorted(eigenvalues, reverse=True)
    above = sum(value > level / ACTIVE for value in values)
    active = above if latent_size is None else min(above, latent_size)
    rates = [0.5 * math.log(value / level) for value in values[:active]]
    lowest = min([level, *(value for value in values if value > _SMALLEST * values[0])])
    highest = max(level, values[0])
    bottom, top = 0.8 * lowest, highest * (highest / lowest) ** 0.3
    figure = style.new_figure(style.bars_width(len(values)) * 1.15, 4.4)
    axis = figure.subplots()
    axis.set_yscale("log")
    axis.axhspan(bottom, level, color="#56B4E9", alpha=0.3, lw=0, zorder=0.5)
    if active:
        axis.bar(range(active), values[:active], color=BLUE, width=0.8, label="active")
    if active < above:
        axis.bar(
            range(active, above),
            values[active:above],
            color="white",
            edgecolor=BLUE,
            width=0.8,
            label=f"above it, but z has {latent_size} dimensions",
        )
    if above < len(values):
        axis.bar(
            range(above, len(values)),
            [max(value, bottom) for value in values[above:]],
            color=GREY,
            hatch="///",
            edgecolor="#777777",
            width=0.8,
            label="under water: collapsed",
        )
    axis.axhline(level, color=ORANGE, lw=1.8, label=f"{level_name} = {level:.3g}")
    told = len(values) <= _LABELLED
    if told:
        _number_the_bars(axis, values, rates, upright=len(values) > 20)
    heading = f"{active} of {len(values)} active, {sum(rates):.2f} nats"
    style.dress(axis, f"{title}\n{heading}", unit)
    axis.set_ylim(bottom, top)
    _plain_ticks(axis, top / bottom)
    style.bar_axis(axis, len(values), range(1, len(values) + 1))
    numbers = "; over each bar its rate ½ ln(λ / level) in nats" if told else ""
    axis.set_xlabel(f"dimension, largest first{numbers}", fontsize=10.5)
    axis.legend(fontsize=10, frameon=False, loc="upper right")
    style.caption(figure, EXACT if exact else PICTURE)
    return style.save(figure, out_path)


def _number_the_bars(
    axis: Axes, values: Sequence[float], rates: Sequence[float], *, upright: bool
) -> None:
    for place, (value, rate) in enumerate(zip(values, rates, strict=False)):
        axis.annotate(
            f"{rate:.2f}",
            (place, value),
            (0, 3),
            textcoords="offset points",
            ha="center",
            va="bottom",
            fontsize=9,
            rotation=90 if upright else 0,
        )


def _plain_ticks(axis: Axes, span: float) -> None:
    """Numbers as they are said, and enough of them where the axis is short."""
    axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if span < 100 else (1,)))
    axis.yaxis.set_minor_formatter(NullFormatter())
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
