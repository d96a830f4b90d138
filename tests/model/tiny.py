"""Tiny models and batches for the tests of the model floor: V 23, widths 8, Z 4."""

import random

import torch
from torch import Tensor
from transformers import BertConfig, GPT2Config, LlamaConfig

from hf_seqvae.model.configuration_lstm import SeqVAELSTMConfig, SeqVAELSTMEncoderConfig
from hf_seqvae.model.configuration_seqvae import SeqVAEConfig
from hf_seqvae.model.modeling_seqvae import SeqVAEModel

V, Z, PAD, BOS, EOS, UNK = 23, 4, 0, 1, 2, 3
IDS = {"pad_token_id": PAD, "bos_token_id": BOS, "eos_token_id": EOS}
NO_DROPOUT = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}


def lstm_encoder(**kwargs):
    return SeqVAELSTMEncoderConfig(
        **{"vocab_size": V, "embedding_size": 6, "hidden_size": 8} | kwargs
    )


def lstm_decoder(**kwargs):
    return SeqVAELSTMConfig(
        **{"vocab_size": V, "embedding_size": 6, "hidden_size": 8, "num_hidden_layers": 2} | kwargs
    )


def bert(**kwargs):
    sizes = {
        "vocab_size": V,
        "hidden_size": 8,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 16,
        "max_position_embeddings": 32,
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
    }
    return BertConfig(**sizes | IDS | kwargs)


def gpt2(**kwargs):
    sizes = {"vocab_size": V, "n_embd": 8, "n_layer": 2, "n_head": 2, "n_positions": 64}
    return GPT2Config(**sizes | NO_DROPOUT | IDS | kwargs)


def llama(**kwargs):
    sizes = {
        "vocab_size": V,
        "hidden_size": 8,
        "intermediate_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "max_position_embeddings": 64,
    }
    return LlamaConfig(**sizes | IDS | kwargs)


ENCODERS = {
    "lstm": lstm_encoder,
    "lstm2": lambda: lstm_encoder(bidirectional=True, num_hidden_layers=2),
    "bert": bert,
    "gpt2": gpt2,
}
DECODERS = {"lstm": lstm_decoder, "gpt2": gpt2, "llama": llama}


def config(encoder="lstm", decoder="lstm", **kwargs) -> SeqVAEConfig:
    """A config; `encoder` and `decoder` are names of ENCODERS and DECODERS, or configs."""
    encoder = ENCODERS[encoder]() if isinstance(encoder, str) else encoder
    decoder = DECODERS[decoder]() if isinstance(decoder, str) else decoder
    return SeqVAEConfig(
        **{"encoder": encoder, "decoder": decoder, "latent_size": Z, "unk_token_id": UNK} | kwargs
    )


def model(encoder="lstm", decoder="lstm", *, seed: int = 0, spread: float = 0.4, **kwargs):
    """A model in eval() whose weights are N(0, spread): wide enough that every input matters."""
    made = SeqVAEModel(config(encoder, decoder, **kwargs)).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in sorted(made.named_parameters()):
            noise = spread * torch.randn(parameter.shape, generator=generator)
            parameter.copy_(1.0 + noise if "norm" in name.lower() or ".ln_" in name else noise)
    return made


def batch(rows: int = 4, *, seed: int = 0, left: bool = False, extra: int = 0) -> dict[str, Tensor]:
    """Texts of 2 to 7 tokens between BOS and EOS; `extra` more columns of padding than needed.

    Padding of the encoder's input stands at the left or right, and holds ids that are no padding.
    """
    draw = random.Random(seed)
    texts = [[draw.randrange(4, V) for _ in range(draw.randrange(2, 8))] for _ in range(rows)]
    return batch_of(texts, left=left, extra=extra)


def batch_of(texts: list[list[int]], *, left: bool = False, extra: int = 0) -> dict[str, Tensor]:
    width = max(map(len, texts)) + 2 + extra
    input_ids, attention_mask, labels = [], [], []
    for text in texts:
        inputs, ones = [BOS, *text, EOS], [1] * (len(text) + 2)
        empty = width - len(inputs)
        padding = [5 + place % 3 for place in range(empty)]
        input_ids.append(padding + inputs if left else inputs + padding)
        attention_mask.append([0] * empty + ones if left else ones + [0] * empty)
        target = [*text, EOS]
        labels.append(target + [-100] * (width - 1 - len(target)))
    rows = {"input_ids": input_ids, "attention_mask": attention_mask, "labels": labels}
    return {name: torch.tensor(values) for name, values in rows.items()}


def latents(rows: int, *, seed: int = 0) -> Tensor:
    return torch.randn(rows, Z, generator=torch.Generator().manual_seed(seed))
