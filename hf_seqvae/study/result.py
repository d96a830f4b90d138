"""The result of one job of a study, whatever it was read from."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hf_seqvae.evaluation import progress_of
from hf_seqvae.study.cost import read_costs
from hf_seqvae.study.folder import COST_NAME, EVALUATION_NAME
from hf_seqvae.study.plan import MEASURING, RUNNING, Job

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
DISPERSIONS = tuple(name for name in OF_SPLIT if name.startswith("pooled_"))
FIGURES = (
    *OF_SAMPLES,
    *OF_SPLIT,
    *(f"initial_{name}" for name in DISPERSIONS),
    "wall_seconds",
    "cpu_seconds",
)


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
        data: digests of the vocabulary and of each split that was read; empty where unknown.
        num_sentences: of the whole split.
        validations: lines of the log with "eval/...", over training.
        machine: what it was trained on, in words; "" where that is unknown.
        fault: what is wrong with a damaged one.
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
    data: Mapping[str, str] = field(default_factory=dict)
    num_sentences: int = 0
    validations: tuple[Mapping[str, Any], ...] = ()
    machine: str = ""
    fault: str = ""

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
    def measured(self) -> tuple[int, int] | None:
        """Sentences measured and all of them; None where it is not being measured."""
        folder = self.job.folder / EVALUATION_NAME
        return progress_of(folder) if self.state == MEASURING else None

    @property
    def remaining_seconds(self) -> float | None:
        """How long training goes on at its pace so far; None where nothing tells."""
        if self.state != RUNNING:
            return None
        training = self.job.recipe.training
        done = self.epoch / training.epochs
        if training.max_steps is not None:
            done = max(done, self.step / training.max_steps)
        costs = read_costs(self.job.folder / COST_NAME)
        if not costs or not done:
            return None
        return costs[-1].wall * max(0.0, 1 / done - 1)
