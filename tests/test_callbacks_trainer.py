"""The early warning in real trainings of transformers' Trainer."""

import logging

import pytest
from trainer_standins import arguments, rows, tiny_model
from transformers import Trainer

from hf_seqvae import Objective
from hf_seqvae.callbacks import CollapseCallback
from hf_seqvae.data import Collator
from hf_seqvae.objectives import ConstantSchedule, LinearSchedule
from hf_seqvae.trainer import SeqVAETrainer


@pytest.fixture
def said(caplog):
    """The warnings so far."""
    caplog.set_level(logging.WARNING, "hf_seqvae.callbacks")

    def messages():
        ours = [line for line in caplog.records if line.name.startswith("hf_seqvae.callbacks")]
        return [line.getMessage() for line in ours]

    return messages


def trainer(folder, callback, *, beta=None, steps=60, **settings) -> SeqVAETrainer:
    settings = {"max_steps": steps, "eval_strategy": "steps", "eval_steps": 15} | settings
    return SeqVAETrainer(
        tiny_model(kl_weight=1.0),
        arguments(folder, **settings),
        objective=None if beta is None else Objective(beta),
        train_dataset=rows(64),
        eval_dataset=rows(32, seed=1),
        callbacks=[callback],
    )


def test_a_collapse_is_warned_of_once_with_the_cure(tmp_path, said):
    trainer(tmp_path, CollapseCallback()).train()
    assert len(said()) == 1
    assert "the latent looks collapsed" in said()[0]
    assert "--set objective.kl_term=free_bits_per_sentence_mask" in said()[0]


def test_a_resumed_training_does_not_say_it_again(tmp_path, said):
    saved = {"save_strategy": "steps", "save_steps": 30}
    trainer(tmp_path, CollapseCallback(), steps=60, **saved).train()
    assert len(said()) == 1
    trainer(tmp_path, CollapseCallback(), steps=90, **saved).train(resume_from_checkpoint=True)
    assert len(said()) == 1


def test_the_beta_that_is_logged_is_waited_for(tmp_path, said):
    beta = LinearSchedule(0.5, 1.0, 1000)
    trained = trainer(tmp_path, CollapseCallback(), beta=beta, logging_steps=15)
    trained.train()
    assert trained.evaluate()["eval_kl"] < 0.1
    assert said() == []


def test_a_schedule_that_is_given_is_judged_when_it_has_come_to_its_end(tmp_path, said):
    beta = LinearSchedule(0.0, 1.0, 50)  # 0.9 at step 45
    trainer(tmp_path, CollapseCallback(beta), beta=beta, steps=90).train()
    assert len(said()) == 1
    assert said()[0].startswith("step 60: ")


def test_a_latent_in_use_is_left_alone(tmp_path, said):
    beta = ConstantSchedule(0.001)
    trained = trainer(tmp_path, CollapseCallback(beta), beta=beta, steps=150, eval_steps=50)
    trained.train()
    assert trained.evaluate()["eval_kl"] > 1.0
    assert said() == []


def test_a_trainer_whose_evaluations_hold_no_kl_is_told_once(tmp_path, said):
    stock = Trainer(
        tiny_model(),
        arguments(tmp_path, eval_strategy="steps", eval_steps=2),
        train_dataset=rows(32),
        eval_dataset=rows(8, seed=1),
        data_collator=Collator(0),
        callbacks=[CollapseCallback()],
    )
    stock.train()
    assert len(said()) == 1
    assert "finds no eval_kl in the evaluation" in said()[0]
