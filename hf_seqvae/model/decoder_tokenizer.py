"""The tokenizer of a decoder that has one of its own: where it lies, and whether it fits."""

from pathlib import Path
from typing import Any

from huggingface_hub import (
    _CACHED_NO_EXIST,
    hf_hub_download,
    is_offline_mode,
    try_to_load_from_cache,
)
from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError
from transformers import AutoTokenizer, PreTrainedConfig, PreTrainedTokenizerBase

# in the folder of a model whose decoder has a tokenizer of its own
DECODER_TOKENIZER = "decoder_tokenizer"


def load_decoder_tokenizer(
    source: str | Path, *, subfolder: str = "", **hub: Any
) -> PreTrainedTokenizerBase | None:
    """The decoder's own tokenizer, None where it shares the encoder's.

    Args:
        source: a model folder or a Hub id.
        subfolder: where the model lies in it.
        **hub: revision, token, cache_dir, local_files_only, as from_pretrained takes them.

    Raises:
        OSError: the Hub cannot be asked whether there is one.
    """
    folder = f"{subfolder}/{DECODER_TOKENIZER}" if subfolder else DECODER_TOKENIZER
    if not _is_there(str(source), f"{folder}/tokenizer_config.json", hub):
        return None
    return AutoTokenizer.from_pretrained(str(source), subfolder=folder, **hub)


def _is_there(source: str, name: str, hub: dict[str, Any]) -> bool:
    if Path(source).is_dir():
        return Path(source, name).is_file()
    try:
        hf_hub_download(source, name, **hub)
    except LocalEntryNotFoundError as error:  # not in the cache, and the Hub did not answer
        if is_offline_mode() or hub.get("local_files_only"):
            return False
        where = {key: hub[key] for key in ("revision", "cache_dir") if key in hub}
        if try_to_load_from_cache(source, name, **where) is _CACHED_NO_EXIST:
            return False
        raise OSError(
            f"the Hub did not say whether {source} has a tokenizer of its decoder's own ({name}). "
            "Try again, or set HF_HUB_OFFLINE=1 to take what the cache holds for the whole of it."
        ) from error
    except EntryNotFoundError:
        return False
    return True


def check_tokenizer_fits(
    part: str, tokenizer: PreTrainedTokenizerBase, config: PreTrainedConfig, source: str
) -> None:
    """Raises where a tokenizer has more tokens than its part of the model has embeddings."""
    if len(tokenizer) > config.vocab_size:
        raise ValueError(
            f"the {part}tokenizer in {source} has {len(tokenizer)} tokens, its model "
            f"{config.vocab_size}: they do not belong together. Save both from one run."
        )
