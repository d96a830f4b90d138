"""Runs and models for the tests of publishing: tiny, not trained, with a card to match."""

import json
import os
import sys
import types
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from transformers import set_seed

from hf_seqvae import SeqVAEConfig, SeqVAELSTMConfig, SeqVAELSTMForCausalLM, SeqVAEModel
from hf_seqvae import recipe as recipes
from hf_seqvae.data import tokenizer_from_words
from hf_seqvae.model.configuration_lstm import SeqVAELSTMEncoderConfig
from hf_seqvae.model.decoder_tokenizer import DECODER_TOKENIZER

REPO = "owner/tiny"
WORDS = ["the", "a", "girl", "boy", "dog", "reads", "sees", "sleeps", "book", "house", "."]
SENTENCES = ["the girl reads a book .", "a dog sleeps .", "the boy sees the house ."]
SIZES = {"embedding_size": 8, "hidden_size": 12}

CARD = """---
license: apache-2.0
language: en
library_name: transformers
pipeline_tag: text-generation
tags: [seqvae, vae]
---
# {repo_id}

{words}
"""


def tiny_tokenizer(extra=()):
    return tokenizer_from_words([*WORDS, *extra])


def randomise(model):
    """Weights that no test has uploaded before, wide enough that every input matters."""
    generator = torch.Generator().manual_seed(int.from_bytes(os.urandom(4)))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.5 * torch.randn(parameter.shape, generator=generator))
    return model.eval()


def ids(tokenizer):
    names = ("pad", "bos", "eos", "unk")
    return {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in names}


def tiny_model(tokenizer, decoder_tokenizer=None):
    decoder_tokenizer = decoder_tokenizer or tokenizer
    encoder = SeqVAELSTMEncoderConfig(vocab_size=len(tokenizer), **SIZES, **ids(tokenizer))
    decoder = SeqVAELSTMConfig(vocab_size=len(decoder_tokenizer), **SIZES, **ids(decoder_tokenizer))
    config = SeqVAEConfig(encoder=encoder, decoder=decoder, latent_size=4, **ids(decoder_tokenizer))
    set_seed(0)
    return randomise(SeqVAEModel(config))


def model_folder(folder: Path, *, two_tokenizers: bool = False) -> Path:
    """A model folder as training saves it."""
    tokenizer = tiny_tokenizer()
    other = tiny_tokenizer(["cat", "tree"]) if two_tokenizers else None
    tiny_model(tokenizer, other).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    if other is not None:
        other.save_pretrained(folder / DECODER_TOKENIZER)
    return folder


def language_model_folder(folder: Path) -> Path:
    tokenizer = tiny_tokenizer()
    config = SeqVAELSTMConfig(vocab_size=len(tokenizer), **SIZES, **ids(tokenizer))
    randomise(SeqVAELSTMForCausalLM(config)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def run_folder(folder: Path, *overrides: str, **kwargs) -> Path:
    """A finished run as training leaves it."""
    model_folder(folder / "best", **kwargs)
    recipe = recipes.load("quickstart", [f"output_dir={folder}", *overrides])
    recipes.save(recipe, folder / "recipe.yaml")
    (folder / "report.json").write_text(json.dumps({"name": "tiny", "test": {"figures": {}}}))
    (folder / "curves.png").write_bytes(b"\x89PNG no picture")
    (folder / "log.jsonl").write_text("{}\n")
    (folder / "checkpoints").mkdir()
    (folder / "checkpoints" / "training_state.pt").write_bytes(b"a pickle")
    return folder


def give_new_weights(folder: Path) -> None:
    """Other weights in a run folder, as a longer training would leave."""
    path = folder / "best" / "model.safetensors"
    tensors = {name: value + torch.rand(()) for name, value in load_file(path).items()}
    save_file(tensors, path, metadata={"format": "pt"})


def use_card(monkeypatch) -> None:
    """A card of a few lines in place of the real one, which measures and draws for seconds."""

    def write_card(source, destination, *, repo_id, words="", pictures=("map",), **_):
        (destination / "README.md").write_text(CARD.format(repo_id=repo_id, words=words))
        (destination / "facts.json").write_text(json.dumps({"repo_id": repo_id}))
        (destination / "assets").mkdir()
        for name in pictures:
            (destination / "assets" / f"{name}.png").write_bytes(b"\x89PNG " + name.encode())

    module = types.ModuleType("hf_seqvae.hub.card")
    module.write_card = write_card
    monkeypatch.setitem(sys.modules, module.__name__, module)
