"""The model's code for a published folder: its own where it carries some, else the package's."""

import json
from pathlib import Path
from typing import Any

from transformers.utils import CONFIG_NAME

from hf_seqvae.model.carried_code import CarriesCode, add_code, copy_code
from hf_seqvae.model.modeling_lstm import SeqVAELSTMForCausalLM
from hf_seqvae.model.modeling_seqvae import SeqVAEModel

CLASSES: dict[str, type[CarriesCode]] = {
    "seqvae": SeqVAEModel,
    "seqvae_lstm": SeqVAELSTMForCausalLM,  # the model without latents
}


def carry_code(source: Path, folder: Path) -> None:
    """Put the code of the model in `source` into `folder`, which holds the same config.json.

    Raises:
        ValueError: its own code is not whole.
    """
    if has_own_code(source):
        copy_code(source, folder, read_config(source))
    else:
        add_code(folder, CLASSES[check_type(source)])


def check_type(folder: Path) -> str:
    """The type of the model in a folder.

    Raises:
        ValueError: it is none of ours.
    """
    kind = read_config(folder).get("model_type")
    if kind not in CLASSES:
        raise ValueError(
            f"{folder} holds a model of type {kind!r}, not {' or '.join(map(repr, CLASSES))}. Give "
            "a run folder, or a model that hf-seqvae train made."
        )
    return kind


def has_own_code(folder: Path) -> bool:
    """Whether a model folder names its code and holds it, as one that came from the Hub does.

    A model that the package loaded from the Hub and saved again names code that it does not hold:
    it ran the package's.
    """
    names = read_config(folder).get("auto_map", {}).values()
    own = [name for name in names if isinstance(name, str) and "--" not in name]
    return any((folder / f"{name.partition('.')[0]}.py").is_file() for name in own)


def read_config(folder: Path) -> dict[str, Any]:
    """The config.json of a model folder.

    Raises:
        ValueError: it is not a JSON object.
    """
    path = folder / CONFIG_NAME
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is damaged ({error}). Save or train the model again.") from error
    if not isinstance(config, dict):
        raise ValueError(f"{path} must hold a JSON object, got {type(config).__name__}.")
    return config
