"""Aggressive updates against a plain loop of He et al.'s rule, and when they end."""

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from engine_standins import MemoryLoader, make_engine, read_log, tiny_model, weights

from hf_seqvae import Objective
from hf_seqvae.engine import InnerLoop
from hf_seqvae.engine.aggressive import AggressiveUpdates, sides, still_lagging
from hf_seqvae.engine.step import TrainingStep
from hf_seqvae.objectives import ConstantSchedule

SILENT = {"dropout": 0.0, "sample_posterior": False}


def updates(model, inner, seed=1):
    step = TrainingStep(
        Accelerator(cpu=True),
        model,
        Objective(ConstantSchedule(0.5)),
        torch.optim.SGD(model.parameters(), lr=0.3),
        max_grad_norm=None,
        sample_posterior=False,
    )
    return step, AggressiveUpdates(step, MemoryLoader(), model, inner, seed=seed)


def by_hand(model, batch, inner, seed, step):
    """The inner loop written out: encoder-only SGD until the mean loss a word of a window rises."""
    generator, loader = np.random.default_rng([seed, step]), MemoryLoader()
    before, total, words = float("inf"), 0.0, 0
    for count in range(1, inner.max_updates + 1):
        output = model(**batch, sample_posterior=False)
        loss = output.reconstruction_nll.sum() + 0.5 * output.kl.sum()
        total, words = total + loss.item(), words + int(output.num_tokens.sum())
        gradient = torch.autograd.grad(
            loss / output.num_tokens.sum(), list(model.encoder.parameters())
        )
        with torch.no_grad():
            for parameter, slope in zip(model.encoder.parameters(), gradient, strict=True):
                parameter -= 0.3 * slope
        batch = loader.draw(generator)
        if count % inner.window == 0:
            if total / words > before:
                return count
            before, total, words = total / words, 0.0, 0
    return inner.max_updates


@pytest.mark.parametrize("inner", [InnerLoop(9, 3), InnerLoop(60, 2), InnerLoop(2, 2)])
def test_the_inner_loop_is_he_et_als_and_moves_the_encoder_alone(inner):
    model, copy = tiny_model().train(), tiny_model().train()
    start = weights(model)
    batch = next(iter(MemoryLoader()))
    _, aggressive = updates(model, inner)
    count = aggressive(batch, 5, 5)
    assert count == by_hand(copy, batch, inner, 1, 5)
    moved = {name for name, value in weights(model).items() if not torch.equal(value, start[name])}
    assert moved and all(name.startswith("encoder.") for name in moved)
    for name, value in weights(model).items():
        torch.testing.assert_close(value, copy.state_dict()[name], rtol=1e-5, atol=1e-6)
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_some_inner_loop_stops_early_because_its_loss_rose():
    model = tiny_model().train()
    _, aggressive = updates(model, InnerLoop(200, 2))
    assert aggressive(next(iter(MemoryLoader())), 0, 0) < 200


def test_the_decoders_turn_leaves_the_encoder_alone_and_a_joint_update_does_not():
    model = tiny_model().train()
    step, aggressive = updates(model, InnerLoop(3, 3))
    batch, start = next(iter(MemoryLoader())), weights(model)
    sums = make_sums(step)
    with aggressive.decoder_turn():
        step(batch, 0, 6, sums)
    moved = {name for name, value in weights(model).items() if not torch.equal(value, start[name])}
    assert moved and not any(name.startswith("encoder.") for name in moved)
    start = weights(model)
    step(batch, 1, 6, sums)
    moved = {name for name, value in weights(model).items() if not torch.equal(value, start[name])}
    assert any(name.startswith("encoder.") for name in moved)


def make_sums(step):
    from hf_seqvae.engine.log import LogSums

    return LogSums(step.accelerator.device)


def test_aggressive_updates_end_for_good_after_the_first_validation_with_less_information(tmp_path):
    information = iter([1.0, 1.2, 1.1, 5.0])

    def judged(model):
        return {"eval/elbo": -1.0, "eval/mutual_information": next(information)}

    engine = make_engine(tmp_path, epochs=4, evaluator=judged, inner=InnerLoop(4, 2), **SILENT)
    engine.fit()
    lines = read_log(tmp_path)
    assert [line["train/aggressive"] for line in lines if "train/aggressive" in line] == [1, 1, 0]
    inner = [line.get("train/inner_updates") for line in lines if "train/elbo" in line]
    last = next(i for i, line in enumerate(lines) if line.get("train/aggressive") == 0)
    trained = [line for line in lines[last:] if "train/elbo" in line]
    assert trained and all("train/inner_updates" not in line for line in trained)
    assert all(2 <= count <= 4 for count in inner if count is not None)


def test_equal_information_goes_on_and_none_is_an_error():
    assert still_lagging({"eval/mutual_information": 1.0}, None)
    assert still_lagging({"eval/mutual_information": 1.0}, 1.0)
    assert not still_lagging({"eval/mutual_information": 0.99}, 1.0)
    with pytest.raises(ValueError, match="needs two sentences"):
        still_lagging({"eval/elbo": -1.0}, 1.0)


def test_parts_that_share_a_weight_cannot_be_told_apart():
    config = {"tie_word_embeddings": True}
    with pytest.raises(ValueError, match="shares .*embed.*tie_word_embeddings=False"):
        sides(tiny_model(**config))
    with pytest.raises(ValueError, match="with an encoder, got Linear"):
        sides(torch.nn.Linear(2, 2))


def test_what_cannot_be_aggressive_is_refused(tmp_path):
    with pytest.raises(ValueError, match="MI of validations"):
        make_engine(tmp_path, inner=InnerLoop(), evaluator=None)
    with pytest.raises(ValueError, match="max_updates must be 1 or more"):
        InnerLoop(max_updates=0)
    with pytest.raises(ValueError, match="judged every 15 updates .* ends after 9"):
        InnerLoop(max_updates=9)
    with pytest.raises(ValueError, match="draw batches at random"):
        make_engine(tmp_path, inner=InnerLoop(), loader=iter([]))
