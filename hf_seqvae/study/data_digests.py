"""The text that a run read, by content: a kept run counts as a job's own wherever its files lie."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path

from hf_seqvae.engine.checkpoint import PROGRESS_NAME
from hf_seqvae.engine.parts import prepare_text
from hf_seqvae.recipe import Recipe
from hf_seqvae.study.folder import read_json
from hf_seqvae.study.plan import Job

FILE_KEYS = ("train_file", "validation_file", "test_file")


def trained_on(job: Job) -> dict[str, str]:
    """Digests of what a finished job read, by name, from its checkpoint; {} where none tells."""
    checkpoints = sorted((job.folder / "checkpoints").glob(f"step-*/{PROGRESS_NAME}"))
    values = read_json(checkpoints[-1]) if checkpoints else None
    found = values.get("fingerprint") if isinstance(values, dict) else None
    if not isinstance(found, dict):
        return {}
    return {name: value for name, value in found.items() if _is_digest(name)}


def _is_digest(name: str) -> bool:
    """Among what a checkpoint must be resumed with: not precision or processes."""
    return name == "vocabulary" or name.endswith(" text")


class JobData:
    """Digests of what jobs would read; text that several share is read once.

    Files alone are read: a data set and a tokenizer of the Hub have a name, and may have to be
    downloaded.
    """

    def __init__(self) -> None:
        self._known: dict[str, dict[str, str]] = {}

    def __call__(self, recipe: Recipe) -> dict[str, str]:
        """By name; {} where the text is no file, a stream, or not on this machine."""
        parts = dataclasses.asdict(recipe.data), dataclasses.asdict(recipe.tokenizer)
        key = json.dumps(parts, sort_keys=True)
        if key not in self._known:
            files = [file for name in FILE_KEYS if (file := getattr(recipe.data, name))]
            here = bool(files) and all(Path(file).expanduser().is_file() for file in files)
            reads = here and not recipe.data.streaming and recipe.tokenizer.kind != "pretrained"
            self._known[key] = prepare_text(recipe).fingerprint() if reads else {}
        return self._known[key]


def at_the_files_of(recipe: Recipe, other: Recipe) -> Recipe:
    """The recipe with the data files of another."""
    files = {name: getattr(other.data, name) for name in FILE_KEYS}
    return dataclasses.replace(recipe, data=dataclasses.replace(recipe.data, **files))


def refuse_other_data(
    old: Mapping[str, str], new: Mapping[str, str], what: str, *, cure: str
) -> None:
    """Raise where two runs read other text.

    Raises:
        ValueError: `what` is the matter, what differs, and the cure.
    """
    changed = [name for name in {**old, **new} if old.get(name) != new.get(name)]
    if changed:
        raise ValueError(f"{what}; changed: {', '.join(changed)}. {cure}")
