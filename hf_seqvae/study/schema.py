"""What a study file says: recipes x seeds, which run is the baseline, how all are evaluated."""

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar

from hf_seqvae.recipe.fields import check_fields, from_mapping, is_plain, option
from hf_seqvae.recipe.io import parse_mapping, read_yaml_file
from hf_seqvae.study.folder import STUDY_FILES

# recipe keys that every job gets from the study
OWN_KEYS = ("seed", "name", "output_dir")


@dataclasses.dataclass(frozen=True)
class EvaluationPlan:
    """The importance-weighted evaluation that every run gets."""

    SECTION: ClassVar[str] = "evaluation."
    split: str = option("test", "held-out split", choices=("validation", "test"))
    iw_samples: int = option(50, "K, importance samples a sentence", minimum=1)
    iw_sentences: int = option(500, "sentences of the split, the first ones", minimum=1)
    seed: int = option(0, "of the posterior noise", minimum=0)

    def __post_init__(self) -> None:
        """Check types and limits."""
        check_fields(self)


@dataclasses.dataclass(frozen=True)
class StudyRun:
    """One row of the table: a recipe with the keys that make it differ, and its seeds."""

    SECTION: ClassVar[str] = "runs."
    name: str = option("", "name of the row and of its folder")
    recipe: str | None = option(None, "recipe in place of the study's")
    set: dict = option(dict, "recipe keys with their values, on top of the study's")
    seeds: list | None = option(None, "seeds in place of the study's")
    remedy: str = option("", "what is tried, for the table")
    note: str = option("", "what else the table should say")

    def __post_init__(self) -> None:
        """Check types, limits, name and seeds."""
        check_fields(self)
        if not self.name.strip(". ") or not is_plain(self.name):
            raise ValueError(
                "runs.name must be a word without slashes, it is the name of a folder; got "
                f"{self.name!r}."
            )
        if self.name.lower() in STUDY_FILES:
            raise ValueError(
                f"runs.name must be no name of a file of the study, got {self.name!r}. Rename it."
            )
        check_own_keys(self.set, f"set of run {self.name!r}")
        if self.seeds is not None:
            _check_seeds(self.seeds, f"the seeds of run {self.name!r}")


@dataclasses.dataclass(frozen=True)
class Study:
    """Recipes x seeds, as the file says them. `load_study` reads one."""

    SECTION: ClassVar[str] = ""
    name: str = option("", "name of the study")
    output_dir: str | None = option(None, "folder of all runs", shown="runs/studies/<name>")
    recipe: str = option("quickstart", "recipe of the runs, relative to the study, or packaged")
    set: dict = option(dict, "recipe keys with their values, for all runs")
    seeds: list = option(lambda: [0], "seeds of the runs that name none")
    baseline: str | None = option(
        None, "run that the others are compared with", shown="the first run"
    )
    hypothesis: list = option(
        list, "runs over which dispersion is correlated with KL and MI at the end; none: all"
    )
    evaluation: EvaluationPlan = option(EvaluationPlan, "how every run is evaluated")
    runs: list = option(list, "the rows: name, set, recipe, seeds, remedy, note")

    def __post_init__(self) -> None:
        """Check types, and that runs, seeds and baseline fit together."""
        check_fields(self)
        if not is_plain(self.name):
            raise ValueError(f"name must be a word without slashes, got {self.name!r}.")
        _check_seeds(self.seeds, "seeds")
        check_own_keys(self.set, "set")
        runs = [_run(row) for row in self.runs]
        if not runs:
            raise ValueError("runs is empty: list at least one run with a name.")
        names = [run.name for run in runs]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(
                    f"{names.count(name)} runs are called {name!r}: each has a folder of its name, "
                    "so rename them."
                )
        baseline = names[0] if self.baseline is None else self.baseline
        if baseline not in names:
            raise ValueError(f"baseline must be the name of a run ({names}), got {baseline!r}.")
        unknown = [name for name in self.hypothesis if name not in names]
        if unknown:
            raise ValueError(f"hypothesis must list names of runs ({names}), got {unknown[0]!r}.")
        object.__setattr__(self, "runs", runs)
        object.__setattr__(self, "baseline", baseline)
        if self.output_dir is None:
            object.__setattr__(self, "output_dir", f"runs/studies/{self.name}")

    @property
    def folder(self) -> Path:
        """Where the runs and the table go."""
        return Path(str(self.output_dir)).expanduser()

    def to_dict(self) -> dict[str, Any]:
        """The study as plain values."""
        return dataclasses.asdict(self)


def load_study(path: str | Path) -> Study:
    """The study in a YAML file.

    Raises:
        FileNotFoundError: no such file.
        ValueError: unknown key (the nearest is named), wrong type, or a contradiction.
    """
    path = Path(path)
    if path.is_dir():
        raise ValueError(f"{path} is a folder, not a study. Give the YAML file of one.")
    if not path.is_file():
        raise FileNotFoundError(f"There is no study {str(path)!r}. Give the path of a YAML file.")
    values = parse_mapping(read_yaml_file(path), str(path))
    try:
        return from_mapping(Study, values)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def check_own_keys(keys: Iterable[str], where: str) -> None:
    """Refuse recipe keys that the study itself decides.

    Raises:
        ValueError: naming the first of them.
    """
    for key in keys:
        if key in OWN_KEYS:
            raise ValueError(
                f"{where} must leave {key!r} out: seeds and folders are the study's own keys: "
                "seeds, name, output_dir."
            )


def _run(row: Any) -> StudyRun:
    if isinstance(row, StudyRun):
        return row
    if not isinstance(row, Mapping):
        raise ValueError(f"runs must be a list of mappings with a name, got {row!r} in it.")
    return from_mapping(StudyRun, row)


def _check_seeds(seeds: list, where: str) -> None:
    if not seeds or any(type(seed) is not int or seed < 0 for seed in seeds):
        raise ValueError(f"{where} must be whole numbers from 0 on, at least one, got {seeds}.")
    if len(set(seeds)) < len(seeds):
        raise ValueError(f"{where} must differ from each other, got {seeds}.")
