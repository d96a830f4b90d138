"""A trained model and its tokenizers, from a run folder, a model folder or the Hub."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import GENERATION_CONFIG_NAME

from hf_seqvae.hub_errors import one_line
from hf_seqvae.latent_space.fetching import fetch
from hf_seqvae.latent_space.folders import model_folder, read_config, read_object, weight_files
from hf_seqvae.model.decoder_tokenizer import check_tokenizer_fits

LANGUAGE_MODEL = "seqvae_lstm"  # the model type of our LSTM on its own

# what transformers raises where a file holds another kind of value than it expects
_WRONG_VALUES = (
    AttributeError,
    ImportError,
    KeyError,
    StrictDataclassError,
    TypeError,
    ValueError,
)


def load_model(
    path: str | Path,
    *,
    revision: str | None = None,
    device: str | torch.device | None = None,
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase, PreTrainedTokenizerBase]:
    """Model, encoder's tokenizer and decoder's tokenizer (the same one, unless there are two).

    Args:
        path: a run folder (its `best/` is taken), a model folder or a Hub id.
        revision: branch, tag or commit of a Hub id.
        device: where the model goes; None for the CPU.

    Raises:
        ValueError: no model there, one of another type, a config or weights that are damaged or do
            not belong together, weights as a pickle, or a tokenizer that does not fit.
        HubError: the Hub does not have it, refuses it, or cannot be reached.
    """
    return _load_with_latents(_local_folder(path, revision), path, device)


def load_scorable(
    path: str | Path, *, device: str | torch.device | None = None
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase, PreTrainedTokenizerBase]:
    """As `load_model`, and also our LSTM language model, which has no latents."""
    folder = _local_folder(path, None)
    if read_config(folder).get("model_type") != LANGUAGE_MODEL:
        return _load_with_latents(folder, path, device)
    model = _model(folder, AutoModelForCausalLM)
    with _explained(folder, "tokenizer"):
        tokenizer = AutoTokenizer.from_pretrained(folder)
    check_tokenizer_fits("", tokenizer, model.config, str(folder))
    model.to(torch.device("cpu" if device is None else device))  # pyright: ignore[reportArgumentType]
    return model.eval(), tokenizer, tokenizer


def _load_with_latents(
    folder: Path, path: str | Path, device: str | torch.device | None
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase, PreTrainedTokenizerBase]:
    model_type = read_config(folder).get("model_type")
    if model_type == LANGUAGE_MODEL:
        raise ValueError(
            f"{path} holds a language model, which has no latents: there is nothing to encode, "
            "walk through or diagnose. hf-seqvae evaluate and hf-seqvae sample take it."
        )
    if model_type != "seqvae":
        raise ValueError(
            f"{path} holds a model of type {model_type!r}, not 'seqvae'. Give one that hf-seqvae "
            "train made (a run folder, its best/ or last/), or a Hub id of such a model."
        )
    model: Any = _model(folder, AutoModel)
    with _explained(folder, "tokenizer"):
        tokenizer = AutoTokenizer.from_pretrained(folder)
        own: PreTrainedTokenizerBase | None = model.decoder_tokenizer
    decoder_tokenizer = tokenizer if own is None else own
    check_tokenizer_fits("encoder's ", tokenizer, model.config.encoder, str(folder))
    check_tokenizer_fits("decoder's ", decoder_tokenizer, model.config.decoder, str(folder))
    model.to(torch.device("cpu" if device is None else device))  # pyright: ignore[reportArgumentType]
    return model.eval(), tokenizer, decoder_tokenizer


def _local_folder(path: str | Path, revision: str | None) -> Path:
    source = model_folder(path)
    if not Path(source).is_dir():
        return fetch(source, revision=revision)
    if revision is not None:
        raise ValueError(f"revision is of a Hub id, and {path} is a folder, got {revision!r}.")
    return Path(source)


def _model(folder: Path, auto: Any) -> PreTrainedModel:
    """The model in a folder, built only where config and weights can belong together."""
    files = weight_files(folder)
    if (folder / GENERATION_CONFIG_NAME).is_file():
        read_object(folder / GENERATION_CONFIG_NAME)
    with _explained(folder, "config"):
        config: PreTrainedConfig = AutoConfig.from_pretrained(folder)
        with torch.device("meta"):  # shapes alone
            shapes = auto.from_config(config)
    num_weights = sum(parameter.numel() for parameter in shapes.parameters())
    num_bytes = sum(path.stat().st_size for path in files)
    if num_weights > 4 * num_bytes:  # no format packs weights closer than two bits
        raise ValueError(
            f"the config in {folder} makes {num_weights} weights, and the files hold {num_bytes} "
            "bytes: they do not belong together. Save or train the model again."
        )
    with _explained(folder, "config"):
        model, info = auto.from_pretrained(
            folder,
            config=config,
            use_safetensors=True,
            ignore_mismatched_sizes=True,  # told below, by name
            output_loading_info=True,
        )
    if info["mismatched_keys"]:
        name, there, wanted = sorted(info["mismatched_keys"])[0]
        raise ValueError(
            f"the weights in {folder} do not fit its config: {name!r} is {tuple(there)} in the "
            f"file and {tuple(wanted)} by the config. Save or train the model again."
        )
    for name, weight in model.named_parameters():
        if not weight.isfinite().all():
            raise ValueError(
                f"the weights in {folder} hold NaN or infinity, first in {name!r}: the training "
                "diverged. Take an earlier checkpoint, or train with a lower learning rate."
            )
    if info["missing_keys"]:
        missing = sorted(info["missing_keys"])
        raise ValueError(
            f"the weights in {folder} lack {len(missing)} tensors of the model, the first is "
            f"{missing[0]!r}: they belong to another config. Save or train the model again."
        )
    return model


@contextmanager
def _explained(folder: Path, what: str) -> Iterator[None]:
    """What transformers says of a damaged file, with the name of the folder and the cure."""
    try:
        yield
    except _WRONG_VALUES as error:
        raise ValueError(
            f"the {what} in {folder} is damaged or not whole ({type(error).__name__}: "
            f"{one_line(error)}). Save or train the model again."
        ) from error
