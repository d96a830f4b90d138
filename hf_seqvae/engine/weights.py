"""Weights and optimiser states to and from a folder, the same for one process, DDP and FSDP."""

import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.optimizer import AcceleratedOptimizer
from accelerate.utils import DistributedType
from safetensors import SafetensorError
from safetensors.torch import load_file, load_model, save_model
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.tensor import DTensor
from transformers import PreTrainedModel
from transformers.utils import logging

from hf_seqvae.language_model import WithoutLatents

WEIGHTS_NAME = "model.safetensors"


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Without transformers' own progress bars, which would break ours."""
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def gather_weights(accelerator: Accelerator, model: nn.Module) -> dict[str, Tensor]:
    """The whole state dict; every process must call this."""
    weights: Any = accelerator.get_state_dict(model)
    return weights


def saved_part(model: nn.Module) -> tuple[nn.Module, str]:
    """What a folder holds of a model, and the prefix of its weights' names in the whole."""
    if isinstance(model, WithoutLatents):
        return model.language_model, "language_model."
    return model, ""


def write_model(model: nn.Module, weights: dict[str, Tensor], folder: Path) -> None:
    """Write an HF folder (config, one safetensors file), or the weights of a plain module."""
    model, prefix = saved_part(model)
    weights = {name.removeprefix(prefix): value for name, value in weights.items()}
    if isinstance(model, PreTrainedModel):
        with quiet_transformers():
            # one file: a checkpoint is read back by that name
            model.save_pretrained(folder, state_dict=weights, max_shard_size="1000TB")
    else:
        save_model(model, str(folder / WEIGHTS_NAME))


def read_model(accelerator: Accelerator, model: nn.Module, folder: Path) -> None:
    """Load the weights of `folder` into `model` in place, so that optimisers keep their parameters.

    Every process must call this.

    Raises:
        ValueError: the file is damaged, or holds the weights of another model.
    """
    path = folder / WEIGHTS_NAME
    try:
        if accelerator.distributed_type == DistributedType.FSDP:
            options = StateDictOptions(full_state_dict=True, strict=False)  # tied ones are one
            _, prefix = saved_part(accelerator.unwrap_model(model))
            weights = {prefix + name: value for name, value in load_file(path).items()}
            set_model_state_dict(model, dict(weights), options=options)
        else:
            load_model(saved_part(accelerator.unwrap_model(model))[0], path)
    except (SafetensorError, FileNotFoundError) as error:
        raise ValueError(
            f"{path} is not a whole safetensors file: {error}. Remove {folder} to go on from the "
            f"checkpoint before it."
        ) from error
    except RuntimeError as error:
        raise ValueError(
            f"{path} holds the weights of another model than the recipe's: {error} "
            f"Use the recipe it was trained with, or another output_dir."
        ) from error
    flatten_recurrent(model)


def local_parameters(model: nn.Module) -> list[Tensor]:
    """The parameters, or the parts of them that this process holds."""
    return [
        value.to_local() if isinstance(value, DTensor) else value.detach()
        for value in model.parameters()
    ]


def flatten_recurrent(model: nn.Module) -> None:
    """Make the weights of recurrent layers contiguous: otherwise cuDNN copies them each time."""
    for module in model.modules():
        if isinstance(module, nn.RNNBase):
            module.flatten_parameters()


def gather_optimizer(
    accelerator: Accelerator, model: nn.Module, optimizer: torch.optim.Optimizer
) -> dict[str, Any]:
    """The whole state of the optimiser; every process must call this."""
    if accelerator.distributed_type == DistributedType.FSDP:
        options = StateDictOptions(full_state_dict=True, cpu_offload=True)
        return get_optimizer_state_dict(model, _inner(optimizer), options=options)
    return optimizer.state_dict()


def restore_optimizer(
    accelerator: Accelerator,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    state: dict[str, Any],
) -> None:
    """Load what `gather_optimizer` gave; every process must call this."""
    if accelerator.distributed_type == DistributedType.FSDP:
        options = StateDictOptions(full_state_dict=True)
        set_optimizer_state_dict(model, _inner(optimizer), state, options=options)
    else:
        optimizer.load_state_dict(state)


def read_state(path: Path) -> dict[str, Any]:
    """A file of `torch.save`, read without running pickled code.

    Raises:
        ValueError: the file is missing or damaged.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise ValueError(
            f"{path} is missing or damaged: {error}. Remove {path.parent} to go on from the "
            f"checkpoint before it."
        ) from error


def _inner(optimizer: Any) -> torch.optim.Optimizer:
    """The torch optimiser inside accelerate's."""
    return optimizer.optimizer if isinstance(optimizer, AcceleratedOptimizer) else optimizer
