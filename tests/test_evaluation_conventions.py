"""Figures by the literature's definitions, worked out sentence by sentence."""

import math

import pytest
import torch
from evaluation_standins import BagOfWords, tokenised
from torch.distributions import Normal

from hf_seqvae.evaluation import evaluate
from hf_seqvae.evaluation.conventions import literature_figures, same_length_batches
from hf_seqvae.metrics import row_noise

SIZE = 3
LENGTHS = torch.tensor([3, 5] * 30 + [3] * 10)  # 40 of length 3 and 30 of length 5


def columns(count: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return {
        "posterior_mean": torch.randn(count, SIZE, generator=generator),
        "posterior_logvar": torch.randn(count, SIZE, generator=generator) - 1,
        "negative_elbo": 10 + torch.rand(count, generator=generator).double(),
        "iw_nll": 9 + torch.rand(count, generator=generator).double(),
    }


def information_by_hand(values, batches, seed) -> float:
    """Mean of E log q(z|x), in closed form, less log (1/n) sum_j q(z|x_j) within each batch."""
    mean, logvar = values["posterior_mean"].double(), values["posterior_logvar"].double()
    q = Normal(mean, (0.5 * logvar).exp())
    z = mean + q.stddev * row_noise(range(len(mean)), 1, SIZE, seed=seed)[0]
    total = 0.0
    for batch in batches:
        for row in batch:
            entropy = sum(0.5 * (1 + math.log(2 * math.pi) + float(v)) for v in logvar[row])
            densities = [
                math.exp(float(Normal(mean[other], q.stddev[other]).log_prob(z[row]).sum()))
                for other in batch
            ]
            total += -entropy - math.log(sum(densities) / len(densities))
    return total / len(mean)


def test_batches_hold_sentences_of_one_length_and_32_at_most():
    batches = same_length_batches(LENGTHS)
    assert [len(batch) for batch in batches] == [32, 8, 30]
    assert sorted(torch.cat(batches).tolist()) == list(range(70))
    for batch in batches:
        assert len(LENGTHS[batch].unique()) == 1
        assert batch.tolist() == sorted(batch.tolist())


def test_information_of_he_is_within_batches_and_that_of_li_over_all():
    values = columns(70)
    figures = literature_figures(values, LENGTHS, None, None, seed=4)
    three = [row for row in range(70) if LENGTHS[row] == 3]
    five = [row for row in range(70) if LENGTHS[row] == 5]
    batches = [three[:32], three[32:], five]
    he, li = figures["he_mutual_information"], figures["li_mutual_information"]
    assert he.value == pytest.approx(information_by_hand(values, batches, 4), rel=1e-5)
    assert li.value == pytest.approx(information_by_hand(values, [list(range(70))], 4), rel=1e-5)
    sizes = [32, len(three) - 32, len(five)]
    by_hand = sum(size * math.log(size) for size in sizes) / 70
    assert he.cap == pytest.approx(by_hand) and by_hand < math.log(32)
    assert li.cap == math.log(70)
    assert "within 3 batches of at most 32" in he.definition


def test_a_sentence_alone_in_its_length_adds_only_its_noise():
    values = columns(3)
    figures = literature_figures(values, torch.tensor([2, 4, 9]), None, None, seed=0)
    by_hand = information_by_hand(values, [[0], [1], [2]], 0)
    assert figures["he_mutual_information"].value == pytest.approx(by_hand, rel=1e-5)


@pytest.mark.parametrize(
    ("iw_samples", "column", "named"), [(5, "iw_nll", "of 5"), (None, "negative_elbo", "-ELBO")]
)
def test_perplexity_of_optimus_is_by_token_and_that_of_he_by_word(iw_samples, column, named):
    values = columns(70)
    words = LENGTHS - 2  # a token more than words and EOS
    figures = literature_figures(values, LENGTHS, words, iw_samples, seed=0)
    nats = float(values[column].sum())
    he, optimus = figures["he_perplexity"], figures["optimus_perplexity"]
    assert he.value == pytest.approx(math.exp(nats / (int(words.sum()) + 70)))
    assert optimus.value == pytest.approx(math.exp(nats / int(LENGTHS.sum())))
    assert optimus.value < he.value
    assert named in he.definition and named in optimus.definition


def test_without_words_there_is_no_perplexity_by_word():
    figures = literature_figures(columns(70), LENGTHS, None, 5, seed=0)
    assert "he_perplexity" not in figures and "optimus_perplexity" in figures


def test_they_stand_beside_ours_in_a_report():
    report = evaluate(BagOfWords(), tokenised(), iw_samples=3)
    assert report["he_perplexity"].value == pytest.approx(report["word_perplexity"].value)
    assert report["optimus_perplexity"].value == pytest.approx(report["token_perplexity"].value)
    # ours takes both terms at the same z, which the closed form does in expectation alone
    assert report["li_mutual_information"].value != report["mutual_information"].value
