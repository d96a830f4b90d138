"""Stand-ins for the tests of evaluation: text VAEs worked out by hand, and processes as threads."""

import json
import math
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from torch import nn
from torch.distributions import Normal, kl_divergence

from hf_seqvae import SeqVAEConfig, SeqVAELSTMConfig, SeqVAELSTMForCausalLM, SeqVAEModel
from hf_seqvae.data import tokenizer_from_words
from hf_seqvae.evaluation import Processes
from hf_seqvae.evaluation.store import Store
from hf_seqvae.metrics import exchange_partners, row_noise
from hf_seqvae.model.posterior import DiagonalGaussian

VOCABULARY, LATENT, EOS = 12, 3, 2
SENTENCES = [[4, 5, 6], [7], [8, 9, 4, 4, 10], [5, 5], [11, 6, 7, 8], [9], [10, 11, 4]]
WORDS = [2, 1, 5, 2, 3, 1, 3]


class Stopped(BaseException):
    """Stands for a kill."""


class BagOfWords(nn.Module):
    """A text VAE to be worked out by hand: p(x|z) draws each label from softmax(z W).

    It counts the sentences it encodes and the sequences it decodes, and is killed before it goes
    beyond `limits` of them.
    """

    def __init__(self, seed: int = 0):
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.embedding = nn.Parameter(torch.randn(VOCABULARY, LATENT, generator=generator))
        self.output = nn.Parameter(torch.randn(LATENT, VOCABULARY, generator=generator))
        self.logvar = nn.Parameter(torch.tensor([-1.0, 0.0, -3.0]))
        self.dropout = nn.Dropout(0.5)
        self.encoded = self.decoded = self.most = 0
        self.limits = (math.inf, math.inf)

    def encoder(self, input_ids, attention_mask):
        self._count(len(input_ids), 0)
        mask = attention_mask.unsqueeze(-1)
        pooled = (self.embedding[input_ids] * mask).sum(1) / mask.sum(1)
        pooled = self.dropout(pooled)
        return SimpleNamespace(
            last_hidden_state=self.embedding[input_ids],
            pooled=pooled,
            posterior_mean=2 * pooled,
            posterior_logvar=self.logvar.expand_as(pooled),
        )

    def posterior(self, batch):
        encoded = self.encoder(batch["input_ids"], batch["attention_mask"])
        return DiagonalGaussian(encoded.posterior_mean, encoded.posterior_logvar)

    def prior(self):
        return DiagonalGaussian(torch.zeros(LATENT), torch.zeros(LATENT))

    def log_likelihood(self, batch, latents):
        return self._of_labels(batch, latents)[0].sum(-1)

    def _count(self, encoded, decoded):
        if self.encoded + encoded > self.limits[0] or self.decoded + decoded > self.limits[1]:
            raise Stopped
        self.encoded += encoded
        self.decoded += decoded
        self.most = max(self.most, decoded)

    def _of_labels(self, batch, latents):
        self._count(0, latents.shape[0] * latents.shape[1])
        labels = batch["labels"]
        log_probs = (latents @ self.output).log_softmax(-1)  # (S, B, V)
        index = labels.clamp(min=0).expand(len(latents), *labels.shape)
        real = labels != -100
        return log_probs.gather(-1, index) * real, log_probs[..., EOS, None] * real


class BagByPosition(BagOfWords):
    """The same model, which also tells what each position adds."""

    def position_log_likelihood(self, batch, latents):
        return self._of_labels(batch, latents)


def tokenised(sentences=SENTENCES, words=WORDS) -> Dataset:
    columns = {
        "input_ids": [[1, *ids, EOS] for ids in sentences],
        "labels": [[*ids, EOS] for ids in sentences],
        "length": [len(ids) + 1 for ids in sentences],
    }
    return Dataset.from_dict(columns | ({"num_words": words} if words else {}))


def by_hand(model: BagOfWords, num_samples: int, seed: int, num_weighted: int = 0) -> dict:
    """Terms of each sentence, one sentence and one sample at a time, without padding, in float64.

    `own` and `foreign` are -log p of each label of a sentence, a list of (S, L); iw_nll and size
    (N,) are the importance-weighted nll and its effective sample size.
    """
    embedding, output = model.embedding.detach().double(), model.output.detach().double()
    deviation = (0.5 * model.logvar.detach().double()).exp()
    mean = torch.stack([2 * embedding[[1, *ids, EOS]].mean(0) for ids in SENTENCES])
    count, most = len(SENTENCES), max(num_samples, num_weighted)
    z = mean + deviation * row_noise(range(count), most, LATENT, seed=seed).double()

    def nll(ids, latent):
        log_probs = (latent @ output).log_softmax(-1)
        return -log_probs[[*ids, EOS]]  # (L,)

    def ends(latents):  # log p(EOS), (S,)
        return (latents @ output).log_softmax(-1)[:, EOS]

    partners = exchange_partners(count, seed=seed).tolist()
    drawn = z[:num_samples]
    own = [torch.stack([nll(ids, latent) for latent in drawn[:, i]]) for i, ids in texts()]
    foreign = [
        torch.stack([nll(ids, latent) for latent in drawn[:, partners[i]]]) for i, ids in texts()
    ]
    zero = torch.stack([nll(ids, torch.zeros(LATENT).double()).sum() for _, ids in texts()])
    posterior, prior = Normal(mean, deviation), Normal(torch.zeros(LATENT).double(), 1.0)
    ratio = (prior.log_prob(z) - posterior.log_prob(z)).sum(-1)  # (K, N)
    likelihood = [[-float(nll(ids, z[k, i]).sum()) for i, ids in texts()] for k in range(most)]
    weights = (torch.tensor(likelihood, dtype=torch.float64) + ratio).exp()
    own_ends = torch.stack([ends(drawn[:, i]) for i in range(count)])  # (N, S)
    return {
        "own": own,
        "foreign": foreign,
        "nll": torch.stack([values.mean(0).sum() for values in own]),
        "exchanged": torch.stack([values.mean(0).sum() for values in foreign]),
        "zero": zero,
        "kl": kl_divergence(posterior, prior).sum(1),
        "mean": mean,
        "logvar": model.logvar.detach().double().expand_as(mean),
        "z": drawn,
        "iw_nll": -weights.mean(0).log(),
        "size": weights.sum(0).square() / weights.square().sum(0),
        "own_ends": own_ends,
        "foreign_ends": own_ends[partners],
    }


def texts():
    return list(enumerate(SENTENCES))


def flat(report, *, leave_out=()) -> np.ndarray:
    """All figures of a report one after another, NaN where one is undefined."""
    values = [
        math.nan if figure.value is None else figure.value
        for name, figure in report.figures.items()
        if name not in leave_out
    ]
    return np.concatenate([np.atleast_1d(np.array(value, dtype=float)) for value in values])


def assert_same_report(report, expected, *, exactly=False) -> None:
    """The same figures, errors, reasons and arrays; to 1e-5, or to the last digit."""
    assert list(report.figures) == list(expected.figures)
    tolerance = {"rtol": 0, "atol": 0} if exactly else {"rtol": 1e-5, "atol": 1e-5}
    for name, figure in expected.figures.items():
        found = report.figures[name]
        assert (found.reason, found.definition) == (figure.reason, figure.definition)
        if figure.value is None:
            assert found.value is None, name
            continue
        np.testing.assert_allclose(found.value, figure.value, **tolerance, err_msg=name)
        if figure.standard_error is not None:
            errors = (
                np.array(item.standard_error, dtype=float) for item in (found, figure)
            )  # None becomes NaN
            np.testing.assert_allclose(*errors, **tolerance, err_msg=name)
    assert set(report.per_sentence) == set(expected.per_sentence)
    for name, values in expected.per_sentence.items():
        np.testing.assert_allclose(report.per_sentence[name], values, **tolerance, err_msg=name)


def strict_json(text: str) -> Any:
    """JSON without the NaN and infinity that Python would write and read."""

    def refuse(name):
        raise AssertionError(f"{name} is no JSON")

    return json.loads(text, parse_constant=refuse)


def in_processes(count: int, call) -> list:
    """What `call(processes)` returns on each of `count` threads that gather as processes do."""
    barrier = threading.Barrier(count, timeout=20)
    posts: list = [None] * count

    def gather_of(rank):
        def gather(value):
            posts[rank] = value
            barrier.wait()
            gathered = list(posts)
            barrier.wait()
            return gathered

        return gather

    with ThreadPoolExecutor(count) as pool:
        futures = [
            pool.submit(call, Processes(rank=rank, count=count, gather=gather_of(rank)))
            for rank in range(count)
        ]
    # what a process raised is handed to the test, which looks at it
    return [future.exception() or future.result() for future in futures]


def write_at_once(monkeypatch) -> None:
    """Makes evaluations write each batch when it is done, in place of every few seconds."""
    monkeypatch.setattr("hf_seqvae.evaluation.corpus.Store", partial(Store, seconds=-1.0))


# -- a real model and its text

TEXTS = [
    "the girl reads a book .",
    "a dog sleeps .",
    "does the boy sleep here ?",
    "the dog sees the house .",
    "a boy reads there .",
    "the girl does not sleep here .",
    "the house .",
]
VOCABULARY_OF_TEXTS = sorted({word for text in TEXTS for word in text.split()})


def tiny_tokenizer(**options):
    return tokenizer_from_words(VOCABULARY_OF_TEXTS, **options)


def tiny_vae(seed: int = 2, scale: float = 1.2, **config) -> SeqVAEModel:
    """Untrained weights, large enough that different sentences get different latents and words."""
    sizes = {"vocab_size": len(VOCABULARY_OF_TEXTS) + 4, "embedding_size": 8, "hidden_size": 8}
    config = {"encoder": dict(sizes), "decoder": dict(sizes), "latent_size": 4} | config
    model = SeqVAEModel(SeqVAEConfig(**config))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(scale * torch.randn(parameter.shape, generator=generator))
    return model.eval()


def tiny_language_model(
    seed: int = 2, scale: float = 0.8, *, vocab_size: int = len(VOCABULARY_OF_TEXTS) + 4
) -> SeqVAELSTMForCausalLM:
    """The same for a language model, which has no latents."""
    model = SeqVAELSTMForCausalLM(
        SeqVAELSTMConfig(
            vocab_size=vocab_size,
            embedding_size=8,
            hidden_size=8,
            bos_token_id=1,
            eos_token_id=EOS,
            pad_token_id=0,
        )
    )
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(scale * torch.randn(parameter.shape, generator=generator))
    return model.eval()


def tiny_data(texts=TEXTS) -> Dataset:
    return Dataset.from_dict({"text": list(texts)})
