"""The oracles of sequences: the two-word model by enumeration, and the everyday grammar."""

import math

import pytest
import torch
from torch.distributions import Normal, kl_divergence
from torch.testing import assert_close

from hf_seqvae import everyday
from hf_seqvae.data import Collator, tokenize, tokenizer_from_words
from hf_seqvae.metrics import exact_nll
from hf_seqvae.oracles import (
    SENTENCES,
    GrammarModel,
    enumerate_sentences,
    enumeration,
    two_word_batch,
    two_word_model,
)

NEXT = (1, 2, 3, 4, 5, 6, 0)


@pytest.fixture(scope="module")
def model():
    return two_word_model()


@pytest.fixture(scope="module")
def exact(model):
    return enumerate_sentences(model)


# -- two words


def test_all_sentences_and_what_lies_beyond_have_probability_one(exact):
    assert len(SENTENCES) == len(set(SENTENCES)) == 7
    assert float(exact.log_prob().exp().sum()) + exact.mass_beyond() == pytest.approx(1, abs=1e-12)
    assert_close(exact.log_prior.exp().sum() * exact.step, torch.tensor(1.0).double())


def test_the_model_is_no_toy_whose_errors_would_not_show(exact):
    """Sentences differ in probability, z matters, and the bound is loose."""
    probabilities = exact.log_prob().exp()
    assert 0.02 < float(probabilities.min()) < float(probabilities.max()) / 5
    assert exact.mutual_information(range(7)) > 0.3
    assert float(exact.swap_gap(NEXT).mean()) > 0.5
    assert 0.3 < float((exact.negative_elbo() + exact.log_prob()).mean()) < 2.0
    assert float(exact.importance_weight_variance().max()) < 4.0


def test_kl_by_quadrature_is_the_closed_form(model, exact):
    with torch.no_grad():
        q = model.posterior(two_word_batch())
    normal = Normal(q.mean, (0.5 * q.logvar).exp())
    expected = kl_divergence(normal, Normal(torch.zeros(1).double(), 1.0)).sum(1)
    assert_close(exact.kl(), expected, rtol=1e-10, atol=1e-10)


def test_the_decoder_is_a_hand_written_lstm(model, exact):
    """log p(word | prefix, z) from the weights, gate by gate."""
    weights = {name: value.detach() for name, value in model.named_parameters()}
    layer = "decoder.model.layers.0.lstm."
    z, words = 0.7, (1, 2)
    cell = weights["injection.to_state.weight"][:, 0] * z
    hidden = cell.tanh()
    found = []
    for read, label in zip((0, *words), (*words, 0), strict=True):
        embedded = weights["decoder.model.embed_tokens.weight"][read]
        gates = (
            weights[layer + "weight_ih_l0"] @ torch.cat([embedded, torch.tensor([z]).double()])
            + weights[layer + "bias_ih_l0"]
            + weights[layer + "weight_hh_l0"] @ hidden
            + weights[layer + "bias_hh_l0"]
        )
        take, keep, new, show = gates.chunk(4)
        cell = keep.sigmoid() * cell + take.sigmoid() * new.tanh()
        hidden = show.sigmoid() * cell.tanh()
        found.append((weights["decoder.lm_head.weight"] @ hidden).log_softmax(0)[label])
    node = int((exact.grid - z).abs().argmin())
    assert float(exact.grid[node]) == pytest.approx(z, abs=1e-9)
    row = SENTENCES.index(words)
    assert_close(exact.token_log_prob[row, :, node], torch.stack(found))


def test_a_finer_grid_changes_nothing(model, exact, monkeypatch):
    monkeypatch.setattr(enumeration, "_NODES", 5201)
    finer = enumerate_sentences(model)
    assert_close(finer.log_prob(), exact.log_prob(), rtol=0, atol=1e-12)
    assert_close(finer.negative_elbo(), exact.negative_elbo(), rtol=0, atol=1e-12)
    assert finer.mutual_information((0, 1, 1, 4)) == pytest.approx(
        exact.mutual_information((0, 1, 1, 4)), abs=1e-12
    )


def test_the_models_own_score_of_padded_batches_is_that_of_its_steps(model, exact):
    nodes = torch.arange(0, len(exact.grid), 200)
    latents = exact.grid[nodes][:, None, None].expand(-1, 7, 1)
    with torch.no_grad():
        found = model.log_likelihood(two_word_batch(), latents)  # (S, 7)
    assert_close(found.T, exact.log_likelihood[:, nodes], rtol=0, atol=1e-12)


def test_information_is_nothing_for_equal_rows_and_at_most_ln_n(exact):
    assert exact.mutual_information([3, 3, 3]) == pytest.approx(0.0, abs=1e-12)
    assert 0 < exact.mutual_information([5, 6]) < math.log(2)
    rate = float(exact.kl().mean())
    assert exact.mutual_information(range(7)) < rate


def test_savings_add_up_to_the_swap_gap_and_own_latents_save_nothing(exact):
    gap = exact.swap_gap(NEXT)
    foreign = -(exact.log_posterior[list(NEXT)].exp() * exact.log_likelihood).sum(1) * exact.step
    assert_close(gap, foreign - exact.reconstruction_nll())
    tokens = exact.saved(exact.token_log_prob, NEXT)
    lengths = exact.saved(exact.length_log_prob, NEXT)
    assert_close(tokens.sum(1), gap)
    assert tokens[0, 1:].tolist() == lengths[0, 1:].tolist() == [0.0, 0.0]
    assert_close(tokens[0], lengths[0])  # the empty sentence is its length
    assert float(exact.saved(exact.token_log_prob, range(7)).abs().max()) == 0.0


def test_going_on_and_ending_at_a_place_have_probability_one(exact):
    """At the second place of `a` it ends, and of `a b` it goes on, after the same prefix."""
    ends, goes_on = (SENTENCES.index(words) for words in ((1,), (1, 2)))
    total = exact.length_log_prob[ends, 1].exp() + exact.length_log_prob[goes_on, 1].exp()
    assert_close(total, torch.ones_like(total))
    assert exact.length_log_prob[ends, 2].abs().max() == 0.0


def test_another_model_is_refused(model):
    other = model.config.__class__(**{**model.config.to_dict(), "latent_size": 2})
    with pytest.raises(ValueError, match="latent_size 2"):
        enumerate_sentences(type(model)(other))


# -- the grammar


def test_the_grammar_scores_texts_and_their_labels_alike():
    texts, _ = everyday.generate(50, seed=4)
    tokenizer = tokenizer_from_words(everyday.vocabulary())
    expected = torch.tensor([everyday.log_prob(text) for text in texts], dtype=torch.float64)
    assert torch.equal(GrammarModel().log_prob({"text": texts}), expected)
    from datasets import Dataset

    rows = tokenize(Dataset.from_dict({"text": texts}), tokenizer)
    batch = Collator.from_tokenizer(tokenizer)([rows[n] for n in range(50)])
    assert torch.equal(exact_nll(GrammarModel(tokenizer), batch), -expected)


def test_the_mean_of_exact_nlls_is_the_entropy():
    texts, _ = everyday.generate(4000, seed=5)
    nll = exact_nll(GrammarModel(), {"text": texts})
    error = float(nll.std()) / math.sqrt(len(nll))
    assert abs(float(nll.mean()) - GrammarModel().entropy()) < 4 * error


def test_labels_without_a_tokenizer_and_foreign_sentences_are_refused():
    with pytest.raises(ValueError, match="give it to GrammarModel"):
        GrammarModel().log_prob({"labels": torch.tensor([[5, 2]])})
    with pytest.raises(ValueError, match="zebra"):
        GrammarModel().log_prob({"text": ["the zebra sells the cheese ."]})
