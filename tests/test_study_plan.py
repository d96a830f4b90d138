"""From a study to its jobs: order, recipes, folders, and what is refused before anything starts."""

import dataclasses
import json
from pathlib import Path

import pytest

from hf_seqvae import recipe as recipes
from hf_seqvae.study import (
    EvaluationPlan,
    Study,
    base_recipe,
    check_study_folder,
    load_study,
    plan_jobs,
    write_study,
)
from hf_seqvae.study.differing import recipe_words
from hf_seqvae.study.folder import JOB_NAME
from hf_seqvae.study.plan import Job

ROOT = Path(__file__).resolve().parent.parent
RUNS = [
    {"name": "last", "set": {"model.pooling": "last"}},
    {"name": "max", "set": {"model.pooling": "max", "training.epochs": 5}, "seeds": [0, 7]},
]


@pytest.fixture
def study(tmp_path):
    values = {"set": {"training.epochs": 2}, "seeds": [0, 1], "runs": RUNS}
    return Study(name="pooling", output_dir=str(tmp_path / "out"), **values)


def plan(study, **options):
    return plan_jobs(study, "study.yaml", **options)


def begun(job, **changes):
    """The folder of a job as training leaves it, with another recipe where `changes` say so."""
    (job.folder / "checkpoints" / "step-00000001").mkdir(parents=True)
    recipe = dataclasses.replace(job.recipe, **changes)
    recipes.save(recipe, job.folder / "recipe.yaml")


def test_a_whole_first_seed_comes_before_the_second(study):
    assert [job.title for job in plan(study)] == [
        "last seed 0",
        "max seed 0",
        "last seed 1",
        "max seed 7",
    ]


def test_a_job_has_the_keys_of_study_run_and_command_the_last_winning(study):
    last, best = plan(study, overrides=["training.epochs=9"])[:2]
    assert (last.recipe.model["pooling"], best.recipe.model["pooling"]) == ("last", "max")
    assert [job.recipe.training.epochs for job in plan(study)[:2]] == [2, 5]
    assert best.recipe.training.epochs == 9
    assert best.folder == study.folder / "max" / "seed-0"


def test_only_and_seeds_choose(study):
    assert [job.title for job in plan(study, only=["max"], seeds=[4, 2])] == [
        "max seed 4",
        "max seed 2",
    ]


def test_an_unknown_run_is_named(study):
    with pytest.raises(ValueError, match="no run 'min'"):
        plan(study, only=["min"])


@pytest.mark.parametrize("override", ["seed=3", "name=other", " output_dir =elsewhere"])
def test_keys_that_the_study_decides_cannot_be_set(study, override):
    with pytest.raises(ValueError, match="--set must leave .* own keys: seeds, name, output_dir"):
        plan(study, overrides=[override])


def test_a_recipe_that_is_refused_names_its_run(study):
    with pytest.raises(ValueError, match=r"run 'last'.*training\.epochs"):
        plan(study, overrides=["training.epoch=1"])


def test_a_recipe_is_found_beside_the_study(tmp_path, study):
    recipes.save(recipes.load("quickstart", ["training.learning_rate=0.5"]), tmp_path / "own.yaml")
    chosen = dataclasses.replace(study, recipe="own.yaml")
    job = plan_jobs(chosen, tmp_path / "study.yaml")[0]
    assert job.recipe.training.learning_rate == 0.5


def test_a_job_is_the_same_after_its_file(study):
    job = plan(study)[1]
    assert Job.from_dict(json.loads(json.dumps(job.to_dict()))) == job


def test_the_words_of_a_row_are_what_differs_from_the_base(study):
    job = plan(study)[3]
    words = recipe_words(base_recipe(study, "study.yaml"), job.recipe)
    assert "training.epochs: 2 -> 5" in words
    assert not any("seed" in word for word in words)


@pytest.mark.parametrize(
    ("base", "own", "words"),
    [
        ({}, {"pooling": "mean"}, ("model.pooling: max -> mean",)),
        ({"pooling": "mean"}, {}, ("model.pooling: mean -> max",)),
        ({}, {"pooling": "max"}, ()),
        ({}, {"latent_injection": ["add"]}, ("model.latent_injection: default -> ['add']",)),
        (
            {"decoder": {"hidden_size": 8}},
            {"decoder": {"hidden_size": 8, "num_hidden_layers": 3}},
            ("model.decoder.num_hidden_layers: 1 -> 3",),
        ),
        (
            {"decoder": {"model_type": "gpt2"}},
            {"decoder": {"model_type": "gpt2", "n_layer": 3}},
            ("model.decoder.n_layer: 12 -> 3",),
        ),
        (
            {"kind": "language_model"},
            {"pooling": "mean"},
            ("model.kind: language_model -> seqvae", "model.pooling: - -> mean"),
        ),
    ],
)
def test_a_left_out_key_of_the_model_is_its_default(base, own, words):
    recipe = recipes.load("quickstart", ["objective={}"])
    before, after = (dataclasses.replace(recipe, model=model) for model in (base, own))
    assert recipe_words(before, after) == words


def test_a_language_model_differs_by_being_one_and_not_by_what_it_cannot_have(study):
    base = base_recipe(study, "study.yaml")
    settings = ["model=language_model", "objective={}", "training.learning_rate=0.5", "seed=3"]
    words = recipe_words(base, recipes.load("quickstart", ["training.epochs=2", *settings]))
    assert words == ("a language model without latents", "training.learning_rate: 0.002 -> 0.5")


def test_a_folder_that_cannot_be_made_is_refused_with_the_option_of_the_study(study, tmp_path):
    (tmp_path / "out").write_text("a file in the way")
    with pytest.raises(ValueError, match="another --output-dir") as error:
        write_study(study)
    assert "--set" not in str(error.value)


def test_the_state_follows_the_folder(study):
    job = plan(study)[0]
    assert job.state() == "not started"
    begun(job)
    assert job.state() == "resumable"
    (job.folder / "report.json").write_text("{}")
    assert job.state() == "trained, not measured"
    (job.folder / "evaluation").mkdir()
    (job.folder / "evaluation" / "report.json").write_text("{}")
    (job.folder / "initial.json").write_text("{}")
    assert job.state() == "finished"


def test_a_job_that_ends_while_its_state_is_asked_is_not_taken_for_a_resumable_one(
    study, monkeypatch
):
    job = plan(study)[0]
    begun(job)

    def let_go(folder):
        (folder / "report.json").write_text("{}")

    monkeypatch.setattr("hf_seqvae.study.plan.holder", let_go)
    assert job.state() == "trained, not measured"


def test_a_folder_of_another_recipe_is_refused_and_what_differs_is_named(study):
    first, second = plan(study)[:2]
    begun(first)
    begun(second, seed=3)
    refused = check_study_folder(study, [first, second])
    assert list(refused) == [second]
    assert "seed: 3 -> 0" in refused[second]


def test_a_finished_run_of_another_recipe_is_refused_without_its_checkpoints(study):
    job = plan(study)[0]
    begun(job, seed=3)
    (job.folder / "checkpoints" / "step-00000001").rmdir()
    assert check_study_folder(study, [job]) == {}
    (job.folder / "report.json").write_text("{}")
    assert list(check_study_folder(study, [job])) == [job]


def test_another_evaluation_of_the_same_run_is_refused(study):
    job = plan(study)[0]
    (job.folder / "evaluation").mkdir(parents=True)
    (job.folder / JOB_NAME).write_text(json.dumps(job.to_dict()))
    other = dataclasses.replace(job, evaluation=EvaluationPlan(iw_samples=500))
    assert check_study_folder(study, [job]) == {}
    assert "iw_samples: 50 -> 500" in check_study_folder(study, [other])[other]


def test_a_study_folder_of_another_format_is_refused(study):
    write_study(study)
    assert check_study_folder(study, []) == {}
    path = study.folder / "study.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 99}))
    with pytest.raises(ValueError, match="format 99"):
        check_study_folder(study, [])


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 1}', "\xff"])
def test_a_damaged_study_json_is_named_with_the_cure(study, text):
    study.folder.mkdir()
    (study.folder / "study.json").write_text(text, encoding="latin-1")
    with pytest.raises(ValueError, match=r"study\.json is damaged.*Remove it.*--output-dir"):
        check_study_folder(study, [])


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 1, "evaluation": 3}'])
def test_a_damaged_job_json_is_named_with_the_cure(study, text):
    job = plan(study)[0]
    job.folder.mkdir(parents=True)
    (job.folder / JOB_NAME).write_text(text)
    message = check_study_folder(study, [job])[job]
    assert f"{job.folder / JOB_NAME} is damaged" in message
    assert f"remove it and {job.folder / 'evaluation'}" in message


def test_a_job_of_another_format_is_refused(study):
    job = plan(study)[0]
    job.folder.mkdir(parents=True)
    (job.folder / JOB_NAME).write_text(json.dumps(job.to_dict() | {"format": 99}))
    assert "another version (format 99" in check_study_folder(study, [job])[job]


@pytest.mark.parametrize("path", sorted((ROOT / "training" / "studies").glob("*.yaml")))
def test_every_study_of_the_project_can_be_planned(path):
    study = load_study(path)
    jobs = plan_jobs(study, path)
    assert len({job.folder for job in jobs}) == len(jobs) > 0
    recipes_by_run = {job.run: job.recipe for job in jobs}
    fingerprints = [dataclasses.replace(r, seed=0).fingerprint() for r in recipes_by_run.values()]
    assert len(set(fingerprints)) == len(study.runs), "two runs are one and the same recipe"


def test_a_study_without_the_split_it_evaluates_is_refused_before_training(study, tmp_path):
    files = {"data.dataset": None, "data.train_file": "a.txt", "data.validation_file": "b.txt"}
    with pytest.raises(ValueError, match="split is 'test', and data.test_file is not set"):
        plan(dataclasses.replace(study, set=study.set | files))
    on_validation = dataclasses.replace(study.evaluation, split="validation")
    assert plan(dataclasses.replace(study, set=study.set | files, evaluation=on_validation))


@pytest.mark.parametrize("name", ["1e-3", "max 🚀"])
def test_a_run_of_any_name_is_planned_and_read_again(study, name):
    named = dataclasses.replace(study, baseline=None, runs=[{"name": name, "set": {}}])
    job = plan(named)[0]
    assert Job.from_dict(json.loads(json.dumps(job.to_dict()))) == job
    assert job.recipe.name == name
