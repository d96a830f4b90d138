"""How z is used: KL of each latent dimension, and nats saved at each place of a sentence."""

import math
from collections.abc import Sequence
from pathlib import Path

from hf_seqvae.plots import style
from hf_seqvae.plots.style import BLUE, ORANGE


def kl_per_dimension(values: Sequence[float], out_path: str | Path) -> Path:
    """Draws the mean KL of each latent dimension in nats, largest first, and returns the path.

    Args:
        values: the report's figure "kl_per_dimension", (Z,).
        out_path: the image; its suffix chooses the format.
    """
    if not values:
        raise ValueError("there is no latent dimension to draw.")
    order = sorted(range(len(values)), key=lambda dimension: -values[dimension])
    figure = style.new_figure(style.bars_width(len(values)), 3.8)
    axis = figure.subplots()
    axis.bar(range(len(values)), [values[dimension] for dimension in order], color=BLUE, width=0.8)
    style.dress(
        axis, f"KL of each latent dimension, {sum(values):.2f} nats in all", "nats per sentence"
    )
    axis.set_xlabel("latent dimension, largest KL first", fontsize=11)
    style.bar_axis(axis, len(values), order)
    return style.save(figure, out_path)


def position_profile(
    savings: Sequence[float],
    out_path: str | Path,
    *,
    standard_errors: Sequence[float | None] | None = None,
    length_saving: float | None = None,
    length_error: float | None = None,
) -> Path:
    """Draws the nats that z saves at each token position, and in the length, with error bars.

    Args:
        savings: mean nats at each position, of a sentence's own z against another's, (P,).
        out_path: the image; its suffix chooses the format.
        standard_errors: of `savings`, (P,); no bar where one is None.
        length_saving: nats a sentence that z saves on where it ends.
        length_error: standard error of that.
    """
    if not savings:
        raise ValueError("there is no position to draw.")
    if standard_errors is not None and len(standard_errors) != len(savings):
        raise ValueError(
            f"{len(savings)} positions need as many standard errors, got {len(standard_errors)}."
        )
    count = len(savings)
    figure = style.new_figure(style.bars_width(count + 2), 4.0)
    axis = figure.subplots()
    bars = {"width": 0.8, "ecolor": "black", "capsize": 2.5, "error_kw": {"lw": 1.2}}
    errors = None
    if standard_errors is not None:
        errors = [math.nan if error is None else error for error in standard_errors]
    axis.bar(range(count), savings, yerr=errors, color=BLUE, label="word", **bars)
    places = list(range(1, count + 1))
    if length_saving is not None:
        axis.bar([count + 0.6], [length_saving], yerr=length_error, color=ORANGE, **bars)
        axis.axvline(count - 0.2, color="#888888", lw=0.8, ls=":")
        top = max(length_saving + (length_error or 0.0), 0.0)
        axis.annotate(
            f"{round(length_saving, 2) + 0.0:.2f}",
            (count + 0.6, top),
            (0, 3),
            textcoords="offset points",
            ha="center",
            fontsize=9,
        )
    axis.axhline(0, color="black", lw=0.8)
    style.dress(axis, "What z saves at each token of a sentence", "nats, own z against another's")
    style.bar_axis(axis, count, places)
    if length_saving is not None:
        labels = [str(place) for place in places]
        if count <= 64:
            axis.set_xticks([*range(count), count + 0.6], [*labels, "length"])
        axis.set_xlim(-0.7, count + 1.3)
    axis.set_xlabel("token, counted from the start", fontsize=11)
    return style.save(figure, out_path)
