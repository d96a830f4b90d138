"""The early warning in real trainings of the engine: what it catches, and what it leaves alone."""

import logging

import pytest

from hf_seqvae import recipe as recipes
from hf_seqvae.engine import train

TINY = [
    "data.num_train=2400",
    "data.num_validation=200",
    "data.num_test=2",
    "data.batch_size=32",
    "training.epochs=6",
    "training.learning_rate=0.02",
    "model.latent_size=4",
    "model.encoder={hidden_size: 24, embedding_size: 24}",
    "model.decoder={hidden_size: 24, embedding_size: 24}",
]
PLAIN = ["objective.kl_term=plain", "objective.free_bits=0"]
FREE = ["objective.free_bits=1.0"]
AT_ONCE = "objective.beta={schedule: constant, value: 1.0}"
MADE_TO_COLLAPSE = {
    "last state, beta 1 at once": ["model.pooling=last", *PLAIN, AT_ONCE],
    "max pooling, annealed": [*PLAIN, "objective.beta={schedule: linear, num_epochs: 5}"],
}
HEALTHY = {
    "free bits": [*FREE, "objective.beta={schedule: linear, num_epochs: 2}"],
    "free bits, beta 1 at once": [*FREE, AT_ONCE],
    "free bits, cycles": [
        *FREE,
        "objective.beta={schedule: cyclical, num_epochs: 6, num_cycles: 2}",
    ],
    "free bits, slowly annealed": [*FREE, "objective.beta={schedule: linear, num_epochs: 6}"],
    "small beta": [*PLAIN, "objective.beta={schedule: constant, value: 0.1}"],
}


@pytest.fixture
def trained(tmp_path, monkeypatch, caplog):
    """(overrides, seed) -> the warnings of a training of 450 steps on everyday sentences."""
    # a picture and a report a run would cost more than the training
    monkeypatch.setattr("hf_seqvae.engine.watchers.Curves._draw", lambda self: None)
    monkeypatch.setattr("hf_seqvae.engine.run._report", lambda *arguments: {})

    def run(overrides, seed=0, **options):
        caplog.clear()
        with caplog.at_level(logging.WARNING, "hf_seqvae.callbacks"):
            recipe = recipes.load("quickstart", [*TINY, *overrides, f"seed={seed}"])
            train(recipe, output_dir=tmp_path / "run", progress=False, **options)
        ours = [line for line in caplog.records if line.name.startswith("hf_seqvae.callbacks")]
        return [line.getMessage() for line in ours]

    return run


def test_a_collapse_is_warned_of_once_and_not_again_after_a_resume(trained, tmp_path):
    overrides = [*MADE_TO_COLLAPSE["last state, beta 1 at once"], "data.num_train=1200"]
    overrides += ["training.epochs=7", "training.keep_checkpoints=7"]
    (said,) = trained(overrides)
    assert "the latent looks collapsed" in said
    assert "Try free bits" in said
    step = int(said.split("step ")[1].split(":")[0])
    checkpoint = tmp_path / "run" / "checkpoints" / f"step-{step:08d}"
    # the validations after the warning come again, enough of them to warn of
    assert step <= 38 * 5
    assert trained(overrides, resume=checkpoint) == []


def test_a_healthy_run_is_left_alone(trained):
    assert trained(HEALTHY["free bits"]) == []


@pytest.mark.slow
def test_no_false_alarm_and_no_miss_in_21_trainings(trained):
    misses, false_alarms = [], []
    for seed in range(3):
        for name, overrides in MADE_TO_COLLAPSE.items():
            misses += [(name, seed)] if not trained(overrides, seed, resume=False) else []
        for name, overrides in HEALTHY.items():
            false_alarms += [(name, seed, said) for said in trained(overrides, seed, resume=False)]
    assert misses == []
    assert false_alarms == []
