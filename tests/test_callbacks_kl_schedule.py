"""KLScheduleCallback: a stock Trainer under the engine's schedules, step for step."""

import json

import pytest
import torch
from torch.testing import assert_close
from trainer_standins import arguments, quiet_model, rows, tiny_model, weights
from transformers import BertConfig, BertForMaskedLM, Trainer, TrainerCallback

from hf_seqvae import Objective, SeqVAETrainer
from hf_seqvae.callbacks import KLScheduleCallback
from hf_seqvae.data import Collator
from hf_seqvae.objectives import CyclicalSchedule, LinearSchedule, TargetRate

RISING = LinearSchedule(0.0, 2.0, 4)


class OneOrder:
    """Rows in the order they lie in, for two trainers that would batch them each its own way."""

    def _get_train_sampler(self, dataset=None):
        return torch.utils.data.SequentialSampler(self.train_dataset)


class StockTrainer(OneOrder, Trainer):
    pass


class InOrder(SeqVAETrainer):
    get_train_dataloader = Trainer.get_train_dataloader

    def _get_train_sampler(self, dataset=None):
        return torch.utils.data.SequentialSampler(self.train_dataset)


def stock(folder, model, beta, *, callbacks=(), **settings) -> Trainer:
    return StockTrainer(
        model,
        arguments(folder, **settings),
        train_dataset=rows(44),
        eval_dataset=rows(9, seed=1),
        data_collator=Collator(0),
        callbacks=[KLScheduleCallback(beta), *callbacks],
    )


@pytest.mark.parametrize("beta", [RISING, CyclicalSchedule(6, num_cycles=2)])
@pytest.mark.parametrize("normalization", ["token", "sequence"])
def test_a_stock_trainer_takes_the_steps_of_seqvae_trainer(tmp_path, beta, normalization):
    """Also under accumulation, of 4 + 4 rows; sgd, so that a wrong scale is a wrong step."""
    settings = {
        "per_device_train_batch_size": 4,
        "gradient_accumulation_steps": 2,
        "optim": "sgd",
        "learning_rate": 0.5,
        "max_steps": 5,
    }
    own = quiet_model(loss_normalization=normalization)
    InOrder(
        own,
        arguments(tmp_path, **settings),
        objective=Objective(beta, normalization=normalization),
        train_dataset=rows(44),
    ).train()
    kept = quiet_model(loss_normalization=normalization)
    stock(tmp_path, kept, beta, **settings).train()
    assert_close(weights(kept), weights(own), rtol=0, atol=1e-6)
    unscheduled = quiet_model(loss_normalization=normalization)
    stock(tmp_path, unscheduled, lambda step: 1.0, **settings).train()
    difference = max(
        float((one - other).abs().max())
        for one, other in zip(weights(unscheduled), weights(own), strict=True)
    )
    assert difference > 1e-4


def test_a_resumed_training_goes_on_with_the_beta_of_its_step(tmp_path):
    settings = {"max_steps": 5, "save_strategy": "steps", "save_steps": 2}
    whole = tiny_model(word_dropout=0.3)
    stock(tmp_path, whole, RISING, **settings).train()
    resumed = tiny_model(seed=1, word_dropout=0.3)
    again = stock(tmp_path, resumed, RISING, **settings)
    again.train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
    for one, other in zip(weights(whole), weights(resumed), strict=True):
        assert torch.equal(one, other)


def test_evaluation_and_checkpoints_know_nothing_of_it(tmp_path):
    """In the middle of a training at a beta far from the model's own."""
    seen = []

    class Listener(TrainerCallback):
        def on_evaluate(self, args, state, control, metrics, model, **kwargs):
            with torch.no_grad():
                batch = Collator(0)([rows(9, seed=1)[place] for place in range(8)])
                output = model.eval()(**batch)
            total = output.reconstruction_nll.sum() + 0.5 * output.kl.sum()
            seen.append(float(output.loss - total / output.num_tokens.sum()))

    settings = {"eval_strategy": "steps", "eval_steps": 2, "save_strategy": "steps"}
    settings |= {"save_steps": 2, "max_steps": 4}
    model = tiny_model(kl_weight=0.5)
    stock(tmp_path, model, lambda step: 100.0, callbacks=[Listener()], **settings).train()
    assert seen == pytest.approx([0.0, 0.0], abs=1e-6)
    for step in (2, 4):
        config = json.loads((tmp_path / f"checkpoint-{step}" / "config.json").read_text())
        assert config["kl_weight"] == 0.5
        assert (
            "schedule" not in (tmp_path / f"checkpoint-{step}" / "trainer_state.json").read_text()
        )


def test_the_model_is_given_back_as_it_was(tmp_path):
    model = quiet_model(kl_weight=0.5)
    batch = Collator(0)([rows(4)[place] for place in range(4)])
    trainer = stock(tmp_path, model, lambda step: 100.0, max_steps=1, learning_rate=0.0)
    before = model.train()(**batch).loss
    for _ in range(2):
        trainer.train()
        assert_close(model.train()(**batch).loss, before)


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")  # torch's own
def test_a_compiled_step_is_not_compiled_again_for_each_beta(tmp_path):
    """In batches of one shape, beta moves after the third step; the weights are those of eager."""

    def train(**settings):
        graphs, model = [], quiet_model()

        class Counter(TrainerCallback):
            def on_step_end(self, args, state, control, **kwargs):
                graphs.append(torch._dynamo.utils.counters["stats"]["unique_graphs"])

        StockTrainer(
            model,
            arguments(tmp_path, max_steps=5, **settings),
            train_dataset=rows(1).select([0] * 40),
            data_collator=Collator(0),
            callbacks=[KLScheduleCallback(LinearSchedule(0.2, 2.0, 2, delay=2)), Counter()],
        ).train()
        return graphs, weights(model)

    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    graphs, after = train(torch_compile=True, torch_compile_backend="eager")
    assert graphs[2] == graphs[4] > 0
    assert_close(after, train()[1], rtol=0, atol=1e-5)


def test_what_cannot_be_scheduled_is_refused(tmp_path):
    with pytest.raises(ValueError, match="target rate answers to the KL.*hf-seqvae train"):
        KLScheduleCallback(TargetRate(3.0))
    with pytest.raises(ValueError, match="config.kl_weight"):
        KLScheduleCallback(0.5)
    with pytest.raises(ValueError, match="label_smoothing_factor=0.1"):
        stock(tmp_path, tiny_model(), RISING, label_smoothing_factor=0.1).train()
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    other = BertForMaskedLM(BertConfig(vocab_size=20, intermediate_size=8, **sizes))
    with pytest.raises(ValueError, match="'seqvae' model, got 'bert'"):
        stock(tmp_path, other, RISING).train()
    with pytest.raises(ValueError, match=r"Objective\(beta=schedule\)"):
        SeqVAETrainer(tiny_model(), arguments(tmp_path), callbacks=[KLScheduleCallback(RISING)])
    trainer = SeqVAETrainer(tiny_model(), arguments(tmp_path))
    with pytest.raises(ValueError, match=r"Objective\(beta=schedule\)"):
        trainer.add_callback(KLScheduleCallback(RISING))
