"""Rank correlations of dispersion with what is left of the latents at the end."""

import pytest
from study_standins import finished, results_of, small_study

from hf_seqvae.study import predictions

POOLINGS = ("last", "mean", "max", "abs_max")


def line(epoch, variance):
    return {"epoch": epoch, "eval/elbo": -30.0, "eval/pooled_variance": variance}


@pytest.fixture
def results(tmp_path):
    """4 runs of one seed: KL rises with tr Cov at init and falls with it after an epoch."""
    study = small_study(tmp_path, names=POOLINGS, seeds=[0])
    return [
        finished(
            one,
            [30.0],
            kl=float(place),
            mutual_information=1.0,
            initial_pooled_variance=10.0 * place,
            validations=(line(1.0, -place), line(2.0, [1.0, 0.0, 3.0, 2.0][place])),
        )
        for place, one in enumerate(results_of(study))
    ]


def found(results, statistic, when, outcome):
    known = predictions(results)
    return next(
        one for one in known if (one.statistic, one.when, one.outcome) == (statistic, when, outcome)
    )


@pytest.mark.parametrize(("when", "rho"), [("init", 1.0), ("epoch 1", -1.0), ("epoch 2", 0.6)])
def test_each_time_has_its_own_correlation(results, when, rho):
    # epoch 2: squared rank distances 1 + 1 + 1 + 1, so 1 - 6 * 4 / (4 * 15)
    one = found(results, "pooled_variance", when, "kl")
    assert (one.n, one.correlation.value) == (4, pytest.approx(rho))


def test_what_is_the_same_for_all_runs_predicts_nothing(results):
    assert found(results, "pooled_variance", "init", "mutual_information").correlation is None
    assert found(results, "pooled_mean_cosine", "end", "kl").correlation is None


def test_three_runs_are_too_few(results):
    one = found(results[:3], "pooled_variance", "init", "kl")
    assert (one.n, one.correlation) == (3, None)


def test_runs_without_latents_or_unfinished_are_left_out(results, tmp_path):
    study = small_study(tmp_path, names=("mean_max", "first"), seeds=[0])
    model, unfinished = results_of(study)
    more = [*results, finished(model, [29.0], exact=True), unfinished]
    assert found(more, "pooled_variance", "init", "kl").n == 4


def test_a_time_that_no_log_knows_is_left_out(results):
    times = {one.when for one in predictions(results) if one.statistic == "pooled_mean_cosine"}
    assert times == {"init", "end"}
