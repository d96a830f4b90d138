"""The grammar's own -log p(x) under every bound: end to end, and with models that are exact."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from datasets import Dataset
from torch import nn

from hf_seqvae import everyday
from hf_seqvae.data import tokenize, tokenizer_from_words
from hf_seqvae.engine import train
from hf_seqvae.evaluation import evaluate
from hf_seqvae.model.posterior import DiagonalGaussian
from hf_seqvae.recipe import Recipe

LATENT = 4
SENTENCES = everyday.generate(500, seed=11)[0]
FLOOR = np.array([-everyday.log_prob(sentence) for sentence in SENTENCES])
TOKENIZER = tokenizer_from_words(everyday.vocabulary())


class Exact(nn.Module):
    """A VAE whose evidence is the grammar's: p(x|z) = p(x) q(z|x) / p(z), so q is its posterior.

    Its likelihood is read off the labels: only a whole sentence and one EOS has a probability.
    """

    def __init__(self, shift: float, logvar: float):
        super().__init__()
        self.table = nn.Parameter(shift * torch.randn(len(TOKENIZER), LATENT).double())
        self.logvar = logvar

    def encoder(self, input_ids, attention_mask):
        mean = (self.table[input_ids] * attention_mask.unsqueeze(-1)).sum(1)
        return SimpleNamespace(
            last_hidden_state=self.table[input_ids],
            pooled=mean,
            posterior_mean=mean,
            posterior_logvar=torch.full_like(mean, self.logvar),
        )

    def posterior(self, batch):
        encoded = self.encoder(batch["input_ids"], batch["attention_mask"])
        return DiagonalGaussian(encoded.posterior_mean, encoded.posterior_logvar)

    def prior(self):
        return DiagonalGaussian(torch.zeros(LATENT), torch.zeros(LATENT))

    def log_likelihood(self, batch, latents):
        evidence = []
        for row in batch["labels"].tolist():
            *words, end = [label for label in row if label != -100]
            assert end == TOKENIZER.eos_token_id, "the labels do not end with EOS"
            tokens = TOKENIZER.convert_ids_to_tokens(words)
            evidence.append(everyday.log_prob(" ".join(tokens)))  # refuses what is no sentence
        density = self.posterior(batch).log_prob(latents) - self.prior().log_prob(latents)  # (S, B)
        return torch.tensor(evidence, dtype=torch.float64) + density


@pytest.fixture(scope="module")
def rows() -> Dataset:
    return tokenize(Dataset.from_dict({"text": SENTENCES}), TOKENIZER)


def exact_report(rows: Dataset, shift: float, logvar: float):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Exact(shift, logvar)
    return evaluate(model, rows, num_samples=4, floor=FLOOR)


def test_an_exact_model_without_latents_is_at_the_floor_of_every_sentence(rows):
    report = exact_report(rows, shift=0.0, logvar=0.0)
    gaps = report.per_sentence["negative_elbo"] - FLOOR
    assert np.abs(gaps).max() < 1e-6
    assert report["bound_gap"].value == pytest.approx(0.0, abs=1e-6)


def test_an_exact_model_with_latents_is_at_the_floor_and_half_its_kl_would_be_seen(rows):
    report = exact_report(rows, shift=0.3, logvar=-1.5)
    gap, kl = report["bound_gap"], report["kl"].value
    assert kl > 2
    assert abs(gap.value) <= 3 * gap.standard_error
    assert gap.value - kl / 2 < -3 * gap.standard_error


def test_labels_without_their_eos_have_no_probability(rows):
    short = rows.map(lambda row: {"labels": row["labels"][:-1], "length": row["length"] - 1})
    with pytest.raises(AssertionError, match="do not end with EOS"):
        exact_report(short, shift=0.0, logvar=0.0)


def test_a_trained_model_stays_above_the_floor_of_validation_and_test(tmp_path):
    """i.i.d. draws, every word known: no sampled bound passes -log p(x), but by chance."""
    lstm = {"embedding_size": 32, "hidden_size": 64}
    recipe = Recipe.from_dict(
        {
            "name": "bound",
            "output_dir": str(tmp_path / "run"),
            "model": {"latent_size": 8, "encoder": lstm, "decoder": lstm},
            "data": {
                "dataset": "everyday",
                "num_train": 4000,
                "num_validation": 300,
                "num_test": 300,
                "batch_size": 32,
            },
            "objective": {"kl_term": "free_bits_per_dimension_hinge", "free_bits": 0.4},
            "training": {"epochs": 3, "optimizer": "adam", "learning_rate": 5e-3},
        }
    )
    result = train(recipe, progress=False)
    untrained = np.log(len(TOKENIZER)) * 10  # uniform words
    for split in ("validation", "test"):
        report = result.report[split]
        gap = report["bound_gap"]
        assert gap.value >= -3 * gap.standard_error
        assert report["negative_elbo"].value < untrained / 2  # it has learnt something,
        assert report["kl"].value > 1  # and its latents hold some of it
        assert report["exact_nll"].value == pytest.approx(
            everyday.entropy(), abs=4 * report["exact_nll"].standard_error
        )
