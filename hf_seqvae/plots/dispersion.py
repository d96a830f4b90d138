"""Dispersion by pooling operator: three statistics of the same encoder states, a panel each."""

from collections.abc import Mapping
from pathlib import Path

from hf_seqvae.plots import style
from hf_seqvae.plots.style import BLUE, ORANGE

_PANELS = (
    ("variance", "Variance\n(larger: more dispersed)", "tr Cov"),
    ("relative_variance", "Relative variance\n(larger: more dispersed)", "tr Cov / E‖f‖²"),
    ("mean_cosine", "Mean pairwise cosine\n(smaller: more dispersed)", "cosine"),
)


def dispersion_by_pooling(
    found: Mapping[str, Mapping[str, float | None]],
    out_path: str | Path,
    *,
    own: str | None = None,
) -> Path:
    """Draws what each pooling operator makes of the same encoder states, and returns the path.

    Args:
        found: of `hf_seqvae.diagnosis.dispersion_by_pooling`.
        out_path: the image; its suffix chooses the format.
        own: the pooling that the model was trained with, to stand out.
    """
    if not found:
        raise ValueError("there is no pooling operator to draw.")
    figure = style.new_figure(12.0, 4.2)
    names = list(found)
    for axis, (key, title, unit) in zip(figure.subplots(1, len(_PANELS)), _PANELS, strict=True):
        values = [found[name][key] for name in names]
        colours = [ORANGE if name == own else BLUE for name in names]
        axis.bar(range(len(names)), [value or 0.0 for value in values], color=colours, width=0.75)
        style.dress(axis, title, unit)
        axis.grid(visible=False, axis="x")
        axis.set_xticks(range(len(names)), names, rotation=30, ha="right", fontsize=10)
        axis.axhline(0, color="black", lw=0.8)
        axis.margins(y=0.15)
        for place, value in enumerate(values):
            text = "undefined" if value is None else f"{value:.3g}"
            axis.annotate(
                text,
                (place, max(value or 0.0, 0.0)),
                (0, 3),
                textcoords="offset points",
                ha="center",
                fontsize=9,
            )
    trained = f"; {own}, orange, is what it was trained with" if own in found else ""
    style.caption(figure, f"The same encoder states under each pooling operator{trained}.")
    return style.save(figure, out_path)
