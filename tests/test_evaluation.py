"""Evaluation: each figure against the sentences worked out one by one; what is decoded when."""

import math

import numpy as np
import pytest
import torch
from datasets import Dataset
from evaluation_standins import (
    EOS,
    SENTENCES,
    VOCABULARY,
    WORDS,
    BagByPosition,
    BagOfWords,
    assert_same_report,
    by_hand,
    tokenised,
)
from torch import nn

from hf_seqvae import SeqVAEConfig, SeqVAEModel
from hf_seqvae.data import Collator
from hf_seqvae.evaluation import evaluate
from hf_seqvae.metrics import mutual_information

# -- figures


@pytest.mark.parametrize("num_samples", [1, 3])
def test_figures_are_those_worked_out_sentence_by_sentence(num_samples):
    model = BagOfWords()
    report = evaluate(model, tokenised(), num_samples=num_samples, iw_samples=6, seed=5)
    expected = by_hand(model, num_samples, 5, num_weighted=6)
    bound = expected["nll"] + expected["kl"]
    tokens, words = sum(map(len, SENTENCES)) + 7, sum(WORDS) + 7
    values = {
        "negative_elbo": bound.mean(),
        "elbo": -bound.mean(),
        "iw_nll": expected["iw_nll"].mean(),
        "iw_effective_sample_size": expected["size"].mean(),
        "reconstruction_nll": expected["nll"].mean(),
        "kl": expected["kl"].mean(),
        "exchanged_nll": expected["exchanged"].mean(),
        "zero_latent_nll": expected["zero"].mean(),
        "zero_gap": (expected["zero"] - expected["nll"]).mean(),
        "mutual_information": mutual_information(
            expected["mean"], expected["logvar"], expected["z"]
        ),
        "word_perplexity_bound": (bound.sum() / words).exp(),
        "token_perplexity_bound": (bound.sum() / tokens).exp(),
        "word_perplexity": (expected["iw_nll"].sum() / words).exp(),
        "token_perplexity": (expected["iw_nll"].sum() / tokens).exp(),
        "active_units": (expected["mean"].var(0) >= 0.01).sum(),
        "pooled_variance": torch.cov(expected["mean"].T / 2, correction=0).trace(),
        "posterior_mean_variance": torch.cov(expected["mean"].T, correction=0).trace(),
    }
    for name, value in values.items():
        assert report[name].value == pytest.approx(float(value), rel=1e-5), name
    gap = float((expected["exchanged"] - expected["nll"]).mean())
    assert report["swap_gap"].value == pytest.approx(gap, rel=1e-4, abs=1e-5)
    assert sum(report["kl_per_dimension"].value) == pytest.approx(report["kl"].value)
    assert report["negative_elbo"].standard_error == pytest.approx(
        float(bound.std()) / math.sqrt(7), rel=1e-5
    )
    assert report["mutual_information"].cap == math.log(7)
    assert report["iw_effective_sample_size"].cap == 6
    assert (report.num_sentences, report.num_tokens, report.num_words) == (7, tokens, sum(WORDS))


def test_collapse_curve_counts_the_dimensions_that_are_nearly_always_below():
    model = BagOfWords()
    with torch.no_grad():  # of the first dimension KL is 0 everywhere, of the second 0.5 (e^3 - 4)
        model.embedding[:, :2] = 0
        model.logvar.copy_(torch.tensor([0.0, 3.0, -3.0]))
    curve = evaluate(model, tokenised())["collapse_curve"].value
    assert len(curve) == 8  # up to 3 nats, which the second and the third exceed
    assert curve == pytest.approx([1 / 3] * 8)


def test_savings_by_position_are_those_worked_out_sentence_by_sentence():
    model = BagByPosition()
    report = evaluate(model, tokenised(), num_samples=2, seed=5)
    expected = by_hand(model, 2, 5)
    saved = [
        (foreign - own).mean(0)
        for own, foreign in zip(expected["own"], expected["foreign"], strict=True)
    ]
    profile = [
        float(torch.stack([row[place] for row in saved if len(row) > place]).mean())
        for place in range(6)
    ]
    np.testing.assert_allclose(report["position_savings"].value, profile, rtol=1e-4, atol=1e-5)
    length = []
    for own, foreign, ids in zip(
        expected["own_ends"], expected["foreign_ends"], SENTENCES, strict=True
    ):
        # L tokens that are not the end, and then the end
        goes_on = (1 - own.exp()).log() - (1 - foreign.exp()).log()
        length.append(float((len(ids) * goes_on + own - foreign).mean()))
    np.testing.assert_allclose(report.per_sentence["saved_length"], length, rtol=1e-4, atol=1e-5)
    assert report["length_saving"].value == pytest.approx(np.mean(length), rel=1e-4)
    np.testing.assert_allclose(
        report.per_sentence["saved_tokens"].sum(1), report.per_sentence["swap_gap"], atol=1e-4
    )


def test_first_words_ratio_is_left_out_where_z_saves_no_more_than_chance():
    figure = evaluate(BagByPosition(), tokenised(), seed=5)["first_words_ratio"]
    assert (figure.value, figure.standard_error) == (None, None)
    assert figure.reason == "z saves less than two standard errors"


def test_first_words_ratio_where_the_first_words_profit():
    class Reader(BagByPosition):
        """Knows the first of its four labels where z is the sentence's own."""

        def position_log_likelihood(self, batch, latents):
            labels, ends = self._of_labels(batch, latents)
            own = self.posterior(batch).mean
            nats = torch.zeros_like(labels)
            nats[..., 0] = -10 * (latents - own).square().sum(-1).clamp(max=1)
            return nats, ends

    model = Reader()
    with torch.no_grad():
        model.logvar.fill_(-20.0)
    sentences = [[4, 5, 6], [7, 7, 8], [9, 4, 10], [11, 8, 5]]
    report = evaluate(model, tokenised(sentences, [3] * 4))
    assert report["first_words_ratio"].value == pytest.approx(4.0, rel=1e-3)
    assert report["position_savings"].value[1:] == [0.0, 0.0, 0.0]


def test_arrays_per_sentence_are_in_the_order_of_the_data_set():
    model = BagOfWords()
    report = evaluate(model, tokenised(), seed=5, batch_size=2, iw_samples=4)
    expected = by_hand(model, 1, 5, num_weighted=4)
    arrays = report.per_sentence
    np.testing.assert_allclose(arrays["reconstruction_nll"], expected["nll"], rtol=1e-5)
    np.testing.assert_allclose(
        arrays["swap_gap"], expected["exchanged"] - expected["nll"], rtol=1e-4, atol=1e-5
    )
    np.testing.assert_allclose(arrays["iw_nll"], expected["iw_nll"], rtol=1e-5)
    np.testing.assert_allclose(arrays["effective_sample_size"], expected["size"], rtol=1e-4)
    np.testing.assert_allclose(arrays["posterior_mean"], expected["mean"], rtol=1e-5, atol=1e-6)


def test_without_a_count_of_words_there_is_no_word_perplexity():
    report = evaluate(BagOfWords(), tokenised(words=None))
    assert report["word_perplexity_bound"].value is None
    assert "num_words" in report["word_perplexity_bound"].reason
    assert report.num_words is None and report["token_perplexity_bound"].value > 1


def test_floor_is_compared_sentence_by_sentence():
    model = BagOfWords()
    floor = np.array([3.0, 1.0, 9.0, 2.0, 7.0, 1.0, 4.0])
    report = evaluate(model, tokenised(), floor=floor, iw_samples=3)
    assert report["exact_nll"].value == pytest.approx(floor.mean())
    for gap, bound in (("bound_gap", "negative_elbo"), ("iw_gap", "iw_nll")):
        difference = report.per_sentence[bound] - floor
        assert report[gap].value == pytest.approx(difference.mean())
        assert report[gap].standard_error == pytest.approx(difference.std(ddof=1) / 7**0.5)


def test_a_figure_below_the_floor_by_more_than_chance_is_told_from_a_bound():
    report = evaluate(BagOfWords(), tokenised(), floor=[1000.0] * 7)
    gap = report["bound_gap"]
    assert gap.value < -3 * gap.standard_error


# -- what is read and decoded, how often


@pytest.mark.parametrize(("num_samples", "iw_samples"), [(1, 50), (3, 50), (2, 2), (4, None)])
def test_each_sentence_is_encoded_once_and_decoded_exactly_as_often_as_asked(
    num_samples, iw_samples
):
    model = BagByPosition()
    evaluate(model, tokenised(), num_samples=num_samples, iw_samples=iw_samples, batch_size=3)
    assert model.encoded == 7
    # K of its own, S of which are the bound's, S of another sentence's and one at zero
    assert model.decoded == 7 * ((iw_samples or num_samples) + num_samples + 1)


def test_no_more_sequences_are_decoded_at_once_than_asked():
    for decode_size, batch_size in ((8, 2), (8, 64), (3, 64), (1, 2)):
        model = BagByPosition()
        sizes = {"batch_size": batch_size, "decode_size": decode_size}
        evaluate(model, tokenised(), num_samples=5, iw_samples=11, **sizes)
        assert model.most <= decode_size
        assert model.encoded == 7 and model.decoded == 7 * (11 + 5 + 1)


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"encoder": {"bidirectional": True}, "pooling": "max"},
        {"pooling": "mean_max"},
    ],
)
def test_no_figure_of_a_sequence_vae_depends_on_how_it_is_batched(config):
    torch.manual_seed(0)
    sizes = {"vocab_size": VOCABULARY, "embedding_size": 8, "hidden_size": 8}
    encoder = {"model_type": "seqvae_lstm_encoder", **sizes, **config.pop("encoder", {})}
    config = SeqVAEConfig(
        encoder=encoder,
        decoder={"model_type": "seqvae_lstm", **sizes, "input_dropout": 0.5},
        latent_size=4,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=EOS,
        unk_token_id=3,
        decoder_start_token_id=1,
        **config,
    )
    model = SeqVAEModel(config).train()
    with torch.no_grad():
        model.encoder.posterior.projection.weight.mul_(20)  # so that sentences differ in z
    counts = {"num_samples": 3, "iw_samples": 7}
    one = evaluate(model, tokenised(), batch_size=1, decode_size=1, **counts)
    assert one["active_units"].value > 0 and one["mutual_information"].value > 0.1
    left = Collator(pad_token_id=0, padding_side="left")
    # the last but one decodes 2 samples of each of the 7 sentences at once, and then 1
    for batch_size, decode_size, collator in ((3, 512, None), (64, 14, None), (64, 21, left)):
        sizes = {"batch_size": batch_size, "decode_size": decode_size, "collator": collator}
        assert_same_report(evaluate(model, tokenised(), **sizes, **counts), one)


def test_the_order_of_the_sentences_moves_no_term_of_the_encoder():
    order = [3, 0, 6, 2, 5, 1, 4]
    model = BagOfWords()
    report = evaluate(model, tokenised())
    other = evaluate(
        model, tokenised([SENTENCES[row] for row in order], [WORDS[row] for row in order])
    )
    for name in ("kl", "posterior_mean", "zero_nll"):
        np.testing.assert_allclose(
            other.per_sentence[name], report.per_sentence[name][order], rtol=1e-5, atol=1e-6
        )
    assert other["kl"].value == pytest.approx(report["kl"].value)


def test_the_seed_decides_the_figures():
    model, dataset = BagOfWords(), tokenised()
    first, again = evaluate(model, dataset, seed=1), evaluate(model, dataset, seed=1)
    assert first.figures == again.figures
    other = evaluate(model, dataset, seed=2)
    assert first["negative_elbo"] != other["negative_elbo"]


def test_evaluation_gives_back_every_mode_and_touches_no_global_generator():
    model = BagOfWords().train()
    model.add_module("frozen", nn.Dropout().eval())
    torch.manual_seed(3)
    state = torch.get_rng_state()
    evaluate(model, tokenised())
    assert (model.training, model.dropout.training, model.frozen.training) == (True, True, False)
    assert torch.equal(torch.get_rng_state(), state)


def test_the_mode_comes_back_after_an_error():
    model = BagOfWords().train()
    with pytest.raises(RuntimeError, match="no batch"), pytest.MonkeyPatch.context() as patch:

        def fail(*_):
            raise RuntimeError("no batch")

        patch.setattr(BagOfWords, "log_likelihood", fail)
        evaluate(model, tokenised())
    assert model.training and not torch.is_inference_mode_enabled()


# -- bad input


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"floor": [1.0] * 6}, "each of the 7 rows"),
        ({"floor": [-1.0] * 7}, "negate them"),
        ({"floor": [math.nan] * 7}, "row 0"),
        ({"batch_size": 0}, "batch_size must be 1 or more, got 0"),
        ({"decode_size": 0}, "decode_size must be 1 or more, got 0"),
        ({"num_samples": 0}, "num_samples must be 1 or more, got 0"),
        ({"iw_samples": 0}, r"iw_samples \(K\) must be at least num_samples = 1"),
        ({"iw_samples": 2, "num_samples": 3}, "at least num_samples = 3.*got 2"),
        ({"seed": -1}, "seed must be 0 or more, got -1"),
    ],
)
def test_an_argument_that_cannot_be_is_refused_before_anything_is_encoded(arguments, message):
    model = BagOfWords()
    with pytest.raises(ValueError, match=message):
        evaluate(model, tokenised(), **arguments)
    assert model.encoded == 0


def test_a_data_set_without_rows_columns_or_labels_is_refused():
    with pytest.raises(ValueError, match="data set is empty"):
        evaluate(BagOfWords(), tokenised([], []))
    with pytest.raises(ValueError, match=r"no column \['input_ids', 'labels', 'length'\]"):
        evaluate(BagOfWords(), Dataset.from_dict({"text": ["a"]}))
    columns = {"input_ids": [[1], [1]], "labels": [[2], []], "length": [1, 0]}
    with pytest.raises(ValueError, match="row 1 has no label"):
        evaluate(BagOfWords(), Dataset.from_dict(columns))


def test_a_diverged_model_is_refused_and_the_row_named():
    model = BagOfWords()
    with torch.no_grad():
        model.embedding[10] = math.nan  # in rows 2 and 6
    with pytest.raises(ValueError, match="posterior_mean is not finite at row 2"):
        evaluate(model, tokenised())


@pytest.mark.parametrize(
    ("logvar", "message"),
    [
        (math.nan, "posterior_logvar"),
        (math.inf, "posterior_logvar"),
        (2000.0, "reconstruction_nll"),
    ],
)
def test_a_logvar_that_is_not_finite_or_has_no_variance_is_refused(logvar, message):
    model = BagOfWords()
    with torch.no_grad():
        model.logvar[1] = logvar
    with pytest.raises(ValueError, match=f"{message} is not finite at row 0: the weights have"):
        evaluate(model, tokenised())


def test_a_decoder_that_is_sure_of_the_end_where_there_is_none_is_measured():
    """p(EOS) rounds to 1 at places where the text goes on: improbable, but finite."""

    class Hasty(BagByPosition):
        def position_log_likelihood(self, batch, latents):
            labels, ends = self._of_labels(batch, latents)
            is_word = (batch["labels"] != -100) & (batch["labels"] != EOS)
            return torch.where(is_word, -40.0 - labels.square(), 0.0), torch.zeros_like(ends)

    report = evaluate(Hasty(), tokenised())
    assert report["reconstruction_nll"].value > 40
    assert all(np.isfinite(values).all() for values in report.per_sentence.values())


def test_an_unknown_figure_is_an_error_that_lists_the_known_ones():
    with pytest.raises(KeyError, match="negative_elbo"):
        evaluate(BagOfWords(), tokenised())["nelbo"]
