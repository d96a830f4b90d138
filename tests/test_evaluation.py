"""Evaluation: each figure against the sentences worked out one by one, and over processes."""

import json
import math
import threading
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from datasets import Dataset
from torch import nn
from torch.distributions import Normal, kl_divergence

from hf_seqvae import SeqVAEConfig, SeqVAEModel
from hf_seqvae.data.collate import Collator
from hf_seqvae.evaluation import evaluate, evaluate_bound
from hf_seqvae.metrics import exchange_partners, mutual_information, row_noise
from hf_seqvae.model.posterior import DiagonalGaussian

VOCABULARY, LATENT, EOS = 12, 3, 2
SENTENCES = [[4, 5, 6], [7], [8, 9, 4, 4, 10], [5, 5], [11, 6, 7, 8], [9], [10, 11, 4]]
WORDS = [2, 1, 5, 2, 3, 1, 3]


class BagOfWords(nn.Module):
    """A text VAE to be worked out by hand: p(x|z) draws each label from softmax(z W)."""

    def __init__(self, seed: int = 0):
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.embedding = nn.Parameter(torch.randn(VOCABULARY, LATENT, generator=generator))
        self.output = nn.Parameter(torch.randn(LATENT, VOCABULARY, generator=generator))
        self.logvar = nn.Parameter(torch.tensor([-1.0, 0.0, -3.0]))
        self.dropout = nn.Dropout(0.5)

    def encoder(self, input_ids, attention_mask):
        mask = attention_mask.unsqueeze(-1)
        pooled = (self.embedding[input_ids] * mask).sum(1) / mask.sum(1)
        pooled = self.dropout(pooled)
        return SimpleNamespace(
            pooled=pooled,
            posterior_mean=2 * pooled,
            posterior_logvar=self.logvar.expand_as(pooled),
        )

    def posterior(self, batch):
        encoded = self.encoder(batch["input_ids"], batch["attention_mask"])
        return DiagonalGaussian(encoded.posterior_mean, encoded.posterior_logvar)

    def log_likelihood(self, batch, latents):
        labels = batch["labels"]
        log_probs = (latents @ self.output).log_softmax(-1)  # (S, B, V)
        index = labels.clamp(min=0).expand(len(latents), *labels.shape)
        return (log_probs.gather(-1, index) * (labels != -100)).sum(-1)


def tokenised(sentences=SENTENCES, words=WORDS) -> Dataset:
    columns = {
        "input_ids": [[1, *ids, EOS] for ids in sentences],
        "labels": [[*ids, EOS] for ids in sentences],
        "length": [len(ids) + 1 for ids in sentences],
    }
    return Dataset.from_dict(columns | ({"num_words": words} if words else {}))


def by_hand(model: BagOfWords, num_samples: int, seed: int) -> dict[str, torch.Tensor]:
    """Terms of each sentence, one sentence and one sample at a time, without padding."""
    embedding, output = model.embedding.detach(), model.output.detach()
    mean = torch.stack([2 * embedding[[1, *ids, EOS]].mean(0) for ids in SENTENCES])
    deviation = (0.5 * model.logvar.detach()).exp()
    z = mean + deviation * row_noise(range(len(SENTENCES)), num_samples, LATENT, seed=seed)

    def nll(ids, latent):
        log_probs = (latent @ output).log_softmax(-1)
        return -sum(log_probs[label] for label in [*ids, EOS])

    partners = exchange_partners(len(SENTENCES), seed=seed).tolist()
    own = [[nll(ids, z[s, i]) for i, ids in enumerate(SENTENCES)] for s in range(num_samples)]
    other = [
        [nll(ids, z[s, partners[i]]) for i, ids in enumerate(SENTENCES)] for s in range(num_samples)
    ]
    own, other = torch.tensor(own).mean(0), torch.tensor(other).mean(0)
    kl = kl_divergence(Normal(mean, deviation), Normal(0.0, 1.0)).sum(1)
    logvar = model.logvar.detach().expand_as(mean)
    return {"nll": own, "gap": other - own, "kl": kl, "mean": mean, "logvar": logvar, "z": z}


def batches_of(dataset: Dataset, batch_size: int, rows=None, index=True):
    rows = list(range(len(dataset))) if rows is None else rows
    for start in range(0, len(rows), batch_size):
        part = rows[start : start + batch_size]
        batch = Collator(pad_token_id=0)([dataset[row] for row in part])
        yield batch | ({"index": torch.tensor(part)} if index else {})


@pytest.mark.parametrize("num_samples", [1, 3])
def test_figures_are_those_worked_out_sentence_by_sentence(num_samples):
    model = BagOfWords()
    report = evaluate(model, tokenised(), num_samples=num_samples, seed=5)
    expected = by_hand(model, num_samples, 5)
    bound = expected["nll"] + expected["kl"]
    tokens, words = sum(map(len, SENTENCES)) + 7, sum(WORDS) + 7
    values = {
        "negative_elbo": bound.mean(),
        "elbo": -bound.mean(),
        "reconstruction_nll": expected["nll"].mean(),
        "kl": expected["kl"].mean(),
        "swap_gap": expected["gap"].mean(),
        "mutual_information": mutual_information(
            expected["mean"], expected["logvar"], expected["z"]
        ),
        "word_perplexity_bound": (bound.sum() / words).exp(),
        "token_perplexity_bound": (bound.sum() / tokens).exp(),
        "active_units": (expected["mean"].var(0) >= 0.01).sum(),
        "pooled_variance": torch.cov(expected["mean"].T / 2, correction=0).trace(),
        "posterior_mean_variance": torch.cov(expected["mean"].T, correction=0).trace(),
    }
    for name, value in values.items():
        assert report[name].value == pytest.approx(float(value), rel=1e-5), name
    assert sum(report["kl_per_dimension"].value) == pytest.approx(report["kl"].value)
    assert report["negative_elbo"].standard_error == pytest.approx(
        float(bound.std()) / math.sqrt(7), rel=1e-5
    )
    assert report["mutual_information"].cap == math.log(7)
    assert (report.num_sentences, report.num_tokens, report.num_words) == (7, tokens, sum(WORDS))


def test_arrays_per_sentence_are_in_the_order_of_the_data_set():
    model = BagOfWords()
    report = evaluate(model, tokenised(), seed=5, batch_size=2)
    expected = by_hand(model, 1, 5)
    arrays = report.per_sentence
    np.testing.assert_allclose(arrays["reconstruction_nll"], expected["nll"], rtol=1e-5)
    np.testing.assert_allclose(arrays["swap_gap"], expected["gap"], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(arrays["posterior_mean"], expected["mean"], rtol=1e-5, atol=1e-6)


def flat(report) -> np.ndarray:
    return np.concatenate([np.atleast_1d(figure.value) for figure in report.figures.values()])


@pytest.mark.parametrize("encoder", [{}, {"bidirectional": True}])
def test_no_figure_of_a_sequence_vae_depends_on_the_batch_size(encoder):
    torch.manual_seed(0)
    sizes = {"vocab_size": VOCABULARY, "embedding_size": 8, "hidden_size": 8}
    config = SeqVAEConfig(
        encoder={"model_type": "seqvae_lstm_encoder", **sizes, **encoder},
        decoder={"model_type": "seqvae_lstm", **sizes, "input_dropout": 0.5},
        latent_size=4,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=EOS,
        unk_token_id=3,
        decoder_start_token_id=1,
    )
    model = SeqVAEModel(config).train()
    with torch.no_grad():
        model.encoder.posterior.projection.weight.mul_(20)  # so that sentences differ in z
    one = evaluate(model, tokenised(), num_samples=2, batch_size=1)
    assert one["active_units"].value > 0 and one["mutual_information"].value > 0.1
    for batch_size in (3, 64):
        report = evaluate(model, tokenised(), num_samples=2, batch_size=batch_size)
        np.testing.assert_allclose(flat(report), flat(one), rtol=1e-5, atol=1e-5)


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
    evaluate_bound(model, batches_of(tokenised(), 3))
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


def test_one_sentence_gives_reasons_in_place_of_comparisons():
    report = evaluate(BagOfWords(), tokenised([[4, 5]], [2]))
    undefined = {name for name, figure in report.figures.items() if figure.value is None}
    assert undefined == {"mutual_information", "active_units", "swap_gap"} | {
        f"{features}_{statistic}"
        for features in ("pooled", "posterior_mean")
        for statistic in ("variance", "relative_variance", "mean_cosine")
    }
    assert all("one sentence" in report[name].reason for name in undefined)
    assert report["negative_elbo"].value > 0 and report["negative_elbo"].standard_error is None
    assert "NaN" not in report.to_json()


def test_without_a_count_of_words_there_is_no_word_perplexity():
    report = evaluate(BagOfWords(), tokenised(words=None))
    assert report["word_perplexity_bound"].value is None
    assert "num_words" in report["word_perplexity_bound"].reason
    assert report.num_words is None and report["token_perplexity_bound"].value > 1


def test_floor_is_compared_sentence_by_sentence():
    model = BagOfWords()
    floor = np.array([3.0, 1.0, 9.0, 2.0, 7.0, 1.0, 4.0])
    report = evaluate(model, tokenised(), floor=floor)
    difference = report.per_sentence["negative_elbo"] - floor
    assert report["exact_nll"].value == pytest.approx(floor.mean())
    assert report["bound_gap"].value == pytest.approx(difference.mean())
    assert report["bound_gap"].standard_error == pytest.approx(difference.std(ddof=1) / 7**0.5)


def test_a_figure_below_the_floor_by_more_than_chance_is_told_from_a_bound():
    report = evaluate(BagOfWords(), tokenised(), floor=[1000.0] * 7)
    gap = report["bound_gap"]
    assert gap.value < -3 * gap.standard_error


@pytest.mark.parametrize(
    ("floor", "message"),
    [([1.0] * 6, "each of the 7 rows"), ([-1.0] * 7, "negate them"), ([math.nan] * 7, "row 0")],
)
def test_a_floor_that_cannot_be_one_is_refused(floor, message):
    with pytest.raises(ValueError, match=message):
        evaluate(BagOfWords(), tokenised(), floor=floor)


def test_an_empty_data_set_is_refused():
    with pytest.raises(ValueError, match="data set is empty"):
        evaluate(BagOfWords(), tokenised([], []))


def test_a_data_set_that_was_not_tokenised_is_refused():
    with pytest.raises(ValueError, match=r"no column \['input_ids', 'labels', 'length'\]"):
        evaluate(BagOfWords(), Dataset.from_dict({"text": ["a"]}))


def test_a_batch_size_of_zero_is_refused():
    with pytest.raises(ValueError, match="batch_size must be 1 or more, got 0"):
        evaluate(BagOfWords(), tokenised(), batch_size=0)


def test_a_diverged_model_is_refused_and_the_row_named():
    model = BagOfWords()
    with torch.no_grad():
        model.embedding[10] = math.nan  # in rows 2 and 6
    with pytest.raises(ValueError, match="not finite at row 2"):
        evaluate(model, tokenised())


def test_report_as_json_holds_every_figure_with_its_definition(tmp_path):
    report = evaluate(BagOfWords(), tokenised(), seed=4, num_samples=2)
    report.to_json(tmp_path / "report.json")
    read = json.loads((tmp_path / "report.json").read_text())
    assert read["settings"] == {"seed": 4, "num_samples": 2}
    assert read["figures"]["negative_elbo"]["value"] == report["negative_elbo"].value
    assert all(figure["definition"] for figure in read["figures"].values())
    assert "2 posterior samples" in read["figures"]["negative_elbo"]["definition"]
    assert "per_sentence" not in read


def test_rows_of_the_table_name_values_errors_and_caps():
    rows = {row[0]: row[1:] for row in evaluate(BagOfWords(), tokenised(words=None)).rows()}
    value, error, cap, definition = rows["mutual_information"]
    assert cap == "1.946" and 0 < float(value) <= 1.946 and float(error) > 0
    assert "all 7 sentences" in definition
    assert rows["active_units"][:3] == ("3", "", "3")
    assert " to " in rows["kl_per_dimension"][0]
    assert rows["word_perplexity_bound"][0] == "-"
    assert rows["word_perplexity_bound"][3].startswith("undefined: ")


def test_an_unknown_figure_is_an_error_that_lists_the_known_ones():
    with pytest.raises(KeyError, match="negative_elbo"):
        evaluate(BagOfWords(), tokenised())["nelbo"]


@pytest.mark.parametrize("index", [True, False])
@pytest.mark.parametrize("num_samples", [1, 2])
def test_bound_of_the_training_loop_is_the_reports(index, num_samples):
    model, dataset = BagOfWords(), tokenised()
    report = evaluate(model, dataset, seed=9, num_samples=num_samples)
    bound = evaluate_bound(
        model, batches_of(dataset, 3, index=index), seed=9, num_samples=num_samples
    )
    names = ["elbo", "reconstruction_nll", "kl", "mutual_information", "active_units"]
    assert list(bound) == [f"eval/{name}" for name in names]
    for name in names:
        assert bound[f"eval/{name}"] == pytest.approx(report[name].value, rel=1e-5), name


def test_rows_without_labels_do_not_count():
    model, dataset = BagOfWords(), tokenised()

    def with_empty_rows():
        for batch in batches_of(dataset, 3):
            batch = {name: torch.cat([value, value[:1]]) for name, value in batch.items()}
            batch["labels"][-1] = -100
            batch["index"][-1] = -1
            yield batch

    expected = evaluate_bound(model, batches_of(dataset, 3))
    assert evaluate_bound(model, with_empty_rows()) == pytest.approx(expected, rel=1e-6)


def bounds_of_processes(shares: list[list[dict]]) -> list[dict[str, float]]:
    """evaluate_bound on one thread for each share, joined by a gather that demands equal shapes."""
    barrier = threading.Barrier(len(shares), timeout=30)
    posts: list = [None] * len(shares)
    results: list = [None] * len(shares)

    def gather_of(rank):
        def gather(tensor):
            posts[rank] = tensor
            barrier.wait()
            assert len({value.shape for value in posts}) == 1, "all_gather needs equal shapes"
            gathered = torch.cat(posts)
            barrier.wait()
            return gathered

        return gather

    def run(rank):
        model = BagOfWords()
        results[rank] = evaluate_bound(model, shares[rank], seed=9, gather=gather_of(rank))

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(len(shares))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def test_bound_is_exact_over_processes_with_uneven_and_repeated_rows():
    dataset = tokenised()
    empty = next(batches_of(dataset, 1))
    empty["labels"][:] = -100
    shares = [
        list(batches_of(dataset, 2, rows=[3, 6])),
        [*batches_of(dataset, 2, rows=[4, 5]), empty],
        list(batches_of(dataset, 2, rows=[2, 0, 3, 1])),  # 3 a second time
        [],
        [empty],
    ]
    alone = evaluate_bound(BagOfWords(), batches_of(dataset, 64), seed=9)
    for result in bounds_of_processes(shares):
        assert result == pytest.approx(alone, rel=1e-6)


def test_bound_over_processes_needs_the_row_numbers():
    with pytest.raises(ValueError, match="need an `index`"):
        evaluate_bound(BagOfWords(), batches_of(tokenised(), 3, index=False), gather=lambda x: x)


def test_bound_of_no_sentence_is_refused():
    with pytest.raises(ValueError, match="nothing to evaluate"):
        evaluate_bound(BagOfWords(), [])


def test_bound_of_one_sentence_leaves_comparisons_out():
    bound = evaluate_bound(BagOfWords(), batches_of(tokenised(), 1, rows=[2]))
    assert sorted(bound) == ["eval/elbo", "eval/kl", "eval/reconstruction_nll"]
