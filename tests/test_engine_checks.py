"""What an engine refuses before it begins: statistics of a batch that is not whole."""

import pytest
import torch
from engine_standins import MemoryLoader, make_engine, tiny_model

from hf_seqvae import Objective
from hf_seqvae.data import BucketBatchSampler
from hf_seqvae.engine.checks import check_engine, check_whole_batch
from hf_seqvae.objectives import ConstantSchedule

BATCH_MEAN = Objective(kl_term="capacity_batch_mean", capacity=2.0)
MMD = Objective(ConstantSchedule(), mmd_weight=1.0)


def check(model=None, objective=None, *, parts=1, processes=1, smallest=None):
    check_whole_batch(
        model or tiny_model(),
        [Objective(), objective or Objective()],
        num_micro_batches=parts,
        num_processes=processes,
        smallest_batch=smallest,
    )


def normalised():
    return tiny_model(posterior="batch_norm_gaussian")


def test_a_sum_over_sentences_is_cut_and_shared_as_one_likes():
    check(parts=4, processes=3, smallest=1)


@pytest.mark.parametrize("objective", [BATCH_MEAN, MMD])
def test_a_term_of_the_batch_is_refused_in_pieces(objective):
    with pytest.raises(ValueError, match="into 2 pieces"):
        check(objective=objective, parts=2)


def test_a_mean_is_gathered_over_processes_and_an_mmd_is_not():
    check(objective=BATCH_MEAN, processes=2)
    with pytest.raises(ValueError, match="mmd_weight reads .* 2 processes"):
        check(objective=MMD, processes=2)


def test_batch_normalisation_wants_whole_batches_of_two_or_more_on_one_process():
    check(normalised(), smallest=2)
    with pytest.raises(ValueError, match="posterior reads the whole batch.*into 3 pieces"):
        check(normalised(), parts=3)
    with pytest.raises(ValueError, match="Train on one process"):
        check(normalised(), processes=2)
    with pytest.raises(ValueError, match="one batch of each epoch has a single sentence"):
        check(normalised(), smallest=1)


def test_the_engine_itself_refuses_and_trains_what_fits(tmp_path):
    with pytest.raises(ValueError, match="posterior reads the whole batch"):
        make_engine(tmp_path, model=normalised(), gradient_accumulation_steps=2)
    with pytest.raises(ValueError, match="mmd_weight reads the whole batch"):
        make_engine(tmp_path, objective=MMD, gradient_accumulation_steps=2)
    loader = MemoryLoader()
    loader.smallest_batch = 1
    with pytest.raises(ValueError, match="single sentence"):
        make_engine(tmp_path, model=normalised(), loader=loader)
    engine = make_engine(tmp_path, model=normalised(), objective=MMD, epochs=1)
    assert engine.fit().finished
    assert all(torch.isfinite(value).all() for value in engine.trained.model.state_dict().values())


@pytest.mark.parametrize(("num_rows", "expected"), [(8, 4), (9, 1), (10, 2), (3, 3)])
def test_a_sampler_knows_its_smallest_batch(num_rows, expected):
    assert BucketBatchSampler([3] * num_rows, batch_size=4).smallest_batch == expected


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"halved": True, "evaluated": False}, "plateau_halving needs validations"),
        ({"aggressive": True, "evaluated": False}, "MI of validations"),
        ({"aggressive": True, "num_processes": 2}, "got 2 processes"),
        ({"num_phases": 2, "scheduled": True}, "each of the phases begins anew"),
    ],
)
def test_parts_that_do_not_go_together_are_refused(options, message):
    fitting = {"evaluated": True, "halved": False, "aggressive": False, "scheduled": False}
    fitting |= {"num_phases": 1, "num_processes": 1}
    check_engine(**fitting)
    with pytest.raises(ValueError, match=message):
        check_engine(**{**fitting, **options})
