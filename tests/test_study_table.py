"""Rows over seeds and against the baseline, and the table that shows them."""

import dataclasses
import json

import pytest
from study_standins import finished, results_of, small_study

from hf_seqvae.study import base_recipe, compare_runs
from hf_seqvae.study.lines import line, read_line
from hf_seqvae.study.table import markdown
from hf_seqvae.study.values import as_json
from hf_seqvae.study.wording import difference_text, number


def rows_of(study, results):
    return compare_runs(study, results, base_recipe(study, "study.yaml"))


@pytest.fixture
def study(tmp_path):
    return small_study(tmp_path)


@pytest.fixture
def results(study):
    """last and max, seeds 0 and 1: max is 1 nat better on each sentence of each seed."""
    last0, max0, last1, max1 = results_of(study)
    return [
        finished(last0, [4.0, 8.0]),
        finished(max0, [3.0, 7.0], cpu_seconds=120.0),
        finished(last1, [6.0, 10.0], cpu_seconds=100.0),
        finished(max1, [5.0, 9.0], cpu_seconds=100.0),
    ]


def test_a_row_has_mean_and_deviation_over_its_seeds(study, results):
    last, _ = rows_of(study, results)
    assert last.figures["nll"] == (7.0, pytest.approx(2**0.5), 2)
    assert last.figures["kl"] == (3.0, 0.0, 2)


def test_the_difference_is_paired_by_seed_and_sentence(study, results):
    last, best = rows_of(study, results)
    assert last.difference is None
    assert best.difference == (-1.0, -1.0, -1.0)


def test_seeds_without_their_baseline_are_left_out_of_the_difference(study, results):
    unfinished = results_of(study)[2]  # last, seed 1
    _, best = rows_of(study, [*results[:2], unfinished, results[3]])
    assert best.difference == (-1.0, -1.0, -1.0)
    assert best.figures["nll"].n == 2


def test_costs_are_relative_to_the_baseline_of_the_same_seed(study, results):
    last, best = rows_of(study, results)
    assert last.costs["cpu_seconds"] == (1.0, 0.0, 2)
    assert best.costs["cpu_seconds"].mean == pytest.approx((120 / 80 + 100 / 100) / 2)


@pytest.mark.parametrize(
    ("machine", "words"),
    [("another, threads: 1", "another, threads: 1 and a "), ("", "seconds of an unknown machine")],
)
def test_seconds_of_other_machines_are_not_divided_and_it_is_said_why(
    study, results, machine, words
):
    results[3] = dataclasses.replace(results[3], machine=machine)
    rows = rows_of(study, results)
    assert rows[0].costs["cpu_seconds"] == (1.0, 0.0, 2) and rows[1].costs == {}
    assert words in str(rows[1].no_costs)
    text = markdown(study, rows, [])
    cells = next(line for line in text.splitlines() if "**max**" in line).split("|")
    assert [cell.strip() for cell in cells[-4:-2]] == ["-", "-"]
    assert f"-: {rows[1].no_costs}" in text
    assert as_json(study, rows, [])["runs"][1]["no_costs"] == rows[1].no_costs


@pytest.mark.parametrize("counts", [(1,), (10,), (1, 10)])
def test_the_table_says_how_many_posterior_samples_its_figures_are_of(tmp_path, counts):
    study = small_study(tmp_path, **{"set": {"training.num_eval_samples": counts[0]}})
    study.runs[-1].set["training.num_eval_samples"] = counts[-1]
    made = [finished(one, [4.0, 8.0]) for one in results_of(study)]
    text = markdown(study, rows_of(study, made), [])
    assert f"compare), posterior samples a sentence: {', '.join(map(str, counts))}. " in text


def test_other_sentences_give_no_difference_but_a_reason(study, results):
    results[1] = finished(results[1], [3.0, 7.0], texts="others")
    _, best = rows_of(study, results)
    assert (best.difference, best.no_difference) == (
        None,
        "other sentences than the baseline's",
    )


def test_another_number_of_sentences_gives_no_difference(study, results):
    results[1] = finished(results[1], [3.0, 7.0, 9.0])
    assert rows_of(study, results)[1].no_difference == "other sentences than the baseline's"


def test_a_line_gives_the_result_back(study, results):
    validations = ({"epoch": 1.0, "eval/elbo": -3.0, "eval/kl": float("nan")},)
    result = finished(results[0], [1 / 3, 2e-17], exact=True, validations=validations)
    again = read_line(json.loads(line(result)), "here")
    assert again.likelihoods.tolist() == [1 / 3, 2e-17]
    assert again.validations == ({"epoch": 1.0, "eval/elbo": -3.0, "eval/kl": None},)
    assert str(result.job.folder) not in line(result)
    job = dataclasses.replace(
        again.job, recipe=dataclasses.replace(again.job.recipe, output_dir=str(result.job.folder))
    )
    assert dataclasses.replace(again, job=job, validations=validations) == result


def test_a_model_without_latents_has_its_exact_nll_compared_and_the_rest_undefined(study, results):
    results[1::2] = [finished(one, one.likelihoods, exact=True) for one in results[1::2]]
    rows = rows_of(study, results)
    assert rows[1].difference == (-1.0, -1.0, -1.0)
    assert "kl" not in rows[1].figures
    line = next(line for line in markdown(study, rows, []).splitlines() if "**max**" in line)
    cells = [cell.strip() for cell in line.split("|")]
    assert cells[3] == "6.00 ± 1.41 exact"
    assert cells[8] == "-"
    assert "-: a model without latents has none." in markdown(study, rows, [])


def test_the_table_names_k_sentences_caps_and_links_each_recipe(study, results):
    text = markdown(study, rows_of(study, results), [])
    assert "K = 50 importance samples, the first 2 sentences of the test split" in text
    assert "5000 sentences of the test split" in text
    assert "2.00 ± 0.00 of 6.21" in text and "4.0 ± 0.0 of 32" in text
    assert "model.pooling: max -> last" in text
    assert "1.000 ± 0.000 -> 5.000 ± 0.000" in text
    for run in ("last", "max"):
        for seed in (0, 1):
            assert f"[recipe]({run}/seed-{seed}/recipe.yaml) | {seed} |" in text


def test_every_line_of_the_table_has_all_columns(study, results):
    lines = markdown(study, rows_of(study, results), []).splitlines()
    assert {line.count("|") for line in lines if line.startswith("|")} == {18}


def test_unfinished_runs_are_listed_with_their_epoch(study, results):
    text = markdown(study, rows_of(study, [*results[:3], results_of(study)[3]]), [])
    assert text.count("- not started: max seed 1\n") == 1
    assert "max/seed-1" not in text


def test_the_json_is_strict_and_has_every_seed(study, results):
    rows = rows_of(study, [*results[:3], results_of(study)[3]])
    values = json.loads(json.dumps(as_json(study, rows, []), allow_nan=False))
    best = values["runs"][1]
    assert best["difference"] == {"value": -1.0, "low": -1.0, "high": -1.0}
    assert [one["state"] for one in best["seeds"]] == ["finished", "not started"]
    assert best["seeds"][0]["figures"]["cpu_seconds"] == 120.0
    assert values["study"]["baseline"] == "last"


@pytest.mark.parametrize(
    ("value", "text"), [(None, "-"), (0.0, "0.00"), (1.234, "1.23"), (-0.0042, "-4.2e-03")]
)
def test_small_figures_keep_digits_that_count(value, text):
    assert number(value, 2) == text


def test_a_difference_shows_its_sign_and_interval(study, results):
    _, best = rows_of(study, results)
    assert difference_text(best.difference) == "-1.00 [-1.00, -1.00]"
    assert difference_text(None) == "-"
