"""SeqVAETrainer: the objective's terms, accumulation, resume, and a bound at posterior samples."""

import math

import pytest
import torch
from torch.testing import assert_close
from trainer_standins import arguments, quiet_model, rows, tiny_model, weights
from transformers import EarlyStoppingCallback, Trainer

from hf_seqvae import (
    Objective,
    SeqVAELSTMConfig,
    SeqVAELSTMForCausalLM,
    SeqVAEModel,
    SeqVAETrainer,
)
from hf_seqvae.data import Collator
from hf_seqvae.engine import InnerLoop
from hf_seqvae.evaluation import evaluate_bound
from hf_seqvae.language_model import WithoutLatents
from hf_seqvae.objectives import ConstantSchedule, LinearSchedule, TargetRate


@pytest.mark.parametrize(("rows_each", "accumulation"), [(8, 1), (4, 2), (3, 3)])
def test_logged_terms_are_means_per_sentence_and_beta_follows_the_schedule(
    tmp_path, rows_each, accumulation
):
    data = rows(16)
    objective = Objective(LinearSchedule(0.0, 1.0, 4))
    trainer = SeqVAETrainer(
        quiet_model(),
        arguments(
            tmp_path,
            learning_rate=0.0,
            per_device_train_batch_size=rows_each,
            gradient_accumulation_steps=accumulation,
        ),
        objective=objective,
        train_dataset=data,
    )
    trainer.train()
    batch = Collator(0)([data[i] for i in range(16)])
    with torch.no_grad():
        output = trainer.model.eval()(**batch)
    logs = [entry for entry in trainer.state.log_history if "elbo" in entry]
    assert [entry["beta"] for entry in logs] == [0.25, 0.75, 1.0]
    for entry in logs:  # two steps are the whole data set
        assert_close(entry["reconstruction_nll"], float(output.reconstruction_nll.mean()))
        assert_close(entry["kl"], float(output.kl.sum(1).mean()))
        assert_close(entry["elbo"], -entry["reconstruction_nll"] - entry["kl"])


def test_a_second_training_logs_nothing_of_the_first(tmp_path):
    """Whose third step was not logged any more; nothing moves, so both log the same."""
    settings = arguments(tmp_path, learning_rate=0.0, max_steps=3)
    trainer = SeqVAETrainer(quiet_model(), settings, train_dataset=rows(24))
    first, second = [], []
    for logged in (first, second):
        trainer.train()
        logged += [entry["elbo"] for entry in trainer.state.log_history if "elbo" in entry]
    assert len(first) == 1 and second == first


@pytest.mark.parametrize("normalization", ["token", "sequence"])
@pytest.mark.parametrize(("rows_each", "accumulation"), [(4, 2), (3, 3), (1, 8)])
def test_accumulation_does_not_change_a_step(tmp_path, normalization, rows_each, accumulation):
    """3+3+2, 4+4 and eight single rows take the step of one batch of 8."""
    data = rows(8)
    after = []
    for batch_size, steps in ((8, 1), (rows_each, accumulation)):
        model = quiet_model(loss_normalization=normalization)
        settings = arguments(
            tmp_path,
            per_device_train_batch_size=batch_size,
            gradient_accumulation_steps=steps,
            max_steps=1,
            optim="sgd",
            max_grad_norm=0.0,
            learning_rate=1.0,
            lr_scheduler_type="constant",
        )
        SeqVAETrainer(model, settings, train_dataset=data).train()
        after.append(weights(model))
    for one, many in zip(*after, strict=True):
        assert_close(one, many, rtol=1e-5, atol=1e-6)


def test_a_resumed_run_ends_with_the_same_weights(tmp_path):
    """Word dropout and posterior samples on; the checkpoint lies in the middle of an epoch."""
    data = rows(40)
    whole = tiny_model(word_dropout=0.3)
    settings = arguments(tmp_path / "a", max_steps=9, save_strategy="steps", save_steps=7)
    SeqVAETrainer(whole, settings, train_dataset=data).train()
    resumed = tiny_model(seed=1, word_dropout=0.3)
    trainer = SeqVAETrainer(resumed, settings, train_dataset=data)
    trainer.train(resume_from_checkpoint=str(tmp_path / "a" / "checkpoint-7"))
    assert trainer.state.global_step == 9
    for one, other in zip(weights(whole), weights(resumed), strict=True):
        assert torch.equal(one, other)


def test_evaluate_is_the_bound_at_samples_of_the_seed(tmp_path):
    data = rows(20, seed=3)
    model = tiny_model()
    trainer = SeqVAETrainer(
        model, arguments(tmp_path), eval_dataset=data, eval_seed=5, num_eval_samples=2
    )
    figures = trainer.evaluate()
    batch = Collator(0)([data[i] for i in range(20)])
    expected = evaluate_bound(model, [batch], num_samples=2, seed=5)
    assert_close(figures["eval_elbo"], expected["eval/elbo"], rtol=1e-5, atol=1e-5)
    assert figures["eval_loss"] == -figures["eval_elbo"]
    assert figures["eval_elbo"] == trainer.evaluate()["eval_elbo"]
    with torch.no_grad():
        at_the_mean = model.eval()(**batch)
    assert figures["eval_elbo"] != pytest.approx(
        -float((at_the_mean.reconstruction_nll + at_the_mean.kl.sum(1)).mean()), abs=1e-4
    )


def test_the_best_model_by_the_bound_is_loaded_at_the_end_and_stopping_is_early(tmp_path):
    """At this learning rate the bound gets worse after the first evaluation, the best."""
    settings = arguments(
        tmp_path,
        max_steps=20,
        learning_rate=10.0,
        lr_scheduler_type="constant",
        max_grad_norm=0.0,
        optim="sgd",
        eval_strategy="steps",
        eval_steps=2,
        save_strategy="steps",
        save_steps=2,
        load_best_model_at_end=True,
        metric_for_best_model="eval_elbo",
        greater_is_better=True,
    )
    trainer = SeqVAETrainer(
        tiny_model(),
        settings,
        train_dataset=rows(32),
        eval_dataset=rows(16, seed=1),
        callbacks=[EarlyStoppingCallback(2)],
    )
    trainer.train()
    bounds = [entry["eval_elbo"] for entry in trainer.state.log_history if "eval_elbo" in entry]
    assert trainer.state.global_step == 6 and len(bounds) == 3
    assert trainer.state.best_metric == max(bounds) == bounds[0]
    assert trainer.evaluate()["eval_elbo"] == pytest.approx(max(bounds), abs=1e-5)
    best = SeqVAEModel.from_pretrained(trainer.state.best_model_checkpoint)
    again = SeqVAETrainer(best, arguments(tmp_path), eval_dataset=rows(16, seed=1))
    assert again.evaluate()["eval_elbo"] == max(bounds)


def test_compute_metrics_comes_beside_the_bound(tmp_path):
    trainer = SeqVAETrainer(
        tiny_model(),
        arguments(tmp_path, include_for_metrics=[]),
        eval_dataset=rows(10),
        compute_metrics=lambda prediction: {"rows": len(prediction.label_ids)},
    )
    figures = trainer.evaluate()
    assert figures["eval_rows"] == 10 and math.isfinite(figures["eval_elbo"])


def test_a_stock_trainer_works_on_the_model(tmp_path):
    for normalization in ("token", "sequence"):
        model = tiny_model(loss_normalization=normalization)
        before = weights(model)
        settings = arguments(tmp_path, gradient_accumulation_steps=2, max_steps=2)
        trainer = Trainer(
            model, settings, train_dataset=rows(32), eval_dataset=rows(8), data_collator=Collator(0)
        )
        assert math.isfinite(trainer.train().training_loss)
        assert math.isfinite(trainer.evaluate()["eval_loss"])
        assert not torch.equal(before[0], weights(model)[0])


def test_what_takes_the_labels_away_is_refused(tmp_path):
    with pytest.raises(ValueError, match="label_smoothing_factor=0.1"):
        SeqVAETrainer(tiny_model(), arguments(tmp_path, label_smoothing_factor=0.1))
    with pytest.raises(ValueError, match="Give an Objective"):
        SeqVAETrainer(tiny_model(), arguments(tmp_path), compute_loss_func=lambda *a, **k: None)


def test_rows_that_come_one_by_one_are_refused(tmp_path):
    stream = rows(4).to_iterable_dataset()
    trainer = SeqVAETrainer(tiny_model(), arguments(tmp_path), train_dataset=stream)
    with pytest.raises(ValueError, match="needs a datasets.Dataset, got IterableDataset"):
        trainer.train()
    with pytest.raises(ValueError, match="needs a datasets.Dataset, got IterableDataset"):
        trainer.evaluate(stream)


@pytest.mark.parametrize("strategy", ["sequential", "batch_rebalance"])
def test_a_sampling_strategy_that_length_buckets_are_not_is_refused(tmp_path, strategy):
    settings = arguments(tmp_path, train_sampling_strategy=strategy)
    with pytest.raises(ValueError, match=f"train_sampling_strategy='{strategy}' is not what"):
        SeqVAETrainer(tiny_model(), settings)
    with pytest.raises(ValueError, match="drop_last=True leaves rows out"):
        SeqVAETrainer(tiny_model(), arguments(tmp_path, dataloader_drop_last=True))
    for name in ("bf16_full_eval", "fp16_full_eval"):
        with pytest.raises(ValueError, match=f"{name}=True would evaluate at other weights"):
            SeqVAETrainer(tiny_model(), arguments(tmp_path, **{name: True}))


def test_group_by_length_is_what_the_length_buckets_do(tmp_path):
    for strategy in ("random", "group_by_length"):
        settings = arguments(tmp_path, train_sampling_strategy=strategy)
        trainer = SeqVAETrainer(tiny_model(), settings, train_dataset=rows(64))
        spans = [
            torch.stack([(row != -100).sum() for row in b["labels"]])
            for b in trainer.get_train_dataloader()
        ]
        assert len(spans) == 8 and max(int(span.max() - span.min()) for span in spans) <= 1


def test_a_language_model_is_sent_where_it_is_trained(tmp_path):
    language_model = SeqVAELSTMForCausalLM(SeqVAELSTMConfig(vocab_size=20, hidden_size=4))
    for model in (language_model, WithoutLatents(language_model)):
        with pytest.raises(ValueError, match="has no latents.*`model: language_model`"):
            SeqVAETrainer(model, arguments(tmp_path), train_dataset=rows(4))


def test_the_default_objective_is_the_models_own_loss(tmp_path):
    model = tiny_model(kl_weight=0.3, loss_normalization="sequence")
    trainer = SeqVAETrainer(model, arguments(tmp_path))
    assert trainer.objective == Objective(ConstantSchedule(0.3), normalization="sequence")
    batch = Collator(0)([rows(4)[i] for i in range(4)])
    output = model.eval()(**batch)
    assert_close(trainer.objective(output, 0)[0], output.loss)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"inner": InnerLoop()}, "aggressive updates .* one update a batch.*hf-seqvae train"),
        ({"encoder_updates": "aggressive"}, "aggressive updates"),
        ({"phases": []}, "a Trainer trains once"),
        ({"objective": Objective(TargetRate(3.0))}, "state that must be saved"),
    ],
)
def test_remedies_of_the_loop_itself_are_the_engines(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        SeqVAETrainer(quiet_model(), arguments(tmp_path), train_dataset=rows(4), **options)


def test_a_batch_of_one_sentence_is_refused_before_batch_normalisation_meets_it(tmp_path):
    model = tiny_model(posterior="batch_norm_gaussian")
    settings = arguments(tmp_path, per_device_train_batch_size=4, max_steps=1)
    with pytest.raises(ValueError, match="single sentence"):
        SeqVAETrainer(model, settings, train_dataset=rows(9)).train()
    SeqVAETrainer(model, settings, train_dataset=rows(8)).train()


@pytest.mark.parametrize(
    ("objective", "name"),
    [
        (Objective(mmd_weight=1.0), "mmd_weight"),
        (Objective(kl_term="capacity_batch_mean", capacity=2.0), "capacity_batch_mean"),
    ],
)
def test_what_reads_the_whole_batch_is_refused_where_it_is_cut(tmp_path, objective, name):
    def trainer(steps):
        settings = arguments(tmp_path, gradient_accumulation_steps=steps, max_steps=1)
        return SeqVAETrainer(quiet_model(), settings, objective=objective, train_dataset=rows(8))

    with pytest.raises(ValueError, match=f"{name}.*into 2 pieces"):
        trainer(2)
    trainer(1).train()
