"""The plateau rule against the literature's own loop, and what a decay does to a run."""

import random

import pytest
import torch
from engine_standins import assert_same_weights, make_engine, read_log, weights
from safetensors.torch import load_file

from hf_seqvae.engine import PlateauHalving


def decays_of_the_literature(losses, patience, max_decays, start_epoch):
    """Epochs of the decays and the last epoch, as text.py of arXiv 1901.05534 counts them."""
    reference, not_improved, decays = 1e4, 0, []
    for epoch, loss in enumerate(losses):
        if loss > reference:
            not_improved += 1
            if not_improved >= patience and epoch >= start_epoch:
                reference, not_improved = loss, 0
                decays.append(epoch)
        else:
            reference, not_improved = loss, 0
        if len(decays) == max_decays:
            break
    return decays, epoch


@pytest.mark.parametrize("seed", range(20))
def test_decays_fall_where_the_literature_has_them(seed):
    draw = random.Random(seed)
    losses = [100 - 0.1 * epoch + draw.gauss(0, 1) for epoch in range(40)]
    patience, max_decays, start_epoch = draw.choice([1, 2, 5]), 3, draw.choice([0, 5, 15])
    rule = PlateauHalving(patience, max_decays, start_epoch)
    decays = []
    for epoch, loss in enumerate(losses):
        if rule.update(-loss, epoch):
            decays.append(epoch)
        if rule.finished:
            break
    assert (decays, epoch) == decays_of_the_literature(losses, patience, max_decays, start_epoch)


def test_a_saved_rule_goes_on_counting():
    first = PlateauHalving(patience=2)
    first.update(-1.0, 0)
    first.update(-2.0, 1)
    second = PlateauHalving(patience=2)
    second.load_state_dict(first.state_dict())
    assert second.update(-2.0, 2) and second.num_decays == 1


def test_a_decay_halves_the_rate_goes_back_to_the_best_and_forgets_the_optimiser_state(tmp_path):
    elbos = iter([-1.0, -2.0, -3.0, -0.5])
    states = []

    def scripted(model):
        states.append(weights(model))
        return {"eval/elbo": next(elbos)}

    engine = make_engine(
        tmp_path,
        evaluator=scripted,
        decay=PlateauHalving(patience=2),
        epochs=3,
        save_steps=None,
        keep_checkpoints=1,
    )
    engine.fit()
    # the checkpoint after the decay holds the weights of the first validation, and no moments
    kept = tmp_path / "checkpoints" / "step-00000012"
    assert_same_weights(weights(engine), states[0])
    assert_same_weights(load_file(kept / "model.safetensors"), states[0])
    state = torch.load(kept / "training_state.pt", weights_only=True)["optimizer"]
    assert state["state"] == {} and state["param_groups"][0]["lr"] == 0.5e-2


def test_training_ends_after_the_last_decay(tmp_path):
    elbos = iter([-1.0, -2.0, -3.0, -4.0, -5.0])
    progress = make_engine(
        tmp_path,
        evaluator=lambda model: {"eval/elbo": next(elbos)},
        decay=PlateauHalving(patience=1, max_decays=2, factor=0.1),
        epochs=50,
        optimizer="SGD",
        learning_rate=1.0,
    ).fit()
    rates = [line["train/learning_rate"] for line in read_log(tmp_path) if "train/elbo" in line]
    # decays after epochs 2 and 3
    assert progress.finished and progress.epoch == 3
    assert rates[0] == 1.0 and rates[-1] == pytest.approx(0.1)


def test_the_rule_without_validation_data_is_refused(tmp_path):
    with pytest.raises(ValueError, match="plateau_halving needs validations"):
        make_engine(tmp_path, evaluator=None, decay=PlateauHalving())


@pytest.mark.parametrize("settings", [{"patience": 0}, {"max_decays": 0}, {"factor": 1.0}])
def test_a_setting_out_of_range_is_refused_by_name(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        PlateauHalving(**settings)
