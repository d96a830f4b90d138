"""What the folder of a job holds: its figures, its cost, its curves, and how far it has come."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from hf_seqvae.evaluation import Report, read_report
from hf_seqvae.run_log import read_log
from hf_seqvae.study.cost import read_costs
from hf_seqvae.study.folder import (
    COST_NAME,
    EVALUATION_NAME,
    INITIAL_NAME,
    KEPT_NAME,
    read_json,
    read_kept_file,
)
from hf_seqvae.study.plan import FINISHED, Job

NO_LATENTS = "a model without latents has none"
LIKELIHOOD = "nll"  # what models are compared by: iw_nll, or the exact nll of one without latents
# of the importance-weighted evaluation, on its first sentences
OF_SAMPLES = {LIKELIHOOD: "iw_nll", "word_perplexity": "word_perplexity"}
# of the whole split
OF_SPLIT = (
    "negative_elbo",
    "reconstruction_nll",
    "kl",
    "mutual_information",
    "active_units",
    "swap_gap",
    "pooled_variance",
    "pooled_relative_variance",
    "pooled_mean_cosine",
)


# of a result, what JSON has as it is
_PLAIN = ("epoch", "step", "figures", "caps", "reasons", "exact", "texts", "num_sentences")


@dataclass(frozen=True)
class Result:
    """One job as it stands.

    Attributes:
        job: whose.
        state: see `Job.state`.
        epoch: of the last line of the log; 0.0 before the first.
        step: likewise.
        figures: by name; initial dispersion as "initial_...", seconds of training as "wall_seconds"
            and "cpu_seconds". None with a reason in `reasons` where undefined. Empty unless
            finished.
        caps: the most that an estimator can say.
        reasons: why a figure is None.
        exact: whether the likelihood is exact, the model having no latents.
        likelihoods: nats of each sentence, (N,).
        texts: SHA-256 of these sentences.
        num_sentences: of the whole split.
        validations: lines of the log with "eval/...", over training.
    """

    job: Job
    state: str
    epoch: float = 0.0
    step: int = 0
    figures: Mapping[str, float | None] = field(default_factory=dict)
    caps: Mapping[str, float] = field(default_factory=dict)
    reasons: Mapping[str, str] = field(default_factory=dict)
    exact: bool = False
    likelihoods: np.ndarray = field(default_factory=lambda: np.empty(0), compare=False)
    texts: str = ""
    num_sentences: int = 0
    validations: tuple[Mapping[str, Any], ...] = ()

    @property
    def elbo(self) -> float | None:
        """Of the last validation; None before the first."""
        return self.validations[-1]["eval/elbo"] if self.validations else None

    @property
    def validated_epoch(self) -> float:
        """Of the last validation; 0.0 before the first."""
        return self.validations[-1]["epoch"] if self.validations else 0.0

    @property
    def finished(self) -> bool:
        """Whether its figures are there."""
        return bool(self.figures)

    @property
    def remaining_seconds(self) -> float | None:
        """How long training goes on at its pace so far; None where nothing tells."""
        training = self.job.recipe.training
        done = self.epoch / training.epochs
        if training.max_steps is not None:
            done = max(done, self.step / training.max_steps)
        costs = read_costs(self.job.folder / COST_NAME)
        if not costs or not done:
            return None
        return costs[-1].wall * max(0.0, 1 / done - 1)

    def to_dict(self) -> dict[str, Any]:
        """What is known of a finished run as plain values, but for the job."""
        values = {name: getattr(self, name) for name in _PLAIN}
        lists = {"likelihoods": self.likelihoods.tolist(), "validations": list(self.validations)}
        return values | lists

    @classmethod
    def from_dict(cls, job: Job, values: Mapping[str, Any]) -> "Result":
        """The finished result of a job whose `to_dict` gave these values."""
        return cls(
            job,
            FINISHED,
            likelihoods=np.asarray(values["likelihoods"], dtype=np.float64),
            validations=tuple(values["validations"]),
            **{name: values[name] for name in _PLAIN},
        )


def read_result(job: Job) -> Result:
    """The result of a job, from its folder; of an unfinished one how far it has come.

    Raises:
        ValueError: a file of a finished one is damaged.
    """
    progress = follow(job)
    to_measure = progress.state == FINISHED and not progress.finished
    return _measured(progress) if to_measure else progress


def follow(job: Job) -> Result:
    """How far a job has come, without its figures unless they were kept from another folder."""
    kept = job.folder / KEPT_NAME
    if kept.is_file() and not (job.folder / "report.json").is_file():
        return Result.from_dict(job, read_kept_file(kept))
    log = job.folder / "log.jsonl"
    records = read_log(log) if log.is_file() else []
    validations = tuple(record for record in records if "eval/elbo" in record)
    last = records[-1] if records else {"epoch": 0.0, "step": 0}
    return Result(job, job.state(), last["epoch"], last["step"], validations=validations)


def _read(path: Path, *keys: str) -> dict[str, Any]:
    values = read_json(path)
    if not isinstance(values, dict) or any(key not in values for key in keys):
        raise ValueError(
            f"{path} is damaged. Remove it and give the same command again: what it held is "
            "measured anew, and nothing is trained again."
        )
    return values


def _measured(result: Result) -> Result:
    job = result.job
    sampled = read_report(job.folder / EVALUATION_NAME)
    split = job.evaluation.split
    whole = Report.from_dict(_read(job.folder / "report.json", split)[split])
    exact = "exact_model_nll" in sampled.figures
    figures: dict[str, Any] = {}
    reasons: dict[str, str] = {}
    caps: dict[str, float] = {}

    def take(name: str, report: Report, source: str) -> None:
        figure = report.figures.get(source)
        figures[name] = None if figure is None else figure.value
        if figure is None:
            reasons[name] = NO_LATENTS if exact else "not measured"
        elif figure.reason is not None:
            reasons[name] = figure.reason
        if figure is not None and figure.cap is not None:
            caps[name] = figure.cap

    for name, source in OF_SAMPLES.items():
        take(name, sampled, "exact_model_nll" if exact and name == LIKELIHOOD else source)
    for name in OF_SPLIT:
        take(name, whole, name)
    initial = _read(job.folder / INITIAL_NAME)
    for name in OF_SPLIT:
        if name.startswith("pooled_"):
            figures[f"initial_{name}"] = initial.get(name)
            if initial.get(name) is None:
                reasons[f"initial_{name}"] = NO_LATENTS if exact else "a feature is zero"
    costs = read_costs(job.folder / COST_NAME)
    for name in ("wall", "cpu"):
        figures[f"{name}_seconds"] = getattr(costs[-1], name) if costs else None
        if not costs:
            reasons[f"{name}_seconds"] = f"{COST_NAME} is not there"
    return dataclasses.replace(
        result,
        figures=figures,
        caps=caps,
        reasons=reasons,
        exact=exact,
        likelihoods=sampled.per_sentence["nll" if exact else "iw_nll"],
        texts=str(sampled.data.get("texts_sha256")),
        num_sentences=whole.num_sentences,
    )
