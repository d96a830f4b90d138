"""What a SeqVAETrainer sends to the Hub beside the weights: code, tokenizer, and a true card."""

import re
import shutil
from pathlib import Path
from typing import Any

from hf_seqvae.model.decoder_tokenizer import DECODER_TOKENIZER

# what transformers says of a model without a name, or of one from a folder, is not so
_STOCK_ORIGIN = re.compile(
    r"^This model (was trained from scratch|is a fine-tuned version of \[.*?\]\(.*?\)) on ", re.M
)


def copy_own_files(checkpoint: Path, folder: Path) -> None:
    """Puts a checkpoint's code and its decoder's tokenizer into the folder that is uploaded.

    A file that did not change stays untouched: an upload in another thread may be reading it.
    """
    for source in (*checkpoint.glob("*.py"), *checkpoint.glob(f"{DECODER_TOKENIZER}/*")):
        target = folder / source.relative_to(checkpoint)
        if not target.is_file() or target.read_bytes() != source.read_bytes():
            target.parent.mkdir(exist_ok=True)
            shutil.copyfile(source, target)


def correct_origin(card: str, config: Any) -> str:
    """transformers' draft of a card, with a true word on where the weights came from."""
    return _STOCK_ORIGIN.sub(lambda _: f"A sequence VAE, {_origin(config)}, trained on ", card)


def _origin(config: Any) -> str:
    """Where the weights that training began with came from, as far as the config tells."""
    if config.name_or_path:
        return f"fine-tuned from {_place(config.name_or_path)}"
    parts = [getattr(config, part, None) for part in ("encoder", "decoder")]
    places = [_place(part.name_or_path) for part in parts if part is not None and part.name_or_path]
    if places:
        return f"built around {' and '.join(dict.fromkeys(places))}"
    return "begun from random weights"


def _place(name: str) -> str:
    if Path(name).is_dir():
        return "a local checkpoint"
    return f"[{name}](https://huggingface.co/{name})"
