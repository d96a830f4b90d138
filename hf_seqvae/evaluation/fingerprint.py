"""What a report was measured on: hashes of weights and data, and the versions of the libraries."""

import hashlib
import json
import platform
from collections.abc import Iterable
from importlib.metadata import version
from typing import Any

import torch
from datasets import Dataset
from torch import nn
from transformers import PreTrainedModel

_LIBRARIES = ("torch", "transformers", "datasets", "numpy", "sacrebleu")


def model_fingerprint(model: nn.Module) -> str:
    """SHA-256 of all weights with their names, types and shapes."""
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)};".encode())
        data = value.detach().cpu().contiguous().flatten().view(torch.uint8)
        digest.update(data.numpy().tobytes())
    return digest.hexdigest()


# entries of a config that say where a model comes from, not what it computes
_ORIGIN = {"_name_or_path", "architectures", "dtype", "transformers_version"}


def config_fingerprint(model: nn.Module) -> str | None:
    """SHA-256 of what a model's config says of its computation; None for one without a config.

    Equal weights may be read in two ways: no pooling operator but one has parameters.
    """
    if not isinstance(model, PreTrainedModel):
        return None
    plain = json.dumps(_without_origin(model.config.to_dict()), sort_keys=True, default=str)
    return hashlib.sha256(plain.encode()).hexdigest()


def token_fingerprint(dataset: Dataset) -> str:
    """SHA-256 of the token ids and labels of each row, in order."""
    digest = hashlib.sha256()
    for name in ("input_ids", "labels"):
        for ids in dataset[name]:
            digest.update(f"{ids};".encode())
    return digest.hexdigest()


def text_fingerprint(texts: Iterable[str]) -> str:
    """SHA-256 of the texts, a line each, in order."""
    digest = hashlib.sha256()
    for text in texts:
        digest.update(text.encode() + b"\n")
    return digest.hexdigest()


def _without_origin(values: Any) -> Any:
    if not isinstance(values, dict):
        return values
    return {
        str(name): _without_origin(value) for name, value in values.items() if name not in _ORIGIN
    }


def versions() -> dict[str, Any]:
    """Versions of this library, of those that the figures rest on, and of Python."""
    found = {"hf_seqvae": version("hf-seqvae"), "python": platform.python_version()}
    return found | {name: version(name) for name in _LIBRARIES}
