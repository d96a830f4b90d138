"""From a study to its jobs: recipe, seed and folder of each run, and how far each has come."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hf_seqvae import recipe as recipes
from hf_seqvae.engine.lock import holder
from hf_seqvae.recipe import Recipe
from hf_seqvae.recipe.fields import from_mapping
from hf_seqvae.study.folder import EVALUATION_NAME, FORMAT, INITIAL_NAME, KEPT_NAME
from hf_seqvae.study.schema import EvaluationPlan, Study, StudyRun, check_own_keys

FINISHED, TRAINED, RUNNING, MEASURING, RESUMABLE, NOT_STARTED, REFUSED, DAMAGED = (
    "finished",
    "trained, not measured",
    "running",
    "measuring",  # running too, after the training
    "resumable",
    "not started",
    "refused",  # the folder holds another run than the study plans
    "damaged",  # a file in the folder cannot be read
)


@dataclasses.dataclass(frozen=True)
class Job:
    """One run with one seed.

    Attributes:
        run: name of the row.
        recipe: with the seed and the folder in it.
        evaluation: after training.
    """

    run: str
    recipe: Recipe
    evaluation: EvaluationPlan

    @property
    def seed(self) -> int:
        """Of the recipe."""
        return self.recipe.seed

    @property
    def folder(self) -> Path:
        """An ordinary run folder, with evaluation/ in it."""
        return Path(str(self.recipe.output_dir))

    @property
    def title(self) -> str:
        """Run and seed, in words."""
        return f"{self.run} seed {self.seed}"

    def state(self) -> str:
        """How far the run has come, read from its folder."""
        held = holder(self.folder) is not None  # first: what it writes last is then there
        trained = (self.folder / "report.json").is_file()
        if held:
            return MEASURING if trained else RUNNING
        if trained:
            parts = (self.folder / INITIAL_NAME, self.folder / EVALUATION_NAME / "report.json")
            return FINISHED if all(path.is_file() for path in parts) else TRAINED
        if (self.folder / KEPT_NAME).is_file():
            return FINISHED
        started = any((self.folder / "checkpoints").glob("step-*"))
        return RESUMABLE if started else NOT_STARTED

    def to_dict(self) -> dict[str, Any]:
        """The job as plain values."""
        return {
            "format": FORMAT,
            "run": self.run,
            "recipe": self.recipe.to_dict(),
            "evaluation": dataclasses.asdict(self.evaluation),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Job":
        """The job whose `to_dict` gave these values."""
        evaluation = from_mapping(EvaluationPlan, values["evaluation"])
        return cls(values["run"], Recipe.from_dict(values["recipe"]), evaluation)


def plan_jobs(
    study: Study,
    study_path: str | Path,
    *,
    overrides: Sequence[str] = (),
    only: Sequence[str] = (),
    seeds: Sequence[int] | None = None,
) -> list[Job]:
    """The jobs of a study, seed by seed, so that a whole first seed exists early.

    Args:
        study: what the file says.
        study_path: the file, which recipes are relative to.
        overrides: "key=value" for all runs, over what the study sets.
        only: names of the runs that are wanted; none for all.
        seeds: in place of all others; None for the study's.

    Raises:
        ValueError: a name in `only` that is no run, a key that is the study's own, or a recipe
            that is refused.
        FileNotFoundError: no such recipe.
    """
    check_own_keys((text.partition("=")[0].strip() for text in overrides), "--set")
    names = [run.name for run in study.runs]
    unknown = [name for name in only if name not in names]
    if unknown:
        raise ValueError(f"There is no run {unknown[0]!r} in this study. It has {names}.")
    if seeds is not None and (not seeds or len(set(seeds)) < len(seeds)):
        raise ValueError(f"seeds must be at least one and differ, got {list(seeds)}.")
    chosen = [run for run in study.runs if not only or run.name in only]
    seeds_of = {run.name: list(seeds or run.seeds or study.seeds) for run in chosen}
    order = dict.fromkeys(seed for own in seeds_of.values() for seed in own)
    return [
        Job(run.name, _recipe(study, run, Path(study_path), seed, overrides), study.evaluation)
        for seed in order
        for run in chosen
        if seed in seeds_of[run.name]
    ]


def base_recipe(study: Study, study_path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """The recipe that the runs of a study differ from."""
    path = _find_recipe(study.recipe, Path(study_path))
    return recipes.load(path, [*_assignments(study.set), *overrides])


def _recipe(
    study: Study, run: StudyRun, study_path: Path, seed: int, overrides: Sequence[str]
) -> Recipe:
    path = _find_recipe(run.recipe or study.recipe, study_path)
    folder = study.folder / run.name / f"seed-{seed}"
    own = {"seed": seed, "name": run.name, "output_dir": str(folder)}
    settings = [*_assignments(study.set), *_assignments(run.set), *overrides, *_assignments(own)]
    try:
        recipe = recipes.load(path, settings)
        _check_split(recipe, study.evaluation.split)
    except ValueError as error:
        raise ValueError(f"run {run.name!r}: {error}") from error
    return recipe


def _check_split(recipe: Recipe, split: str) -> None:
    """Files without the one that is evaluated are refused before anything is trained."""
    if recipe.data.train_file is not None and getattr(recipe.data, f"{split}_file") is None:
        raise ValueError(
            f"evaluation.split is {split!r}, and data.{split}_file is not set. Set it, or choose "
            "another split."
        )


def _find_recipe(name: str, study_path: Path) -> str:
    """A path relative to the study's, or a packaged name."""
    beside = study_path.parent / name
    return str(beside) if beside.is_file() else name


def _assignments(values: Mapping[str, Any]) -> list[str]:
    """{"a.b": 1} as ["a.b=1"]: JSON is YAML, but for its pairs of surrogates."""
    return [f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in values.items()]
