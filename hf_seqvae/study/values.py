"""Every figure of a study as plain values, for table.json."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

from hf_seqvae.study.comparison import Row
from hf_seqvae.study.folder import FORMAT
from hf_seqvae.study.hypothesis import Prediction
from hf_seqvae.study.result import Result
from hf_seqvae.study.schema import Study
from hf_seqvae.study.statistics import Interval


def as_json(study: Study, rows: Sequence[Row], predictions: Sequence[Prediction]) -> dict[str, Any]:
    """Every figure of the study as plain values."""
    return {
        "format": FORMAT,
        "study": study.to_dict(),
        "runs": [_row_values(study, row) for row in rows],
        "hypothesis": [
            {
                **{name: getattr(one, name) for name in ("statistic", "when", "outcome", "n")},
                "spearman": _plain(one.correlation),
            }
            for one in predictions
        ],
    }


def _row_values(study: Study, row: Row) -> dict[str, Any]:
    return {
        "name": row.run.name,
        "differs": list(row.differs),
        "remedy": row.run.remedy,
        "note": row.run.note,
        "figures": {name: spread._asdict() for name, spread in row.figures.items()},
        "costs_over_baseline": {name: spread._asdict() for name, spread in row.costs.items()},
        "difference": _plain(row.difference),
        "no_difference": row.no_difference,
        "no_costs": row.no_costs,
        "seeds": [_result_values(study, one) for one in row.results],
    }


def _result_values(study: Study, one: Result) -> dict[str, Any]:
    return {
        "seed": one.job.seed,
        "recipe": os.path.relpath(one.job.folder / "recipe.yaml", study.folder),
        "state": one.state,
        "fault": one.fault,
        "machine": one.machine,
        "epoch": one.epoch,
        "step": one.step,
        "exact": one.exact,
        "num_iw_sentences": len(one.likelihoods),
        "num_sentences": one.num_sentences,
        "figures": dict(one.figures),
        "caps": dict(one.caps),
        "reasons": dict(one.reasons),
    }


def _plain(interval: Interval | None) -> Mapping[str, Any] | None:
    return None if interval is None else interval._asdict()
