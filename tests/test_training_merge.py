"""training/merge_tables.py against one table of all seeds together."""

import dataclasses
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from study_standins import finished, results_of, small_study

from hf_seqvae.study import base_recipe, compare_runs
from hf_seqvae.study.hypothesis import predictions
from hf_seqvae.study.values import as_json

TRAINING = Path(__file__).resolve().parent.parent / "training"


@pytest.fixture
def merge_tables(monkeypatch):
    monkeypatch.syspath_prepend(str(TRAINING))
    sys.modules.pop("merge_tables", None)
    import merge_tables

    return merge_tables


def results(study):
    """Every job finished: likelihoods, KL and dispersion drawn apart for each."""
    made = []
    for one in results_of(study):
        random = np.random.default_rng([one.job.seed, len(one.job.run)])
        figures = {
            name: float(random.normal()) for name in ("kl", "pooled_variance", "negative_elbo")
        }
        made.append(finished(one, random.normal(30, 4, size=200), **figures))
    return made


def table(study, results, path):
    rows = compare_runs(study, results, base_recipe(study, "study.yaml"))
    values = as_json(study, rows, predictions(results))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values))
    return values


@pytest.fixture
def parts(tmp_path):
    """A study of three seeds: all of it, and as two tables (0 and 1, 2) made apart."""
    study = small_study(tmp_path / "all", seeds=[0, 1, 2])
    paths = [tmp_path / name / "table.json" for name in ("one", "two")]
    for path, seeds in zip(paths, ((0, 1), (2,)), strict=True):
        part = dataclasses.replace(study, output_dir=str(path.parent), seeds=list(seeds))
        table(part, results(part), path)
    return table(study, results(study), tmp_path / "all" / "table.json"), paths


def test_means_deviations_and_differences_are_those_of_one_table(merge_tables, parts, tmp_path):
    whole, paths = parts
    merged = merge_tables.merge(paths, tmp_path)
    assert [run["name"] for run in merged["runs"]] == ["last", "max"]
    for own, run in zip(merged["runs"], whole["runs"], strict=True):
        assert [seed["seed"] for seed in own["seeds"]] == [0, 1, 2]
        for name, expected in run["figures"].items():
            assert own["figures"][name] == pytest.approx(expected), name
    found, expected = merged["runs"][1]["difference"], whole["runs"][1]["difference"]
    assert found["value"] == pytest.approx(expected["value"])
    assert found["low"] < expected["low"] < expected["high"] < found["high"]
    assert merged["runs"][0]["difference"] is None


def test_a_baseline_run_again_serves_its_table_and_counts_once(merge_tables, tmp_path):
    study = small_study(tmp_path / "all", seeds=[0, 1, 2])
    paths = [tmp_path / name / "table.json" for name in ("one", "two")]
    differences = []
    for path, seeds, others in zip(paths, ([0, 1], [1, 2]), ({0}, {1, 2}), strict=True):
        part = dataclasses.replace(study, output_dir=str(path.parent), seeds=seeds)
        made = [one for one in results(part) if one.job.run == "last" or one.job.seed in others]
        differences.append(table(part, made, path)["runs"][1]["difference"]["value"])
    last, other = merge_tables.merge(paths, tmp_path)["runs"]
    assert [seed["seed"] for seed in last["seeds"]] == [0, 1, 2]
    assert [seed["table"] for seed in last["seeds"]] == ["one/table.json"] * 2 + ["two/table.json"]
    assert [seed["seed"] for seed in other["seeds"]] == [0, 1, 2]
    expected = (differences[0] + 2 * differences[1]) / 3
    assert other["difference"]["value"] == pytest.approx(expected)


def test_a_table_without_an_interval_leaves_the_merged_one_without(merge_tables, parts, tmp_path):
    _, paths = parts
    values = json.loads(paths[1].read_text())
    values["runs"][1]["difference"] |= {"low": None, "high": None}
    paths[1].write_text(json.dumps(values))
    found = merge_tables.merge(paths, tmp_path)
    assert found["runs"][1]["difference"]["low"] is None
    assert "[" not in merge_tables.markdown(found).splitlines()[3].split("|")[4]


def test_correlations_are_over_the_runs_of_all_tables(merge_tables, parts, tmp_path):
    whole, paths = parts
    merged = merge_tables.merge(paths, tmp_path)["hypothesis"]
    expected = {
        (one["statistic"], one["when"], one["outcome"]): one["spearman"]
        for one in whole["hypothesis"]
    }
    assert {one["n"] for one in merged} == {6}  # the study names none: all with latents
    for one in merged:
        key = (one["statistic"], one["when"], one["outcome"])
        values = [one["spearman"], expected[key]]
        assert (values[0] is None) == (values[1] is None), key
        if values[0] is not None:
            assert values[0]["value"] == pytest.approx(values[1]["value"]), key
    assert sum(one["spearman"] is not None for one in merged) == 1  # the rest are constant


def test_correlations_are_over_the_runs_that_the_study_names(merge_tables, parts, tmp_path):
    _, paths = parts
    for path in paths:
        values = json.loads(path.read_text())
        values["study"]["hypothesis"] = ["max"]
        path.write_text(json.dumps(values))
    found = merge_tables.merge(paths, tmp_path)["hypothesis"]
    assert {one["n"] for one in found} == {3}


def test_the_script_prints_a_line_a_run_with_links_that_lead_to_recipes(
    merge_tables, parts, tmp_path, monkeypatch, capsys
):
    _, paths = parts
    output = tmp_path / "out" / "merged.json"
    output.parent.mkdir()
    monkeypatch.setattr(sys, "argv", ["merge", *map(str, paths), "--output", str(output)])
    merge_tables.main()
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| [")]
    assert lines[0].startswith("| [last](../one/last/seed-0/recipe.yaml) | 0, 1, 2 | ")
    assert "| baseline |" in lines[0] and len(lines) == 2
    seeds = json.loads(output.read_text())["runs"][1]["seeds"]
    assert [seed["table"] for seed in seeds] == ["../one/table.json"] * 2 + ["../two/table.json"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda values: values["study"].update(baseline="max"), "one baseline"),
        (lambda values: values["study"]["evaluation"].update(iw_samples=9), "one evaluation"),
        (lambda values: values["study"]["set"].update({"training.epochs": 9}), "one set"),
        (lambda values: values["runs"][1]["seeds"][0].update(seed=1), "max has a seed in two"),
        (lambda values: values["runs"][1].update(differs=["x: 1 -> 2"]), "max has another recipe"),
        (lambda values: values.pop("study"), "is no table.json of a study"),
        (
            lambda values: values["runs"][0]["seeds"][0].update(num_iw_sentences=7),
            "last was measured on other sentences",
        ),
    ],
)
def test_tables_that_do_not_belong_together_are_refused(
    merge_tables, parts, tmp_path, change, said
):
    _, paths = parts
    values = json.loads(paths[1].read_text())
    change(values)
    paths[1].write_text(json.dumps(values))
    with pytest.raises(ValueError, match=said):
        merge_tables.merge(paths, tmp_path)


def test_a_table_is_never_written_over(merge_tables, parts, monkeypatch, capsys):
    _, paths = parts
    before = paths[0].read_text()
    monkeypatch.setattr(sys, "argv", ["merge", *map(str, paths), "--output", str(paths[0])])
    with pytest.raises(SystemExit):
        merge_tables.main()
    assert "is one of the tables" in capsys.readouterr().err
    assert paths[0].read_text() == before
