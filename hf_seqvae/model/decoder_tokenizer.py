"""The tokenizer of a decoder that has one of its own: where it lies, and whether it fits."""

from pathlib import Path
from typing import Any

from huggingface_hub import hf_hub_download, is_offline_mode
from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError
from transformers import AutoTokenizer, PreTrainedConfig, PreTrainedTokenizerBase

# in the folder of a model whose decoder has a tokenizer of its own
DECODER_TOKENIZER = "decoder_tokenizer"


def load_decoder_tokenizer(source: str | Path, **hub: Any) -> PreTrainedTokenizerBase | None:
    """The decoder's own tokenizer, None where it shares the encoder's.

    Args:
        source: a model folder or a Hub id.
        **hub: revision, token, cache_dir, local_files_only, as from_pretrained takes them.

    Raises:
        OSError: the Hub cannot be asked whether there is one.
    """
    if not _is_there(str(source), f"{DECODER_TOKENIZER}/tokenizer_config.json", hub):
        return None
    return AutoTokenizer.from_pretrained(str(source), subfolder=DECODER_TOKENIZER, **hub)


def _is_there(source: str, name: str, hub: dict[str, Any]) -> bool:
    if Path(source).is_dir():
        return Path(source, name).is_file()
    try:
        hf_hub_download(source, name, **hub)
    except LocalEntryNotFoundError:  # not in the cache, and the Hub was not asked or did not answer
        if is_offline_mode() or hub.get("local_files_only"):
            return False
        raise
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
