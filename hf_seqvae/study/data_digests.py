"""The text that a run read, by content: a kept run counts as a job's own wherever its files lie."""

import contextlib
import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path

from hf_seqvae.engine.checkpoint import read_progress
from hf_seqvae.engine.parts import prepare_text
from hf_seqvae.recipe import Recipe
from hf_seqvae.study.plan import Job

FILE_KEYS = ("train_file", "validation_file", "test_file")


def trained_on(job: Job) -> dict[str, str]:
    """Digests of what a finished job read, by name, from its checkpoint; {} where it has none.

    Raises:
        ValueError: the checkpoint is damaged.
    """
    checkpoints = sorted((job.folder / "checkpoints").glob("step-*"))
    if not checkpoints:
        return {}
    found = read_progress(checkpoints[-1])["fingerprint"]
    return {name: value for name, value in found.items() if _is_digest(name)}


def _is_digest(name: str) -> bool:
    """Among what a checkpoint must be resumed with: not precision or processes."""
    return name == "vocabulary" or name.endswith(" text")


class JobData:
    """Digests of what jobs would read; text that several share is read once."""

    def __init__(self) -> None:
        self._known: dict[str, dict[str, str]] = {}

    def __call__(self, recipe: Recipe) -> dict[str, str]:
        """By name; {} where the text is a stream, or is not on this machine."""
        parts = dataclasses.asdict(recipe.data), dataclasses.asdict(recipe.tokenizer)
        key = json.dumps(parts, sort_keys=True)
        if key not in self._known:
            files = [getattr(recipe.data, name) for name in FILE_KEYS]
            here = all(Path(file).expanduser().is_file() for file in files if file)
            self._known[key] = {}
            if here and not recipe.data.streaming:
                with contextlib.suppress(OSError):  # a data set or a tokenizer of the Hub
                    self._known[key] = prepare_text(recipe).fingerprint()
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
