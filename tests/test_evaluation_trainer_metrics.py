"""trainer_metrics: the latents' figures in a Trainer's evaluation, and what it holds meanwhile."""

import gc
import math

import pytest
import torch
from datasets import concatenate_datasets
from trainer_standins import VOCABULARY, arguments, rows, tiny_model
from transformers import Seq2SeqTrainer, Seq2SeqTrainingArguments, Trainer

from hf_seqvae import SeqVAETrainer
from hf_seqvae.data import Collator
from hf_seqvae.evaluation import evaluate_bound, trainer_metrics

NAMES = ("kl", "mutual_information", "active_units")


def spread_model():
    """Posteriors that differ enough for a mutual information."""
    model = tiny_model()
    with torch.no_grad():
        for parameter in model.encoder.posterior.parameters():
            parameter.mul_(8.0)
    return model


def stock(folder, model, data, **options) -> Trainer:
    return Trainer(
        model, arguments(folder), eval_dataset=data, data_collator=Collator(0), **options
    )


def bound(model, data) -> dict[str, float]:
    batch = Collator(0)([data[place] for place in range(len(data))])
    return evaluate_bound(model, [batch], seed=3)


@pytest.mark.parametrize("count", [16, 17])
def test_figures_are_those_of_the_bound_also_with_a_last_batch_of_one(tmp_path, count):
    model, data = spread_model(), rows(count)
    figures = stock(tmp_path, model, data, **trainer_metrics(seed=3)).evaluate()
    expected = bound(model, data)
    for name in NAMES:
        assert figures[f"eval_{name}"] == pytest.approx(expected[f"eval/{name}"], abs=1e-5)
    assert 0.1 < figures["eval_mutual_information"] < math.log(count)


def test_the_nll_is_that_at_the_posterior_mean_and_says_so(tmp_path):
    model, data = tiny_model(), rows(17)
    figures = stock(tmp_path, model, data, **trainer_metrics()).evaluate()
    with torch.no_grad():
        output = model.eval()(**Collator(0)([data[place] for place in range(17)]))
    mean = float(output.reconstruction_nll.mean())
    assert figures["eval_mean_latent_nll"] == pytest.approx(mean, abs=1e-5)
    assert "eval_elbo" not in figures and "eval_reconstruction_nll" not in figures


def test_seqvae_trainer_takes_them_beside_its_bound(tmp_path):
    model, data = spread_model(), rows(17)
    trainer = SeqVAETrainer(
        model, arguments(tmp_path), eval_dataset=data, eval_seed=3, **trainer_metrics(seed=3)
    )
    figures, alone = trainer.evaluate(), trainer.predict(data).metrics
    expected = bound(model, data)
    assert figures["eval_elbo"] == pytest.approx(expected["eval/elbo"], abs=1e-4)
    assert "eval_mean_latent_nll" in figures
    for name in NAMES:
        assert alone[f"test_{name}"] == pytest.approx(expected[f"eval/{name}"], abs=1e-5)


def test_no_more_than_one_batch_of_logits_lives_during_an_evaluation(tmp_path):
    """Numbers in tensors and arrays as wide as the vocabulary, when all batches have been seen."""
    data, held = rows(40), {}

    def holding(trainer, name):
        compute = trainer.compute_metrics

        def spy(prediction):
            tensors = [found for found in gc.get_objects() if issubclass(type(found), torch.Tensor)]
            held[name] = sum(
                math.prod(array.shape)
                for array in [*prediction.predictions, *tensors]
                if array.ndim == 3 and array.shape[-1] == VOCABULARY
            )
            return compute(prediction)

        trainer.compute_metrics = spy
        return trainer

    kept = trainer_metrics()
    holding(stock(tmp_path, tiny_model(), data, **kept), "terms").evaluate()
    nothing = {"compute_metrics": lambda prediction: {}}
    holding(stock(tmp_path, tiny_model(), data, **nothing), "all").evaluate()
    longest = max(data["length"])
    assert held["terms"] <= 8 * longest * VOCABULARY
    assert held["all"] >= 40 * longest * VOCABULARY


def test_a_row_without_labels_does_not_count(tmp_path):
    model, data = spread_model(), rows(9)
    empty = data.select([0]).map(lambda row: {"labels": [-100] * len(row["labels"])})
    whole, more = (
        stock(tmp_path, model, each, **trainer_metrics()).evaluate()
        for each in (data, concatenate_datasets([data, empty]))
    )
    for name in (*NAMES, "mean_latent_nll"):
        assert more[f"eval_{name}"] == pytest.approx(whole[f"eval_{name}"], abs=1e-5)


def test_one_sentence_has_a_kl_and_nothing_to_be_told_from(tmp_path):
    figures = stock(tmp_path, tiny_model(), rows(1), **trainer_metrics()).evaluate()
    assert math.isfinite(figures["eval_kl"])
    assert "eval_mutual_information" not in figures


def test_generated_tokens_and_logits_are_refused(tmp_path):
    settings = Seq2SeqTrainingArguments(
        str(tmp_path),
        predict_with_generate=True,
        generation_max_length=8,
        report_to=[],
        use_cpu=True,
    )
    generating = Seq2SeqTrainer(
        tiny_model(),
        settings,
        eval_dataset=rows(4),
        data_collator=Collator(0),
        **trainer_metrics(),
    )
    with pytest.raises(ValueError, match="predict_with_generate"):
        generating.evaluate()
    alone = {"compute_metrics": trainer_metrics()["compute_metrics"]}
    with pytest.raises(ValueError, match="Give Trainer both"):
        stock(tmp_path, tiny_model(), rows(4), **alone).evaluate()
