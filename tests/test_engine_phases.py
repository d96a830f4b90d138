"""Phases of a run: what each optimises, what it begins with, which weights are its best."""

import math

import pytest
import torch
from engine_standins import (
    MemoryLoader,
    evaluator,
    make_engine,
    read_log,
    tiny_model,
    two_phases,
    weights,
)
from safetensors.torch import load_file

from hf_seqvae import Objective
from hf_seqvae.engine import PlateauHalving
from hf_seqvae.engine.parts import reset_parts
from hf_seqvae.engine.phases import Phase, beta_of_run, phase_at
from hf_seqvae.objectives import ConstantSchedule, LinearSchedule

BATCHES = len(MemoryLoader())


def test_epochs_belong_to_phases_in_their_order():
    phases = [Phase(Objective(), 2), Phase(Objective(), 1), Phase(Objective(), 3)]
    assert [phase_at(phases, epoch) for epoch in range(7)] == [0, 0, 1, 2, 2, 2, 2]


def test_beta_of_the_run_counts_each_schedule_from_its_phase():
    phases = [
        Phase(Objective(ConstantSchedule(0.0)), 2),
        Phase(Objective(LinearSchedule(0.2, 1.0, 8)), 2),
    ]
    beta = beta_of_run(phases, 4)
    assert [beta(step) for step in (0, 7, 8, 12, 15, 99)] == pytest.approx(
        [0.0, 0.0, 0.2, 0.6, 0.9, 1.0]
    )


def test_the_log_shows_the_beta_of_each_phase(tmp_path):
    make_engine(tmp_path, phases=two_phases(), logging_steps=1).fit()
    betas = [line["train/beta"] for line in read_log(tmp_path) if "train/beta" in line]
    expected = [0.0] * BATCHES + [LinearSchedule(0.1, 1.0, 6)(step) for step in range(2 * BATCHES)]
    assert betas == pytest.approx(expected)


def test_a_phase_begins_from_the_best_weights_with_new_parts_and_a_fresh_optimizer(tmp_path):
    """By hand: run the first phase alone, put the new decoder in, and begin again."""
    phases = two_phases()
    engine = make_engine(tmp_path / "whole", phases=phases, dropout=0.0, sample_posterior=False)
    engine.fit()
    first = make_engine(
        tmp_path / "first", phases=phases[:1], epochs=1, dropout=0.0, sample_posterior=False
    )
    first.fit()
    model = first.accelerator.unwrap_model(first.trained.model)
    new = tiny_model(seed=7)
    reset_parts(model, new, ("decoder",))
    for name, value in weights(model).items():
        source = new.state_dict()[name] if not name.startswith("encoder.") else value
        assert torch.equal(value, source)
    loader = MemoryLoader()
    set_epoch = loader.set_epoch
    loader.set_epoch = lambda epoch, start=0: set_epoch(epoch + 1, start)
    second = make_engine(
        tmp_path / "second",
        model=model,
        objective=phases[1].objective,
        epochs=2,
        loader=loader,
        sample_posterior=False,
    )
    second.fit()
    for name, value in weights(engine).items():
        torch.testing.assert_close(value, weights(second)[name], rtol=0, atol=0)


def test_the_best_of_an_autoencoder_is_what_reconstructs_best_and_is_forgotten_after_it(tmp_path):
    scores = iter([(-9.0, 5.0), (-3.0, 6.0), (-8.0, 4.0), (-20.0, 7.0)])

    def judged(model):
        elbo, nll = next(scores)
        return {"eval/elbo": elbo, "eval/reconstruction_nll": nll}

    phases = [
        Phase(Objective(ConstantSchedule(0.0)), 3, by_reconstruction=True),
        Phase(Objective(), 1),
    ]
    engine = make_engine(
        tmp_path, phases=phases, epochs=4, evaluator=judged, keep_checkpoints=9, save_steps=None
    )
    seen = []
    enter = engine.phases.enter

    def watched(progress):
        seen.append((progress.best_score, progress.best_step))
        return enter(progress)

    engine.phases.enter = watched
    engine.fit()
    assert seen[1:] == [(-5.0, BATCHES), (-5.0, BATCHES), (-4.0, 3 * BATCHES)]
    assert (engine.progress.best_score, engine.progress.best_step) == (-20.0, 4 * BATCHES)


def test_a_phase_begins_from_the_best_and_not_the_last_weights_of_the_one_before(tmp_path):
    scores, begun = iter([-5.0, -9.0, -1.0]), []
    phases = [
        Phase(Objective(), 2),
        Phase(Objective(), 1, prepare=lambda m: begun.append(weights(m))),
    ]
    make_engine(
        tmp_path,
        phases=phases,
        evaluator=lambda model: {"eval/elbo": next(scores)},
        save_steps=None,
        keep_checkpoints=9,
    ).fit()
    best = load_file(tmp_path / f"checkpoints/step-{BATCHES:08}/model.safetensors")
    assert all(torch.equal(begun[0][name], value) for name, value in best.items())


def test_the_decays_of_one_phase_do_not_end_the_next(tmp_path):
    scores = iter([-1.0, -2.0, -3.0, -4.0, -5.0, -6.0])
    phases = [Phase(Objective(), 4), Phase(Objective(), 3)]
    engine = make_engine(
        tmp_path,
        phases=phases,
        epochs=7,
        learning_rate=0.5,
        optimizer="SGD",
        logging_steps=BATCHES,
        decay=PlateauHalving(patience=1, max_decays=2),
        evaluator=lambda model: {"eval/elbo": next(scores)},
    )
    progress = engine.fit()
    rates = [line["train/learning_rate"] for line in read_log(tmp_path) if "train/elbo" in line]
    # two decays end a phase: the first one after 3 of its 4 epochs, and the run with the second
    assert rates == [0.5, 0.5, 0.25, 0.5, 0.5, 0.25]
    assert progress.finished and math.isclose(progress.best_score, -4.0)


def test_phases_refuse_a_schedule_of_the_whole_run(tmp_path):
    def warmup(optimizer):
        return torch.optim.lr_scheduler.LinearLR(optimizer)

    with pytest.raises(ValueError, match="each of the phases begins anew"):
        make_engine(tmp_path, phases=two_phases(), scheduler=warmup)


def test_resetting_the_encoder_leaves_the_decoder_and_what_reads_z(tmp_path):
    model, new = tiny_model(seed=0), tiny_model(seed=7)
    before = weights(model)
    reset_parts(model, new, ("encoder",))
    for name, value in weights(model).items():
        source = new.state_dict() if name.startswith("encoder.") else before
        assert torch.equal(value, source[name])
    assert evaluator(model)["eval/elbo"] < 0
