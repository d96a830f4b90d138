"""Models with known answers for the tests of metrics: linear Gaussian, and a tiny real SeqVAE."""

import math
import random

import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

from hf_seqvae import SeqVAEConfig, SeqVAEModel
from hf_seqvae.model.posterior import DiagonalGaussian

BOS, EOS, V, Z = 1, 2, 11, 3


class LinearGaussian:
    """x = W z + b + s e with orthogonal columns of W: p(x) and p(z|x) in closed form."""

    def __init__(self, widen: float = 0.0):
        self.weight = torch.tensor(
            [[2.0, 0.0], [0.0, 0.5], [1.0, 0.0], [0.0, -1.0]], dtype=torch.float64
        )
        self.bias = torch.tensor([0.3, -1.0, 0.0, 2.0], dtype=torch.float64)
        self.variance = 0.49
        self.widen = widen  # added to the exact posterior's log variance

    def posterior(self, batch):
        x = batch["x"]
        precision = 1 + self.weight.square().sum(0) / self.variance
        mean = (x - self.bias) @ self.weight / self.variance / precision
        return DiagonalGaussian(mean, -precision.log().expand_as(mean) + self.widen)

    def prior(self):
        zeros = torch.zeros(2, dtype=torch.float64)
        return DiagonalGaussian(zeros, zeros)

    def log_likelihood(self, batch, latents):
        square = (batch["x"] - latents @ self.weight.T - self.bias).square().sum(-1)
        return -0.5 * (square / self.variance + 4 * math.log(2 * math.pi * self.variance))

    def evidence(self, batch):
        covariance = self.weight @ self.weight.T + self.variance * torch.eye(4, dtype=torch.float64)
        return MultivariateNormal(self.bias, covariance).log_prob(batch["x"])


def observations(rows: int, *, seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {"x": 2 * torch.randn(rows, 4, generator=generator, dtype=torch.float64)}


def random_posteriors(count: int, size: int, *, seed: int = 0, samples: int = 1, offset=0.0):
    """Means, log variances (N, Z) and samples (S, N, Z) of N posteriors, in float64."""
    generator = torch.Generator().manual_seed(seed)
    mean = torch.randn(count, size, generator=generator, dtype=torch.float64) + offset
    logvar = torch.randn(count, size, generator=generator, dtype=torch.float64) - 1
    noise = torch.randn(samples, count, size, generator=generator, dtype=torch.float64)
    return mean, logvar, mean + (0.5 * logvar).exp() * noise


def sequence_model(*, seed: int = 0, spread: float = 1.0) -> SeqVAEModel:
    """A SeqVAEModel in eval() whose weights are N(0, spread): wide enough that every one counts."""
    ids = {"pad_token_id": 0, "bos_token_id": BOS, "eos_token_id": EOS, "unk_token_id": 3}
    lstm = {"vocab_size": V, "embedding_size": 5, "hidden_size": 6} | ids
    config = SeqVAEConfig(
        encoder={"model_type": "seqvae_lstm_encoder"} | lstm,
        decoder={"model_type": "seqvae_lstm"} | lstm,
        latent_size=Z,
    )
    model = SeqVAEModel(config).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for _, parameter in sorted(model.named_parameters()):
            parameter.copy_(spread * torch.randn(parameter.shape, generator=generator))
    return model


def deaf(model: SeqVAEModel) -> SeqVAEModel:
    """The model with every weight that reads z at zero."""
    with torch.no_grad():
        for parameter in model.injection.parameters():
            parameter.zero_()
        width = model.config.decoder.embedding_size  # z stands behind the embeddings
        model.decoder.model.layers[0].lstm.weight_ih_l0[:, width:].zero_()
    return model


def texts(rows: int, *, seed: int = 0) -> list[list[int]]:
    """Texts of 1 to 6 words."""
    draw = random.Random(seed)
    return [[draw.randrange(4, V) for _ in range(draw.randrange(1, 7))] for _ in range(rows)]


def batch_of(sentences: list[list[int]], *, extra: int = 0) -> dict[str, Tensor]:
    """input_ids and attention_mask (B, T), labels (B, T - 1); `extra` more columns than needed."""
    width = max(map(len, sentences)) + 2 + extra
    empty = [width - 2 - len(text) for text in sentences]
    rows = {
        "input_ids": [[BOS, *t, EOS] + [0] * e for t, e in zip(sentences, empty, strict=True)],
        "attention_mask": [[1] * (width - e) + [0] * e for e in empty],
        "labels": [[*t, EOS] + [-100] * e for t, e in zip(sentences, empty, strict=True)],
    }
    return {name: torch.tensor(values) for name, values in rows.items()}
