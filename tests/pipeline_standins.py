"""A model whose decoder has a tokenizer of its own, its texts, and its folder."""

from pathlib import Path

import torch

from hf_seqvae import SeqVAEConfig, SeqVAEModel
from hf_seqvae.data import tokenizer_from_words

READ = ["the", "girl", "boy", "dog", "reads", "sees", "sleeps", "here", "not", "."]
WRITTEN = ["das", "ein", "kind", "hund", "haus", "liest", "sieht", "hier", "nicht", "wo", "ja"]
TEXTS = ["the girl reads .", "the dog sleeps here .", "not the boy .", "the boy sees .", "here ."]


def made(num_read: int, num_written: int) -> SeqVAEModel:
    """Untrained weights, large enough that different texts get different latents and words."""
    sizes = {"embedding_size": 12, "hidden_size": 16}
    model = SeqVAEModel(
        SeqVAEConfig(
            encoder=sizes | {"vocab_size": num_read},
            decoder=sizes | {"vocab_size": num_written},
            latent_size=4,
            unk_token_id=3,
        )
    )
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.8 * torch.randn(parameter.shape, generator=generator))
    return model


def save_two_tokenizers(folder: Path, written: list[str] = WRITTEN) -> Path:
    """Model and both tokenizers, as training saves them."""
    read, written_tokenizer = (
        tokenizer_from_words(words, max_length=9) for words in (READ, written)
    )
    made(len(read), len(written_tokenizer)).save_pretrained(folder)
    read.save_pretrained(folder)
    written_tokenizer.save_pretrained(folder / "decoder_tokenizer")
    return folder
