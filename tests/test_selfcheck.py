"""The self-check: what passes, what is printed, and the acceptance of the long checks."""

import json
import math
from collections.abc import Iterator

import pytest
import torch
from typer.testing import CliRunner

from hf_seqvae import selfcheck
from hf_seqvae.cli import app
from hf_seqvae.metrics import active_units
from hf_seqvae.selfcheck import CHECKS, Check, choose_checks, gaussian, likelihood, run_checks
from hf_seqvae.selfcheck.comparison import Comparison, average, ranged, same, sampled
from hf_seqvae.selfcheck.training import PlateauSchedule


@pytest.fixture(autouse=True)
def terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)


def call(*arguments):
    return CliRunner().invoke(app, ["selfcheck", *arguments])


def with_checks(monkeypatch, *checks):
    monkeypatch.setattr(selfcheck, "CHECKS", checks)


def good(full: bool) -> Iterator[Comparison]:
    yield same("an even number", 2, 2)
    if full:
        yield same("an odd number", 3, 3)


def off(full: bool) -> Iterator[Comparison]:
    yield sampled("a noisy number", 5.5, 5.0, 0.1)


def broken(full: bool) -> Iterator[Comparison]:
    yield same("an even number", 2, 2)
    raise ValueError("latents must be (S, B, Z)")


# -- one comparison


def test_an_estimate_passes_within_its_tolerance_and_no_farther():
    assert same("x", 1.0 + 1e-9, 1.0, tolerance=1e-8).passed
    assert not same("x", 1.0 + 1e-7, 1.0, tolerance=1e-8).passed
    assert same("x", 9, 9).passed
    assert not same("x", 10, 9).passed
    assert sampled("x", 1.39, 1.0, 0.1).passed
    assert not sampled("x", 1.41, 1.0, 0.1).passed
    assert not sampled("x", 1.31, 1.0, 0.1, sigmas=3).passed
    assert sampled("x", 1.45, 1.0, 0.1, bias=0.1).passed
    one_sided = ranged("x", 5.6, 5.8, low=5.5, high=5.81, rule="-5 %")
    assert one_sided.passed
    assert not ranged("x", 5.9, 5.8, low=5.5, high=5.81, rule="-5 %").passed


def test_what_is_no_number_never_passes():
    assert not same("x", math.nan, 1.0, tolerance=10.0).passed
    assert not sampled("x", 1.0, 1.0, math.nan).passed
    assert not same("x", math.inf, 1.0, tolerance=10.0).passed


def test_the_average_of_values_has_its_standard_error():
    mean, error = average(torch.tensor([1.0, 2.0, 3.0, 6.0]))
    assert mean == 3.0
    assert error == pytest.approx(math.sqrt(14 / 3) / 2)


# -- running


def test_an_estimator_that_raises_is_a_failed_comparison_and_the_next_check_runs():
    checks = [Check("broken", broken), Check("good", good)]
    lines = list(run_checks(checks))
    assert [line.comparison.passed for line in lines] == [True, False, True]
    assert "raised ValueError: latents must be" in lines[1].comparison.complaint()
    assert lines[1].to_dict()["estimate"] is None


def test_checks_leave_the_callers_random_numbers_and_gradients_alone():
    seen = []

    def draws(full: bool) -> Iterator[Comparison]:
        seen.append(torch.rand(2).tolist())
        yield same("gradients", torch.is_grad_enabled(), False)

    state = torch.get_rng_state()
    for _ in range(2):
        assert all(line.comparison.passed for line in run_checks([Check("draws", draws)]))
        assert torch.is_grad_enabled()
    assert torch.equal(state, torch.get_rng_state())
    assert seen[0] == seen[1]


def test_checks_are_chosen_by_name_in_their_own_order():
    assert [check.name for check in choose_checks(["kl", "elbo"])] == ["elbo", "kl"]
    assert choose_checks() == list(CHECKS)
    assert len({check.name for check in CHECKS}) == len(CHECKS)
    with pytest.raises(ValueError, match="got 'iw_nl'.* Do you mean 'iw_nll'"):
        choose_checks(["iw_nl"])


# -- the command


def test_all_green_ends_with_exit_code_0_and_a_table(monkeypatch):
    with_checks(monkeypatch, Check("good", good))
    result = call("--full")
    assert result.exit_code == 0
    assert result.stderr == ""
    lines = [line.split() for line in result.stdout.splitlines()]
    assert ["✓", "an", "even", "number", "2", "2", "equal"] in lines
    assert ["✓", "an", "odd", "number", "3", "3", "equal"] in lines
    assert result.stdout.splitlines()[-1].startswith("all 2 comparisons hold")


def test_a_failure_stands_out_and_is_named_with_how_far_it_is_off(monkeypatch):
    with_checks(monkeypatch, Check("good", good), Check("off", off))
    result = call()
    assert result.exit_code == 1
    assert "✗  a noisy number" in result.stdout
    assert " ".join(result.stderr.split()) == (
        "error: 1 of 2 comparisons failed. off: a noisy number is 5.5 where 5 is exact: off by "
        "+0.5, allowed ± 0.4 (4 s.e.)."
    )


def test_many_failures_are_counted_by_check(monkeypatch):
    names = ["a", "b", "c", "d", "e"]
    with_checks(monkeypatch, *(Check(name, off) for name in names))
    assert call().stderr.endswith("; and 2 more, of d, e.\n")


def test_json_is_one_document_whatever_the_outcome(monkeypatch):
    with_checks(monkeypatch, Check("good", good), Check("off", off), Check("broken", broken))
    result = call("--json")
    assert result.exit_code == 1
    report = json.loads(result.stdout)
    assert report["passed"] is False
    assert [line["passed"] for line in report["comparisons"]] == [True, False, True, False]
    found = report["comparisons"][1]
    assert (found["check"], found["estimate"], found["exact"]) == ("off", 5.5, 5.0)
    assert found["rule"] == "± 0.4 (4 s.e.)"
    report = json.loads(call("--json", "--only", "good").stdout)
    assert report["passed"] is True
    assert len(report["comparisons"]) == 1


def test_an_unknown_check_is_refused_by_name():
    result = call("--only", "iw_nl")
    assert result.exit_code == 2
    assert "Do you mean 'iw_nll'?" in " ".join(result.stderr.split())


def test_help_has_an_example():
    assert "Example: hf-seqvae selfcheck" in " ".join(call("--help").stdout.split())


# -- the data of the checks


def test_the_design_has_the_mean_and_the_covariance_of_the_data():
    rows = gaussian.design()
    centred = rows - rows.mean(0)
    torch.testing.assert_close(rows.mean(0), gaussian.mean())
    torch.testing.assert_close(centred.T @ centred / len(rows), gaussian.covariance())


@pytest.mark.parametrize(("case", "expected"), gaussian.CASES.items())
def test_active_units_are_the_eigenvalues_above_the_water(case, expected):
    sigma2, beta = case
    above = sum(value > beta * sigma2 / 0.99 for value in gaussian.EIGENVALUES[:12])
    assert above == expected == gaussian.optimum(sigma2, beta).active_units
    q = gaussian.best_model(sigma2, beta).posterior(gaussian.batch_of(gaussian.design()))
    assert active_units(q.mean) == expected


def test_a_plateau_lasts_its_steps_and_the_last_one_for_ever():
    beta = PlateauSchedule((0.5, 2.0), 3)
    assert [beta(step) for step in range(8)] == [0.5] * 3 + [2.0] * 5


# -- acceptance


def passed(name: str, *, full: bool = False) -> int:
    lines = list(run_checks(choose_checks([name]), full=full))
    failed = [line.comparison.complaint() for line in lines if not line.comparison.passed]
    assert not failed
    return len(lines)


@pytest.mark.parametrize("name", ["grammar", "training", "annealing"])
def test_long_checks_are_green(name):
    """The short ones are run by the mutations, unbroken."""
    assert passed(name) >= 1


def test_with_a_wrong_posterior_the_gap_falls_to_nothing(monkeypatch):
    monkeypatch.setattr(likelihood, "COUNTS", (1, 10, 100))
    assert passed("iw_nll_gap") == 6


@pytest.mark.slow
def test_all_checks_are_green_in_full():
    for check in CHECKS:
        passed(check.name, full=True)
