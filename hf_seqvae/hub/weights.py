"""The weights of a published folder: whole safetensors files, none larger than a shard may be."""

import json
import shutil
from pathlib import Path

from huggingface_hub import save_torch_state_dict
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from transformers.utils import SAFE_WEIGHTS_INDEX_NAME, SAFE_WEIGHTS_NAME
from transformers.utils.hub import convert_file_size_to_int


def copy_weights(source: Path, folder: Path, max_shard_size: int) -> None:
    """Put the weights of `source` into `folder`: as they are where they fit, else cut anew.

    Args:
        source: a model folder.
        folder: an empty one.
        max_shard_size: of a file, in bytes; only a single larger tensor exceeds it.

    Raises:
        ValueError: no safetensors there, or damaged ones.
    """
    files = weight_files(source)
    if all(path.stat().st_size <= max_shard_size for path in files):
        for path in files:
            shutil.copyfile(path, folder / path.name)
        if [path.name for path in files] != [SAFE_WEIGHTS_NAME]:
            shutil.copyfile(source / SAFE_WEIGHTS_INDEX_NAME, folder / SAFE_WEIGHTS_INDEX_NAME)
        return
    tensors = {name: value for path in files for name, value in load_file(path).items()}
    save_torch_state_dict(tensors, folder, max_shard_size=max_shard_size, metadata={"format": "pt"})


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a model folder, opened and found whole.

    Raises:
        ValueError: none there (a pickle is no substitute), one missing, or one damaged.
    """
    files = [folder / SAFE_WEIGHTS_NAME]
    index = folder / SAFE_WEIGHTS_INDEX_NAME
    if not files[0].is_file():
        if not index.is_file():
            pickles = sorted(path.name for path in folder.glob("*.bin"))
            came = f"only {pickles[0]}, a pickle" if pickles else "no weights"
            raise ValueError(
                f"weights are published as safetensors alone, and {folder} holds {came}. Save the "
                "model again with save_pretrained, or train again."
            )
        files = [folder / name for name in _shards(index)]
    for path in files:
        try:
            with safe_open(path, framework="pt") as opened:
                opened.keys()
        except (SafetensorError, FileNotFoundError) as error:
            raise ValueError(
                f"the weights in {path} are missing or damaged ({error}). Copy or train them again."
            ) from error
    return files


def shard_bytes(size: int | str) -> int:
    """ "5GB" -> bytes.

    Raises:
        ValueError: no size, or not positive.
    """
    try:
        number = convert_file_size_to_int(size)
    except ValueError as error:
        raise ValueError(f"max_shard_size must be a size such as 5GB, got {size!r}.") from error
    if number < 1:
        raise ValueError(f"max_shard_size must be positive, got {size!r}.")
    return number


def _shards(index: Path) -> list[str]:
    """The file names of an index, none of which may lead out of its folder."""
    try:
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{index} is damaged ({error!r}). Save the model again.") from error
    for name in names:
        if Path(name).name != name or not name.endswith(".safetensors"):
            raise ValueError(f"{index} must name safetensors files beside it, got {name!r}.")
    return names
