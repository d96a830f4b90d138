"""A study file says what it means, or is refused with the cure."""

import pytest

from hf_seqvae.study import load_study

TEXT = """
name: pooling
recipe: quickstart
set: {training.epochs: 2}
seeds: [3, 1]
runs:
  - name: last
    set: {model.pooling: last}
  - name: max
    seeds: [3]
    remedy: max pooling
"""


def load(tmp_path, text):
    path = tmp_path / "study.yaml"
    path.write_text(text, encoding="utf-8")
    return load_study(path)


def test_a_study_has_its_runs_seeds_and_defaults(tmp_path):
    study = load(tmp_path, TEXT)
    assert [run.name for run in study.runs] == ["last", "max"]
    assert (study.seeds, study.runs[1].seeds) == ([3, 1], [3])
    assert study.baseline == "last"
    assert str(study.folder) == "runs/studies/pooling"
    assert study.evaluation.iw_samples == 50


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("seeds: [3, 1]", "seed: [3, 1]", "Did you mean 'seeds'"),
        ("    remedy:", "    remdy:", "Did you mean 'runs.remedy'"),
        ("set: {training.epochs: 2}", "evaluation: {iw_sample: 3}", "'evaluation.iw_samples'"),
        ("name: max", "name: last", "2 runs are called 'last'"),
        ("name: max", "name: a/b", "word without slashes"),
        ("name: max", "name: study.json", "no name of a file of the study"),
        ("name: max", "name: Table.md", "no name of a file of the study"),
        ("name: max", "name: usage.png", "no name of a file of the study"),
        ("name: max", "name: ..", "word without slashes"),
        ("name: pooling", "name: a/b", "name must be a word without slashes"),
        ("seeds: [3]", "seeds: [3, 3]", "must differ"),
        ("seeds: [3, 1]", "seeds: []", "at least one"),
        ("seeds: [3, 1]", "seeds: [one]", "whole numbers"),
        ("seeds: [3, 1]", "seeds: 3", "seeds must be a list"),
        ("training.epochs: 2", "seed: 7", "set must leave 'seed' out"),
        ("model.pooling: last", "name: other", "set of run 'last' must leave 'name' out"),
        ("model.pooling: last", "output_dir: x", "own keys: seeds, name, output_dir"),
        ("recipe: quickstart", "baseline: maxx", "baseline must be the name of a run"),
        ("recipe: quickstart", "hypothesis: [min]", "hypothesis must list names of runs"),
        ("recipe: quickstart", "evaluation: {split: train}", "evaluation.split must be one of"),
    ],
)
def test_a_wrong_study_is_refused_with_the_cure(tmp_path, old, new, message):
    assert old in TEXT
    with pytest.raises(ValueError, match=message):
        load(tmp_path, TEXT.replace(old, new))


def test_a_study_without_runs_is_refused(tmp_path):
    with pytest.raises(ValueError, match="runs is empty"):
        load(tmp_path, "name: empty\n")


def test_a_run_that_is_no_mapping_is_refused(tmp_path):
    with pytest.raises(ValueError, match="list of mappings"):
        load(tmp_path, "name: one\nruns: [last]\n")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no\.yaml"):
        load_study(tmp_path / "no.yaml")
