"""The weights of a published folder: whole safetensors files, none larger than a shard may be."""

import shutil
from pathlib import Path

from huggingface_hub import save_torch_state_dict
from safetensors.torch import load_file
from transformers.utils import SAFE_WEIGHTS_INDEX_NAME, SAFE_WEIGHTS_NAME
from transformers.utils.hub import convert_file_size_to_int

from hf_seqvae.latent_space.folders import weight_files


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
