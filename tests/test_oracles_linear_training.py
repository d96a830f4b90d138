"""The linear VAE under the engine, SeqVAETrainer and a stock Trainer: a plain loop's weights."""

import math

import pytest
import torch
from accelerate import Accelerator
from datasets import Dataset
from torch.testing import assert_close
from trainer_standins import arguments
from transformers import Trainer

from hf_seqvae import Objective, SeqVAETrainer
from hf_seqvae.data import BucketBatchSampler, build_loader, row_lengths
from hf_seqvae.engine import Engine, Settings
from hf_seqvae.evaluation import evaluate_bound
from hf_seqvae.metrics import active_units
from hf_seqvae.objectives import ConstantSchedule
from hf_seqvae.oracles import LinearVAEConfig, LinearVAEModel, VectorCollator, linear_vae_optimum

ROWS, SIZE, STEPS, RATE = 24, 5, 6, 0.01
NORMALIZATIONS = ["token", "sequence"]


def inputs():
    """Vectors of five numbers, the first of which vary most."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(ROWS, SIZE, generator=generator) * torch.tensor([3.0, 2.0, 1.0, 0.5, 0.2])


def dataset() -> Dataset:
    rows = inputs().tolist()
    return Dataset.from_dict({"input_values": rows, "labels": rows, "length": [SIZE] * ROWS})


def fresh(**config) -> LinearVAEModel:
    torch.manual_seed(3)
    return LinearVAEModel(
        LinearVAEConfig(
            **{"input_size": SIZE, "latent_size": 3, "sigma2": 0.5, "kl_weight": 0.7} | config
        )
    )


def plain_loop(model):
    """Steepest descent, which shows the scale: the sum over all rows over what is counted."""
    batch = {"input_values": inputs(), "labels": inputs()}
    items = ROWS * SIZE if model.config.loss_normalization == "token" else ROWS
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE)
    for _ in range(STEPS):
        q = model.posterior(batch)
        nll = model.expected_reconstruction_nll(batch)
        loss = (nll.sum() + model.config.kl_weight * q.kl().sum()) / items
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model


def loader(batch_size=ROWS):
    rows = dataset()
    sampler = BucketBatchSampler(row_lengths(rows), batch_size=batch_size)
    return build_loader(rows, VectorCollator(), sampler)


def settings(folder, **changes):
    defaults = {
        "per_device_train_batch_size": ROWS,
        "max_steps": STEPS,
        "learning_rate": RATE,
        "lr_scheduler_type": "constant",
        "optim": "sgd",
        "max_grad_norm": 0.0,
    }
    return arguments(folder, **defaults | changes)


def assert_weights_are_close(model, expected):
    for (name, value), other in zip(model.named_parameters(), expected.parameters(), strict=True):
        assert_close(value, other, rtol=2e-5, atol=2e-6, msg=lambda text, name=name: name + text)


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_the_engine_takes_the_steps_of_a_plain_loop(tmp_path, normalization):
    config = {"analytic_elbo": True, "loss_normalization": normalization}
    model = fresh(**config)
    figures = {}

    def evaluator(trained):
        figures.update(evaluate_bound(trained, loader()))
        return figures

    Engine(
        model,
        Objective(ConstantSchedule(0.7), normalization=normalization),
        loader(),
        torch.optim.SGD(model.parameters(), lr=RATE),
        tmp_path,
        Settings(epochs=STEPS, gradient_accumulation_steps=2, max_grad_norm=None),
        accelerator=Accelerator(cpu=True),
        evaluator=evaluator,
    ).fit()
    assert_weights_are_close(model, plain_loop(fresh(**config)))
    assert math.isfinite(figures["eval/elbo"])
    loaded = LinearVAEModel.from_pretrained(tmp_path / "best")
    assert_weights_are_close(loaded, model)


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@pytest.mark.parametrize("trainer", [SeqVAETrainer, Trainer])
def test_both_trainers_take_the_steps_of_a_plain_loop(tmp_path, trainer, normalization):
    config = {"analytic_elbo": True, "loss_normalization": normalization}
    model = fresh(**config)
    collator = {"data_collator": VectorCollator()} if trainer is SeqVAETrainer else {}
    run = trainer(
        model=model,
        args=settings(tmp_path),
        train_dataset=dataset(),
        eval_dataset=dataset(),
        **collator,
    )
    run.train()
    assert_weights_are_close(model, plain_loop(fresh(**config)))
    assert math.isfinite(run.evaluate()["eval_loss"])


def test_the_bound_of_seqvae_trainer_is_a_sampled_one(tmp_path):
    model = fresh()
    run = SeqVAETrainer(
        model, settings(tmp_path), eval_dataset=dataset(), data_collator=VectorCollator()
    )
    figures = run.evaluate()
    batch = {"input_values": inputs(), "labels": inputs()}
    expected = evaluate_bound(model, [batch])
    assert figures["eval_elbo"] == pytest.approx(expected["eval/elbo"], rel=1e-5)
    with torch.no_grad():
        exact = -(model.expected_reconstruction_nll(batch) + model.posterior(batch).kl().sum(1))
    assert figures["eval_elbo"] == pytest.approx(float(exact.mean()), abs=3.0)
    assert figures["eval_elbo"] != pytest.approx(float(exact.mean()), abs=1e-4)


def test_posterior_samples_train_to_the_same_optimum():
    """One sample a vector in place of the expectation: noisier, and no other place."""
    rows = inputs() - inputs().mean(0)
    cov = (rows.T @ rows / ROWS).double()
    best = linear_vae_optimum(cov, 3, 0.5, 0.7)
    model = fresh(loss_normalization="sequence")
    optimizer = torch.optim.Adam(model.parameters(), lr=0.03)
    decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 1500)
    torch.manual_seed(0)
    batch = {"input_values": rows, "labels": rows}
    for _ in range(1500):
        optimizer.zero_grad()
        model.train()(**batch).loss.backward()
        optimizer.step()
        decay.step()
    with torch.no_grad():
        q = model.posterior(batch)
        rate = float(q.kl().sum(1).mean())
    assert active_units(q.mean) == best.active_units
    assert rate == pytest.approx(best.rate, rel=0.05)
