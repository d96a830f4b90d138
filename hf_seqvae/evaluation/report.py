"""The report of an evaluation: figures that carry their definition, standard error and cap."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Figure:
    """One measured quantity.

    Attributes:
        value: the figure; a list where each latent dimension has one; None where it is undefined.
        definition: estimator and unit, in words.
        standard_error: of `value`, over sentences; None where there is none.
        cap: the most that the estimator can say, whatever the model.
        reason: why `value` is None.
    """

    value: float | list[float] | None
    definition: str
    standard_error: float | list[float] | list[float | None] | None = None
    cap: float | None = None
    reason: str | None = None


@dataclass(frozen=True)
class Report:
    """Every figure of one evaluation, by name.

    Attributes:
        figures: name -> Figure.
        num_sentences: sentences evaluated.
        num_tokens: predicted tokens, one EOS a sentence among them.
        num_words: words, without EOS; None if the data set does not count them.
        settings: what was asked for (seed, num_samples, iw_samples; batch_size and decode_size,
            which figures do not depend on).
        wall_seconds: how long it took, earlier sittings of a killed evaluation included.
        cpu_seconds: of all processes together.
        model, data: what was measured: name, number of parameters or sentences, SHA-256.
        versions: of the libraries.
        device: where the model ran.
        num_processes: how many shared the work.
        peak_memory_mib: the most that the first process held, everything included; None where
            nobody looked.
        per_sentence: name -> array of N rows in the order of the data set; not part of the JSON.
    """

    figures: Mapping[str, Figure]
    num_sentences: int
    num_tokens: int
    num_words: int | None
    settings: Mapping[str, Any]
    wall_seconds: float
    cpu_seconds: float = 0.0
    model: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    device: str = "cpu"
    num_processes: int = 1
    peak_memory_mib: float | None = None
    per_sentence: Mapping[str, np.ndarray] = field(default_factory=dict, repr=False, compare=False)

    def __getitem__(self, name: str) -> Figure:
        """The figure of that name."""
        if name not in self.figures:
            raise KeyError(f"no figure {name!r}; there are {sorted(self.figures)}.")
        return self.figures[name]

    def to_dict(self) -> dict[str, Any]:
        """The report as plain values, without the arrays per sentence."""
        plain = {item.name: getattr(self, item.name) for item in fields(self)}
        del plain["per_sentence"]
        figures = {name: asdict(figure) for name, figure in self.figures.items()}
        mappings = ("settings", "model", "data", "versions")
        return plain | {"figures": figures} | {name: dict(plain[name]) for name in mappings}

    @classmethod
    def from_dict(
        cls, values: Mapping[str, Any], per_sentence: Mapping[str, np.ndarray] | None = None
    ) -> "Report":
        """The report whose `to_dict` gave these values."""
        figures = {name: Figure(**figure) for name, figure in values["figures"].items()}
        known = {item.name for item in fields(cls)}
        rest = {name: value for name, value in values.items() if name in known - {"figures"}}
        return cls(figures=figures, per_sentence=dict(per_sentence or {}), **rest)

    def to_json(self, path: str | Path | None = None) -> str:
        """The report as strict JSON (no NaN), also written to `path` if one is given."""
        text = json.dumps(self.to_dict(), indent=2, allow_nan=False) + "\n"
        if path is not None:
            Path(path).write_text(text, encoding="utf-8")
        return text

    def rows(self) -> list[tuple[str, str, str, str, str]]:
        """A line of text for each figure: name, value, standard error, cap, definition.

        An undefined figure gives its reason in the place of the definition.
        """
        return [
            (
                name,
                _text(figure.value),
                # an error for each dimension does not fit a table
                _text(figure.standard_error) if isinstance(figure.standard_error, float) else "",
                "" if figure.cap is None else _text(figure.cap),
                figure.definition if figure.reason is None else f"undefined: {figure.reason}",
            )
            for name, figure in self.figures.items()
        ]


def _text(value: float | list[float] | None) -> str:
    if value is None:
        return "-"
    if isinstance(value, list):
        return f"{_text(min(value))} to {_text(max(value))}"
    if isinstance(value, int):
        return str(value)
    return f"{value:.3f}" if value == 0 or abs(value) >= 0.01 else f"{value:.2e}"
