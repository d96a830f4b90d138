"""Model folders: where one is, its config and its weights read before anything is built of them."""

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from transformers.utils import CONFIG_NAME, SAFE_WEIGHTS_INDEX_NAME, SAFE_WEIGHTS_NAME


def model_folder(path: str | Path) -> str:
    """Where the model is: `path` itself, or the `best/` of a run folder; a Hub id stays as it is.

    Raises:
        ValueError: a folder without a model, or no folder at all where the name can be no Hub id.
    """
    folder = Path(path).expanduser()
    if folder.is_file():
        raise ValueError(f"{path} is a file. Give the folder it lies in, or a run folder.")
    if folder.is_dir():
        for candidate in (folder, folder / "best"):
            if (candidate / CONFIG_NAME).is_file():
                return str(candidate)
        raise ValueError(
            f"{path} holds no model: neither {CONFIG_NAME} nor best/{CONFIG_NAME}. Give the folder "
            "of a run (it has best/ from its first validation on), or that of a model."
        )
    parts = str(path).split("/")
    if str(path).startswith(("/", ".", "~")) or len(parts) > 2 or parts[0] == "runs":
        raise ValueError(
            f"there is no folder {str(path)!r}. Give the folder of a run or of a model, or a "
            "Hub id such as name/model."
        )
    return str(path)


def read_config(folder: Path) -> dict[str, Any]:
    """The config.json of a model folder.

    Raises:
        ValueError: it is not a JSON object.
    """
    return read_object(folder / CONFIG_NAME)


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file of a model folder.

    Raises:
        ValueError: there is none.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is damaged ({error}). Save or train the model again.") from error
    if not isinstance(values, dict):
        raise ValueError(f"{path} must hold a JSON object, got {type(values).__name__}.")
    return values


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a model folder, opened and found whole.

    Raises:
        ValueError: none there (a pickle is no substitute), one missing, or one damaged.
    """
    files = [folder / SAFE_WEIGHTS_NAME]
    index = folder / SAFE_WEIGHTS_INDEX_NAME
    if not files[0].is_file():
        if not index.is_file():
            raise ValueError(
                f"weights must be safetensors, and {folder} holds {_in_their_place(folder)}. Save "
                "the model again with save_pretrained, or train again."
            )
        files = [folder / name for name in _shards(index)]
    for path in files:
        if not path.is_file():
            raise ValueError(
                f"{index} names {path.name}, which is not there. Copy or download it too, or save "
                "the model again."
            )
        try:
            with safe_open(path, framework="pt") as opened:
                opened.keys()
        except SafetensorError as error:
            raise ValueError(
                f"the weights in {folder} are damaged ({path.name}: {error}). Copy or download "
                "them again, or train again."
            ) from error
    return files


def _in_their_place(folder: Path) -> str:
    pickles = sorted(path.name for path in folder.glob("*.bin"))
    return f"only {pickles[0]}, a pickle, which could run any code" if pickles else "no weights"


def _shards(index: Path) -> list[str]:
    """The file names of an index, none of which may lead out of its folder."""
    try:
        names = sorted(set(read_object(index)["weight_map"].values()))
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{index} is damaged ({error!r}). Save the model again.") from error
    for name in names:
        if Path(name).name != name or not name.endswith(".safetensors"):
            raise ValueError(f"{index} must name safetensors files beside it, got {name!r}.")
    return names
