"""Figures of a study as text."""

from collections.abc import Sequence

from hf_seqvae.study.statistics import Interval, Spread

UNDEFINED = "-"


def number(value: float | None, decimals: int) -> str:
    """A figure as text; small ones keep two digits that count."""
    if value is None:
        return UNDEFINED
    if value and abs(value) < 10**-decimals:
        return f"{value:.1e}"
    return f"{value:.{decimals}f}"


def mean_text(spread: Spread | None, decimals: int) -> str:
    """Mean ± standard deviation over the seeds."""
    if spread is None:
        return UNDEFINED
    text = number(spread.mean, decimals)
    return text if spread.deviation is None else f"{text} ± {number(spread.deviation, decimals)}"


def difference_text(interval: Interval | None, decimals: int = 2) -> str:
    """A difference with its interval, +0.12 [-0.03, 0.27]; alone where it has none."""
    if interval is None:
        return UNDEFINED
    if interval.low is None or interval.high is None:
        return f"{interval.value:+.{decimals}f}"
    low, high = (f"{bound:+.{decimals}f}" for bound in interval[1:])
    return f"{interval.value:+.{decimals}f} [{low}, {high}]"


def grid(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    rows = [header, ["---"] * len(header), *lines]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in rows)
