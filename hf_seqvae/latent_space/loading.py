"""A trained model and its tokenizers, from a run folder, a model folder or the Hub."""

from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModel,
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import CONFIG_NAME

from hf_seqvae.model.decoder_tokenizer import check_tokenizer_fits

LANGUAGE_MODEL = "seqvae_lstm"  # the model type of our LSTM on its own


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


def load_model(
    path: str | Path, *, device: str | torch.device | None = None
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase, PreTrainedTokenizerBase]:
    """Model, encoder's tokenizer and decoder's tokenizer (the same one, unless there are two).

    Args:
        path: a run folder (its `best/` is taken), a model folder or a Hub id.
        device: where the model goes; None for the CPU.

    Raises:
        ValueError: no model there, one of another type, weights that are damaged or incomplete, or
            a tokenizer that does not fit.
        OSError: the Hub does not have it, or cannot be reached.
    """
    source = model_folder(path)
    model_type = _model_type(source)
    if model_type == LANGUAGE_MODEL:
        raise ValueError(
            f"{source} holds a language model, which has no latents: there is nothing to encode, "
            "walk through or diagnose. hf-seqvae evaluate and hf-seqvae sample take it."
        )
    if model_type != "seqvae":
        raise ValueError(
            f"{source} holds a model of type {model_type!r}, not 'seqvae'. Give one that hf-seqvae "
            "train made (a run folder, its best/ or last/), or a Hub id of such a model."
        )
    model: Any = _weights(source, AutoModel)
    tokenizer = AutoTokenizer.from_pretrained(source)
    own: PreTrainedTokenizerBase | None = model.decoder_tokenizer
    decoder_tokenizer = tokenizer if own is None else own
    check_tokenizer_fits("encoder's ", tokenizer, model.config.encoder, source)
    check_tokenizer_fits("decoder's ", decoder_tokenizer, model.config.decoder, source)
    model.to(torch.device("cpu" if device is None else device))  # pyright: ignore[reportArgumentType]
    return model.eval(), tokenizer, decoder_tokenizer


def load_scorable(
    path: str | Path, *, device: str | torch.device | None = None
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase, PreTrainedTokenizerBase]:
    """As `load_model`, and also our LSTM language model, which has no latents."""
    source = model_folder(path)
    if _model_type(source) != LANGUAGE_MODEL:
        return load_model(path, device=device)
    model = _weights(source, AutoModelForCausalLM)
    tokenizer = AutoTokenizer.from_pretrained(source)
    check_tokenizer_fits("", tokenizer, model.config, source)
    model.to(torch.device("cpu" if device is None else device))  # pyright: ignore[reportArgumentType]
    return model.eval(), tokenizer, tokenizer


def _model_type(source: str) -> str | None:
    try:
        return PreTrainedConfig.get_config_dict(source)[0].get("model_type")
    except OSError as error:
        raise OSError(f"{source!r} gives no model, as a folder or from the Hub: {error}") from error


def _weights(source: str, auto: Any) -> PreTrainedModel:
    model, info = auto.from_pretrained(source, output_loading_info=True)
    if info["missing_keys"]:
        missing = sorted(info["missing_keys"])
        raise ValueError(
            f"the weights in {source} lack {len(missing)} tensors of the model, the first is "
            f"{missing[0]!r}: they belong to another config. Save or train the model again."
        )
    return model
