"""The two sizes of the studies, and the operations of a training step at each."""

import time
from collections.abc import Callable

import torch
from torch import Tensor

from hf_seqvae import SeqVAEConfig, SeqVAEModel

HIDDEN, LATENT = 256, 32
# tatoeba: batches of 64 sentences of about 9 words; PTB: 32 of 21
SIZES: dict[str, dict[str, int]] = {
    "tatoeba": {"vocabulary": 5_000, "sentences": 64, "shortest": 7, "longest": 10},
    "ptb": {"vocabulary": 10_000, "sentences": 32, "shortest": 21, "longest": 21},
}


def build_model(size: str, **options) -> SeqVAEModel:
    """The studies' model, the same weights at every call."""
    part = {
        "vocab_size": SIZES[size]["vocabulary"],
        "embedding_size": HIDDEN,
        "hidden_size": HIDDEN,
    }
    torch.manual_seed(0)
    config = SeqVAEConfig(
        encoder={"model_type": "seqvae_lstm_encoder", **part},
        decoder={"model_type": "seqvae_lstm", **part},
        latent_size=LATENT,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
        unk_token_id=3,
        decoder_start_token_id=1,
        **options,
    )
    return SeqVAEModel(config).train()


def build_batch(size: str, seed: int = 0) -> dict[str, Tensor]:
    """Random words between BOS and EOS, right-padded; labels without BOS."""
    values, generator = SIZES[size], torch.Generator().manual_seed(seed)
    rows, shortest, longest = values["sentences"], values["shortest"], values["longest"]
    lengths = shortest + torch.arange(rows) * (longest - shortest + 1) // rows  # words
    places = torch.arange(longest + 2).expand(rows, -1)
    words = torch.randint(4, values["vocabulary"], places.shape, generator=generator)
    ids = words.masked_fill(places == 0, 1).masked_fill(places == lengths[:, None] + 1, 2)
    mask = places < lengths[:, None] + 2
    ids = ids.masked_fill(~mask, 0)
    return {
        "input_ids": ids,
        "attention_mask": mask.long(),
        "labels": ids.masked_fill(~mask, -100)[:, 1:],
    }


def operations(size: str, batch: dict[str, Tensor]) -> dict[str, float]:
    """Floating point operations of forward and backward by part, in 1e9; matrix products alone.

    A product of (m, k) and (k, n) is 2 m k n; the backward pass takes two of that size.
    """
    rows, read = batch["input_ids"].shape
    written = batch["labels"].shape[1]
    scored = int((batch["labels"] != -100).sum())
    gates = 4 * HIDDEN
    return {
        "encoder_lstm": 6e-9 * rows * read * (2 * HIDDEN) * gates,
        "decoder_lstm": 6e-9 * rows * written * (2 * HIDDEN + LATENT) * gates,
        "output_layer": 6e-9 * scored * HIDDEN * SIZES[size]["vocabulary"],
        "posterior_and_state": 6e-9 * rows * (2 * HIDDEN * LATENT + 2 * HIDDEN * LATENT),
    }


def products(size: str, batch: dict[str, Tensor]) -> list[tuple[Tensor, Tensor]]:
    """Matrices of the shapes that forward and backward of a step multiply; posterior left out."""
    vocabulary, rows = SIZES[size]["vocabulary"], len(batch["labels"])
    scored = int((batch["labels"] != -100).sum())
    gates = 4 * HIDDEN
    # forward (m, k) (k, n), then the gradients (m, n) (n, k) and (n, m) (m, k)
    whole, each_token = [(scored, HIDDEN, vocabulary)], []
    for tokens, width in (
        (batch["input_ids"].shape[1], HIDDEN),
        (batch["labels"].shape[1], HIDDEN + LATENT),
    ):
        whole.append((rows * tokens, width, gates))
        each_token += [(rows, HIDDEN, gates), (rows, gates, HIDDEN)] * tokens
        each_token.append((gates, rows * tokens, HIDDEN))
    shapes = each_token
    for m, k, n in whole:
        shapes += [(m, k, n), (m, n, k), (n, m, k)]
    made = {shape: (torch.ones(shape[:2]), torch.ones(shape[1:])) for shape in set(shapes)}
    return [made[shape] for shape in shapes]


def timed(run: Callable[[], object]) -> tuple[float, float]:
    """CPU and wall seconds of a call."""
    started = time.process_time(), time.perf_counter()
    run()
    return time.process_time() - started[0], time.perf_counter() - started[1]
