"""Training: gradient checkpointing, torch.compile, and transformers' own Trainer."""

import pytest
import torch
from tiny import batch, lstm_decoder, lstm_encoder, model
from torch.testing import assert_close
from torch.utils.data import Dataset
from transformers import Trainer, TrainingArguments

from hf_seqvae.model.injection import INJECTIONS

CHECKPOINTED = {
    "lstm": lambda: model("lstm2", latent_injection=INJECTIONS, pooling="attention"),
    "bert-gpt2": lambda: model("bert", "gpt2"),
    "gpt2-llama": lambda: model("gpt2", "llama"),
}


def gradients(made, texts):
    made.zero_grad()
    torch.manual_seed(0)
    loss = made(**texts).loss
    loss.backward()
    return loss.detach(), {name: p.grad.clone() for name, p in made.named_parameters()}


LAYERS = ("SeqVAELSTMLayer", "GPT2Block", "LlamaDecoderLayer", "BertLayer")


def checkpoint(made, **kwargs):
    """By the name of transformers 5.23, or by that of the releases before it."""
    enable = getattr(made, "activation_checkpointing_enable", None)
    (enable or made.gradient_checkpointing_enable)(kwargs)


@pytest.mark.parametrize("reentrant", [False, True])
@pytest.mark.parametrize("left", [False, True])
@pytest.mark.parametrize("name", CHECKPOINTED)
def test_gradient_checkpointing_changes_no_gradient(name, left, reentrant):
    made, texts = CHECKPOINTED[name]().train(), batch(4, left=left)
    loss, expected = gradients(made, texts)
    checkpoint(made, use_reentrant=reentrant)
    layers, calls = [m for m in made.modules() if type(m).__name__ in LAYERS], []
    for layer in layers:
        inner = next(module for module in layer.modules() if not list(module.children()))
        inner.register_forward_pre_hook(lambda *_: calls.append(1))
    same, found = gradients(made, texts)
    assert len(calls) == 2 * len(layers)  # each ran again in the backward pass
    assert_close(same, loss)
    assert_close(found, expected)


def test_dropout_is_drawn_alike_when_a_layer_runs_again():
    made = model(lstm_encoder(input_dropout=0.3), lstm_decoder(output_dropout=0.3)).train()
    texts = batch(4)
    loss, expected = gradients(made, texts)
    checkpoint(made, use_reentrant=False)
    same, found = gradients(made, texts)
    assert_close(same, loss)
    assert_close(found, expected)


@pytest.mark.slow
# 2026-11, torch 2.13: dynamo looks at .grad of every tensor that it guards
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
@pytest.mark.parametrize(("encoder", "decoder"), [("lstm2", "lstm"), ("bert", "gpt2")])
def test_a_compiled_training_step_agrees_with_eager(encoder, decoder):
    """By aot_eager: the same graphs and the same autograd, without a compiler of the machine."""
    torch._dynamo.reset()
    made = model(encoder, decoder).train()
    compiled = torch.compile(made, backend="aot_eager")
    for texts in (batch(4), batch(4, left=True), batch(3, seed=1, extra=2)):
        results = []
        for call in (made, compiled):
            made.zero_grad()
            torch.manual_seed(0)
            loss = call(**texts).loss  # with draws of the posterior
            loss.backward()
            results.append((loss.detach(), [p.grad.clone() for p in made.parameters()]))
        assert_close(results[0], results[1], rtol=1e-4, atol=1e-6)
    torch._dynamo.reset()


class Rows(Dataset):
    def __init__(self, rows):
        self.texts = batch(rows)

    def __len__(self):
        return len(self.texts["labels"])

    def __getitem__(self, index):
        return {name: value[index] for name, value in self.texts.items()}


@pytest.mark.parametrize("normalization", ["token", "sequence"])
def test_a_stock_trainer_trains_the_model(normalization, tmp_path):
    made = model(loss_normalization=normalization, spread=0.1)
    settings = {
        "per_device_train_batch_size": 4,
        "gradient_accumulation_steps": 2,
        "max_steps": 12,
        "learning_rate": 0.05,
        "lr_scheduler_type": "constant",
        "logging_steps": 1,
        "save_steps": 12,
        "report_to": [],
        "use_cpu": True,
        "disable_tqdm": True,
        "seed": 0,
    }
    trainer = Trainer(
        made,
        TrainingArguments(str(tmp_path), **settings),
        train_dataset=Rows(16),
        eval_dataset=Rows(4),
    )
    assert trainer.model_accepts_loss_kwargs == (normalization == "token")
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert len(losses) == 12
    assert all(torch.isfinite(torch.tensor(losses)))
    assert losses[-1] < 0.9 * losses[0]
    assert torch.isfinite(torch.tensor(trainer.evaluate()["eval_loss"]))
    assert (tmp_path / "checkpoint-12" / "model.safetensors").is_file()


@pytest.mark.parametrize("normalization", ["token", "sequence"])
def test_a_stock_trainers_accumulated_step_is_the_step_of_the_whole_batch(normalization, tmp_path):
    steps = []
    for rows, accumulated in ((8, 1), (2, 4)):
        made = model(loss_normalization=normalization, kl_weight=0.5)
        # the noise of a posterior differs between batch shapes: keep to its mean
        made.encoder.posterior.forward = without_noise(made.encoder.posterior.forward)
        arguments = TrainingArguments(
            str(tmp_path),
            per_device_train_batch_size=rows,
            gradient_accumulation_steps=accumulated,
            max_steps=1,
            optim="sgd",
            learning_rate=1.0,
            lr_scheduler_type="constant",
            max_grad_norm=0.0,
            save_strategy="no",
            report_to=[],
            use_cpu=True,
            disable_tqdm=True,
            train_sampling_strategy="sequential",
        )
        Trainer(made, arguments, train_dataset=Rows(8)).train()
        steps.append(torch.cat([p.detach().flatten() for p in made.parameters()]))
    assert_close(steps[0], steps[1], rtol=1e-5, atol=1e-6)


def without_noise(forward):
    def quiet(pooled):
        q = forward(pooled)
        object.__setattr__(q, "rsample", lambda count, **_: q.mean.expand(count, *q.mean.shape))
        return q

    return quiet
