"""hf-seqvae compare: a tiny study from its file to its table, and how it refuses."""

import dataclasses
import json
import shutil
import signal
import subprocess
import sys
import time

import pytest
import torch
import yaml
from cli_standins import call, refused, terminal

from hf_seqvae import LatentSpace
from hf_seqvae import recipe as recipes
from hf_seqvae.cli.comparing import read_seeds
from hf_seqvae.engine.parts import prepare_text
from hf_seqvae.engine.watchers import Curves
from hf_seqvae.evaluation import evaluate, read_report
from hf_seqvae.latent_space import load_scorable
from hf_seqvae.plots.looks import DISPERSIONS
from hf_seqvae.run_log import read_log
from hf_seqvae.study import EvaluationPlan, data_digests, read_result, runner
from hf_seqvae.study.cost import Stopwatch, read_costs
from hf_seqvae.study.folder import STUDY_FILES
from hf_seqvae.study.plan import Job
from hf_seqvae.study.study_job import run_job

STUDY = {
    "name": "tiny",
    "recipe": "quickstart",
    "set": {
        "data.num_train": 24,
        "data.num_validation": 8,
        "data.num_test": 12,
        "data.batch_size": 12,
        "training.epochs": 2,
        "training.logging_steps": 1,
        "objective.beta": {"schedule": "constant", "value": 1.0},
        "model.latent_size": 4,
        "model.encoder": {"embedding_size": 8, "hidden_size": 8},
        "model.decoder": {"embedding_size": 8, "hidden_size": 8},
    },
    "seeds": [0, 1],
    "evaluation": {"iw_samples": 3, "iw_sentences": 5},
    "runs": [
        {"name": "last", "set": {"model.pooling": "last"}},
        {"name": "max", "set": {"model.pooling": "max"}, "remedy": "max pooling"},
    ],
}


class InProcess:
    """A job that is run where it is started, in place of a process of its own."""

    def __init__(self, job):
        run_job(job)
        self.returncode = 0

    def poll(self):
        """Ended."""
        return self.returncode


@pytest.fixture(autouse=True)
def clean(monkeypatch):
    with terminal(monkeypatch):
        yield


@pytest.fixture
def started(monkeypatch):
    """The titles of the jobs that are started, each run in this process."""
    titles = []

    def start(job, *, nice, one_thread):
        titles.append(job.title)
        return InProcess(job)

    monkeypatch.setattr(runner, "_start", start)
    return titles


def write(folder, **changes):
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(STUDY | changes), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A finished study, its folder, and what the command printed."""
    folder = tmp_path_factory.mktemp("study")
    with pytest.MonkeyPatch.context() as patch, terminal(patch):
        patch.setattr(runner, "_start", lambda job, **_: InProcess(job))
        patch.setattr(Curves, "_draw", lambda self: None)  # they take most of the time
        return folder / "out", call("compare", write(folder), "--output-dir", folder / "out")


@pytest.fixture
def study(done, tmp_path, monkeypatch):
    """The file of the study, and a copy of its finished folder; pictures are not drawn again."""
    monkeypatch.setattr("hf_seqvae.study.finish.draw", lambda *_: [])
    shutil.copytree(done[0], tmp_path / "out")
    for path in (tmp_path / "out").glob("*/*/recipe.yaml"):
        text = path.read_text().replace(str(done[0]), str(tmp_path / "out"))
        path.write_text(text)
    return write(tmp_path), tmp_path / "out"


def test_every_run_is_an_ordinary_run_folder(done):
    for run in ("last", "max"):
        for seed in (0, 1):
            folder = done[0] / run / f"seed-{seed}"
            recipe = recipes.load(folder / "recipe.yaml")
            assert (recipe.seed, recipe.model["pooling"]) == (seed, run)
            assert LatentSpace.from_pretrained(folder).sample(1, seed=0)


def test_the_likelihood_is_that_of_the_first_sentences(done):
    folder = done[0] / "max" / "seed-1"
    recipe = recipes.load(folder / "recipe.yaml")
    rows = prepare_text(recipe).held_out["test"].select(range(5))
    model = LatentSpace.from_pretrained(folder).model
    expected = evaluate(model, rows, iw_samples=3, seed=0).per_sentence["iw_nll"]
    found = read_report(folder / "evaluation").per_sentence["iw_nll"]
    assert found == pytest.approx(expected, abs=1e-4)


def test_initial_dispersion_is_that_of_the_model_before_training(done):
    folder = done[0] / "max" / "seed-1"
    recipe = recipes.load(folder / "recipe.yaml")
    text = prepare_text(recipe)
    fresh = evaluate(recipes.build_model(recipe, text.tokenizer), text.held_out["test"])
    found = json.loads((folder / "initial.json").read_text())
    for name, value in found.items():
        assert value == pytest.approx(fresh[name].value, rel=1e-4), name
    trained = json.loads((folder / "report.json").read_text())["test"]["figures"]
    assert found["pooled_variance"] != pytest.approx(trained["pooled_variance"]["value"], rel=1e-4)


def test_table_json_and_pictures_lie_in_the_folder(done):
    folder, printed = done
    values = json.loads((folder / "table.json").read_text())
    assert [len(run["seeds"]) for run in values["runs"]] == [2, 2]
    assert values["runs"][0]["seeds"][0]["figures"]["cpu_seconds"] > 0
    assert {path.name for path in folder.iterdir() if path.is_file()} == set(STUDY_FILES)
    assert "K = 3 importance samples, the first 5 sentences" in (folder / "table.md").read_text()
    assert "IW-NLL" in printed.stdout and str(folder) in printed.stdout.replace("\n", "")


def test_costs_are_of_one_machine_which_the_table_names(done):
    seed = json.loads((done[0] / "table.json").read_text())["runs"][1]["seeds"][0]
    environment = json.loads((done[0] / "max" / "seed-0" / "environment.json").read_text())
    assert seed["machine"].startswith(f"{environment['device_name']}, threads: ")
    line = next(x for x in (done[0] / "table.md").read_text().splitlines() if "**max**" in x)
    assert "-" not in [cell.strip() for cell in line.split("|")[-4:-2]]


def test_the_pictures_over_training_find_their_figures_in_the_log(done):
    lines = read_log(done[0] / "max" / "seed-0" / "log.jsonl")
    names = ["kl", "mutual_information", *(name for name, _ in DISPERSIONS)]
    validations = [line for line in lines if "eval/elbo" in line]
    assert len(validations) == 2
    assert [name for name in names if f"eval/{name}" not in validations[0]] == []


def test_every_link_of_the_table_leads_to_a_recipe(done):
    lines = (done[0] / "table.md").read_text().splitlines()
    links = [line.split("](")[1].split(")")[0] for line in lines if "[recipe](" in line]
    assert len(links) == 4 and all((done[0] / link).is_file() for link in links)


def test_finished_runs_are_not_repeated(study, started):
    path, folder = study
    before = {file: file.stat().st_mtime_ns for file in folder.glob("*/*/report.json")}
    call("compare", path, "--output-dir", folder)
    assert started == []
    assert before == {file: file.stat().st_mtime_ns for file in folder.glob("*/*/report.json")}


def test_a_run_that_was_not_measured_is_not_trained_again(study, started):
    path, folder = study
    shutil.rmtree(folder / "max" / "seed-0" / "evaluation")
    trained = (folder / "max" / "seed-0" / "report.json").stat().st_mtime_ns
    call("compare", path, "--output-dir", folder)
    assert started == ["max seed 0"]
    assert (folder / "max" / "seed-0" / "report.json").stat().st_mtime_ns == trained
    assert read_report(folder / "max" / "seed-0" / "evaluation").num_sentences == 5


def test_table_only_trains_nothing_and_lists_what_is_missing(study, started):
    path, folder = study
    shutil.rmtree(folder / "max" / "seed-1")
    printed = call("compare", path, "--output-dir", folder, "--table-only")
    assert started == []
    assert "unfinished: not started: max seed 1" in printed.stdout
    assert "- not started: max seed 1" in (folder / "table.md").read_text()


def test_table_only_lists_a_changed_run_and_shows_the_others(study, started):
    path, folder = study
    kept = folder / "max" / "seed-1" / "recipe.yaml"
    kept.write_text(kept.read_text().replace("epochs: 2", "epochs: 9", 1))
    printed = call("compare", path, "--output-dir", folder, "--table-only")
    assert "max seed 1" in printed.stderr and "training.epochs: 9 -> 2" in printed.stderr
    text = (folder / "table.md").read_text()
    assert "- max seed 1: refused" in text
    assert "(max/seed-0/recipe.yaml)" in text and "(max/seed-1/recipe.yaml)" not in text


def test_dry_run_lists_states_and_writes_nothing(study, tmp_path, started):
    path, folder = study
    shutil.rmtree(folder / "max" / "seed-1")
    rows = json.loads(call("compare", path, "--output-dir", folder, "--dry-run", "--json").stdout)
    assert [row["state"] for row in rows] == ["finished"] * 3 + ["not started"]
    call("compare", path, "--output-dir", tmp_path / "elsewhere", "--dry-run")
    assert not (tmp_path / "elsewhere").exists() and started == []


def test_json_is_the_table(study):
    path, folder = study
    printed = call("compare", path, "--output-dir", folder, "--table-only", "--json").stdout
    assert json.loads(printed) == json.loads((folder / "table.json").read_text())


@pytest.mark.parametrize("choice", [("--only", "max"), ("--seeds", "1"), ("--seeds", "2")])
def test_choosing_what_runs_leaves_the_table_whole(study, started, choice):
    path, folder = study
    before = json.loads((folder / "table.json").read_text())["runs"]
    shutil.rmtree(folder / "max" / "seed-1")
    call("compare", path, "--output-dir", folder, *choice)
    runs = json.loads((folder / "table.json").read_text())["runs"]
    extra = choice[1] == "2"
    assert started == (["last seed 2", "max seed 2"] if extra else ["max seed 1"])
    assert [len(run["seeds"]) for run in runs] == [3 if extra else 2] * 2
    assert runs[0]["seeds"][:2] == before[0]["seeds"]
    assert runs[1]["difference"] is not None


def test_a_run_beside_the_chosen_ones_does_not_stop_them(study, started):
    path, folder = study
    shutil.rmtree(folder / "max")
    changed = ("--set", "training.epochs=1")
    printed = call("compare", path, "--output-dir", folder, "--only", "max", *changed)
    assert started == ["max seed 0", "max seed 1"]
    assert "last seed 0" in printed.stderr and "training.epochs: 2 -> 1" in printed.stderr
    assert "- last seed 0: refused" in (folder / "table.md").read_text()


def test_a_changed_recipe_is_refused_before_anything_starts(study, started):
    path, folder = study
    shutil.rmtree(folder / "last" / "seed-0")
    error = refused("compare", path, "--output-dir", folder, "--set", "training.epochs=3")
    assert "Nothing was started" in error and "training.epochs: 2 -> 3" in error
    assert "--fresh" not in error and "another --output-dir, or remove that folder" in error
    assert started == [] and (folder / "max" / "seed-0" / "best").is_dir()


def test_a_failed_run_is_named_and_the_others_are_in_the_table(study, monkeypatch):
    path, folder = study
    shutil.rmtree(folder / "last" / "seed-1")

    class Failed:
        returncode = 1

        def poll(self):
            return 1

    def start(job, **_):
        job.folder.mkdir()
        (job.folder / runner.LOG_NAME).write_text("out of memory\n")
        return Failed()

    monkeypatch.setattr(runner, "_start", start)
    failed = call("compare", path, "--output-dir", folder, code=1)
    assert "last seed 1 failed: exit code 1" in failed.stderr and "out of memory" in failed.stderr
    assert "1 of 4 runs failed: last seed 1" in failed.stderr
    assert "**max**" in (folder / "table.md").read_text()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("log.jsonl", '{"epoch": 1\n{}\n'),
        ("log.jsonl", "{}\n"),
        ("log.jsonl", "3\n"),
        ("report.json", '{"test": '),
        ("report.json", '{"test": {}}'),
    ],
)
def test_a_damaged_run_stops_no_other_and_is_named(study, started, name, text):
    path, folder = study
    (folder / "last" / "seed-0" / name).write_text(text)
    shutil.rmtree(folder / "max" / "seed-1")
    printed = call("compare", path, "--output-dir", folder, code=1)
    assert started == ["max seed 1"]
    table = (folder / "table.md").read_text()
    assert "- last seed 0: damaged: " in table
    assert "seed-0" in table.split("damaged: ")[1].splitlines()[0]
    assert "| **max** | n = 2 |" in table
    kept = (folder / "results.jsonl").read_text()
    assert kept.count("\n") == 4  # the line of the damaged run as well, of before
    assert "Damaged, and not in the table: last seed 0." in printed.stderr
    values = json.loads((folder / "table.json").read_text())
    assert [one["state"] for one in values["runs"][0]["seeds"]] == ["damaged", "finished"]
    assert "seed-0" in values["runs"][0]["seeds"][0]["fault"]


@pytest.mark.parametrize("text", [None, '{"device_name": ', "[]", '{"device_name": "a"}'])
def test_a_machine_that_nothing_tells_costs_no_more_than_the_ratios(study, started, text):
    path, folder = study
    (folder / "results.jsonl").unlink()
    environment = folder / "max" / "seed-0" / "environment.json"
    environment.unlink()
    if text is not None:
        environment.write_text(text)
    call("compare", path, "--output-dir", folder, "--table-only")
    table = (folder / "table.md").read_text()
    assert "| **max** | n = 2 |" in table and "-: seconds of an unknown machine" in table


def test_a_line_keeps_what_its_folder_has_lost(study, started):
    path, folder = study
    before = (folder / "results.jsonl").read_text()
    digests = [json.loads(line)["result"]["data"] for line in before.splitlines()]
    names = {"vocabulary", "train text", "validation text", "test text"}
    assert all(set(one) == names for one in digests)
    shutil.rmtree(folder / "max" / "seed-0" / "checkpoints")
    (folder / "max" / "seed-1" / "environment.json").unlink()
    call("compare", path, "--output-dir", folder, "--table-only")
    assert (folder / "results.jsonl").read_text() == before


def test_results_that_cannot_be_written_leave_the_table(study, monkeypatch):
    path, folder = study
    (folder / "table.md").unlink()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("hf_seqvae.study.finish.write_results", full)
    assert "No space left" in refused("compare", path, "--output-dir", folder, "--table-only")
    assert "**max**" in (folder / "table.md").read_text()


@pytest.mark.parametrize("text", ["", "a", "1;2", "0,-1"])
def test_seeds_that_are_none_are_refused(text):
    with pytest.raises(ValueError, match="--seeds must be whole numbers"):
        read_seeds(text)


def test_seeds_are_read_with_commas():
    assert read_seeds("0, 12") == [0, 12]


def test_a_model_without_latents_is_measured_exactly(tmp_path, monkeypatch):
    monkeypatch.setattr(Curves, "_draw", lambda self: None)
    settings = [f"{key}={json.dumps(value)}" for key, value in STUDY["set"].items()]
    decoder = json.dumps(STUDY["set"]["model.decoder"])
    settings = [one for one in settings if one.startswith(("data.", "training."))]
    settings += [f"model={{kind: language_model, decoder: {decoder}}}", "objective={}"]
    recipe = recipes.load("quickstart", [*settings, f"output_dir={tmp_path}"])
    job = Job("lm", recipe, EvaluationPlan(iw_samples=3, iw_sentences=5))
    run_job(job)
    result = read_result(job)
    assert (result.state, result.exact, len(result.likelihoods)) == ("finished", True, 5)
    rows = prepare_text(recipe).held_out["test"].select(range(5))
    model, *_ = load_scorable(tmp_path)
    assert result.figures["nll"] == pytest.approx(
        evaluate(model, rows)["exact_model_nll"].value, abs=1e-4
    )
    assert result.figures["kl"] is result.figures["initial_pooled_variance"] is None
    assert "without latents" in result.reasons["kl"]
    for name, text in (("report.json", '{"test": '), ("report.json", "{}"), ("initial.json", "[]")):
        (tmp_path / name).write_text(text)
        damaged = read_result(job)
        assert damaged.state == "damaged" and not damaged.finished
        assert f"{name} is damaged. Remove it and give the same" in damaged.fault
        (tmp_path / name).unlink()
        costs = (tmp_path / "cost.jsonl").read_bytes()
        run_job(job)
        assert (tmp_path / "cost.jsonl").read_bytes() == costs  # no step was made
        again = read_result(job)
        assert (again.state, again.figures) == (result.state, result.figures)


def test_a_killed_job_goes_on_where_it_was(tmp_path, monkeypatch):
    """SIGTERM inside training, then the same job again: the weights are those of one sitting."""
    monkeypatch.setattr(Curves, "_draw", lambda self: None)
    whole, killed = (_one_job(tmp_path / name) for name in ("whole", "killed"))
    run_job(whole)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Stopwatch, "step", lambda self: signal.raise_signal(signal.SIGTERM))
        with pytest.raises(Exception, match="Stopped by SIGTERM"):
            run_job(killed)
    assert killed.state() == "resumable"
    run_job(killed)
    weights = [
        LatentSpace.from_pretrained(job.folder).model.state_dict() for job in (whole, killed)
    ]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def _one_job(folder, *more):
    settings = [f"{key}={json.dumps(value)}" for key, value in STUDY["set"].items()]
    recipe = recipes.load("quickstart", [*settings, *more, f"output_dir={folder}"])
    return Job.from_dict(
        {"run": "max", "recipe": recipe.to_dict(), "evaluation": STUDY["evaluation"]}
    )


def test_a_job_keeps_its_cost_at_checkpoints_between_two_lines(tmp_path, monkeypatch):
    monkeypatch.setattr(Curves, "_draw", lambda self: None)
    job = _one_job(tmp_path, "training.save_steps=1", "training.logging_steps=100")
    run_job(job)
    assert [cost.step for cost in read_costs(tmp_path / "cost.jsonl")] == [1, 2, 2, 2, 3, 4, 4, 4]


@pytest.mark.slow
def test_a_study_in_processes_of_its_own_survives_ctrl_c(tmp_path):
    path, folder = write(tmp_path, seeds=[0]), tmp_path / "out"
    program = "from hf_seqvae.cli import app; app()"
    command = [sys.executable, "-c", program, "compare", str(path), "--output-dir", str(folder)]
    command += ["--jobs", "2", "--set", "training.epochs=400"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        until = time.monotonic() + 120
        logs = [folder / run / "seed-0" / "log.jsonl" for run in ("last", "max")]
        while not all(log.is_file() for log in logs) and time.monotonic() < until:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=120)
    assert process.returncode == 130, said
    assert "what was saved goes on with the same command" in " ".join(said.split())
    asked = (*command[3:], "--dry-run", "--json")
    rows = json.loads(call(*asked).stdout)
    assert {row["state"] for row in rows} == {"resumable"}


class TestResultsOfAnotherFolder:
    """results.jsonl, copied without any run, in place of training again."""

    @pytest.fixture
    def moved(self, study, tmp_path, started):
        """The study, the folder that was, a new one, and the file of results alone."""
        path, folder = study
        call("compare", path, "--output-dir", folder, "--table-only")
        kept = tmp_path / "results.jsonl"
        shutil.copyfile(folder / "results.jsonl", kept)
        return path, folder, tmp_path / "new", kept

    def test_nothing_is_trained_and_the_table_is_the_same(self, moved, started):
        path, folder, new, kept = moved
        call("compare", path, "--output-dir", new, "--results", kept)
        assert started == []
        before, after = (json.loads((one / "table.json").read_text()) for one in (folder, new))
        assert after["runs"] == before["runs"]
        assert after["runs"][1]["difference"] is not None
        assert after["hypothesis"] == before["hypothesis"]
        assert (new / "results.jsonl").read_bytes() == kept.read_bytes()
        links = [one["recipe"] for run in after["runs"] for one in run["seeds"]]
        assert all(recipes.load(new / link) for link in links)
        assert not list(new.rglob("*.safetensors"))

    def test_it_holds_no_folder_of_the_machine(self, moved):
        path, folder, _, kept = moved
        assert str(folder) not in kept.read_text()

    def test_what_is_put_there_stays_until_its_folder_is_removed(self, moved, started):
        path, _, new, kept = moved
        call("compare", path, "--output-dir", new, "--results", kept)
        shutil.rmtree(new / "max" / "seed-1")
        call("compare", path, "--output-dir", new)
        assert started == ["max seed 1"]

    def test_runs_that_it_lacks_are_trained(self, moved, started):
        path, _, new, kept = moved
        lines = kept.read_text().splitlines(keepends=True)
        kept.write_text("".join(line for line in lines if '"seed": 1' not in line))
        call("compare", path, "--output-dir", new, "--results", kept, "--only", "max")
        assert started == ["max seed 1"]
        runs = json.loads((new / "table.json").read_text())["runs"]
        states = [[one["state"] for one in run["seeds"]] for run in runs]
        assert states == [["finished", "not started"], ["finished", "finished"]]

    def test_what_has_begun_in_the_folder_comes_first(self, moved, started):
        path, folder, _, kept = moved
        kept.write_text(kept.read_text().replace('"epoch": 2.0', '"epoch": 7.0'))
        shutil.rmtree(folder / "max" / "seed-1")
        call("compare", path, "--output-dir", folder, "--results", kept)
        runs = json.loads((folder / "table.json").read_text())["runs"]
        epochs = [[one["epoch"] for one in run["seeds"]] for run in runs]
        assert (epochs, started) == ([[2.0, 2.0], [2.0, 7.0]], [])

    @pytest.fixture
    def of_files(self, tmp_path, started):
        """The results of a run on files of text, the folder of these, and how to ask for others."""

        def ask(data, out, *more):
            files = [
                f"data.{name}_file={data / name}.txt" for name in ("train", "validation", "test")
            ]
            options = [word for file in ["data.dataset=null", *files] for word in ("--set", file)]
            study = write(tmp_path, runs=STUDY["runs"][1:], seeds=[0])
            return ("compare", study, "--output-dir", tmp_path / out, *options, *more)

        here = tmp_path / "here"
        here.mkdir()
        sentences = [f"{a} sees {b} .\n" for a in ("she", "he", "it") for b in "abcdefgh"]
        for name, count in (("train", 24), ("validation", 8), ("test", 12)):
            (here / f"{name}.txt").write_text("".join(sentences[:count]))
        call(*ask(here, "one"))
        started.clear()
        return tmp_path / "one" / "results.jsonl", here, ask

    def test_the_same_text_in_another_place_counts(self, of_files, tmp_path, started):
        kept, here, ask = of_files
        shutil.move(here, tmp_path / "there")
        call(*ask(tmp_path / "there", "two", "--results", kept))
        call(*ask(tmp_path / "there", "two"))
        assert started == []
        recipe = recipes.load(tmp_path / "two" / "max" / "seed-0" / "recipe.yaml")
        assert recipe.data.train_file == str(tmp_path / "there" / "train.txt")
        assert str(here) not in (tmp_path / "two" / "results.jsonl").read_text()

    def test_other_text_in_the_same_place_does_not(self, of_files, started):
        kept, here, ask = of_files
        text = (here / "train.txt").read_text()
        (here / "train.txt").write_text(text.replace("she sees a", "she sees h"))
        error = refused(*ask(here, "two", "--results", kept))
        assert "another text; changed: " in error and "train text" in error and started == []

    def test_a_stream_is_compared_by_its_place(self, of_files, tmp_path):
        kept, here, ask = of_files
        lines = kept.read_text()
        kept.write_text(lines.replace('"streaming": false', '"streaming": true'))
        asked = ask(here, "two", "--results", kept, "--set", "data.streaming=true", "--dry-run")
        assert "compared by its paths alone" in call(*asked).stderr
        shutil.move(here, tmp_path / "there")
        asked = ask(tmp_path / "there", "two", *asked[-5:])
        assert "another recipe; changed: data.train_file" in call(*asked).stderr

    def test_each_tokenizer_of_a_study_has_its_own_digests_and_text_is_read_once(
        self, of_files, monkeypatch
    ):
        recipe = recipes.load(of_files[0].parent / "max" / "seed-0" / "recipe.yaml")
        reads = []
        read = data_digests.prepare_text
        monkeypatch.setattr(
            data_digests, "prepare_text", lambda recipe: reads.append(recipe) or read(recipe)
        )
        rare = dataclasses.replace(recipe.tokenizer, min_frequency=5)
        digests = data_digests.JobData()
        first, other = digests(recipe), digests(dataclasses.replace(recipe, tokenizer=rare))
        assert first["vocabulary"] != other["vocabulary"]
        assert digests(dataclasses.replace(recipe, seed=9)) == first and len(reads) == 2

    def test_a_line_of_the_format_before_has_no_text_and_no_machine(self, moved, started):
        path, _, new, kept = moved
        lines = [json.loads(line) for line in kept.read_text().splitlines()]
        for values in lines:
            values["format"] = 1
            del values["result"]["data"], values["result"]["machine"]
        kept.write_text("".join(json.dumps(values) + "\n" for values in lines))
        call("compare", path, "--output-dir", new, "--results", kept)
        table = (new / "table.md").read_text()
        assert started == [] and "-: seconds of an unknown machine" in table

    def test_text_that_is_not_here_is_compared_by_its_place(self, of_files, tmp_path, started):
        kept, here, ask = of_files
        shutil.rmtree(here)
        said = call(*ask(here, "two", "--results", kept, "--table-only")).stderr
        assert "the text of 1 runs was compared by its paths alone: max seed 0" in said
        assert "| **max** | n = 1 |" in (tmp_path / "two" / "table.md").read_text()
        error = refused(*ask(tmp_path / "there", "three", "--results", kept))
        assert "another recipe; changed: data.train_file: " in error and started == []

    def test_lines_of_runs_that_are_not_there_stay_in_the_file(self, moved, started):
        path, folder, _, kept = moved
        shutil.rmtree(folder / "max")
        write(path.parent, runs=STUDY["runs"][:1])
        call("compare", path, "--output-dir", folder, "--table-only")
        assert (folder / "results.jsonl").read_bytes() == kept.read_bytes()

    def test_a_damaged_file_in_the_way_is_named_before_anything_is_trained(self, moved, started):
        path, folder, new, kept = moved
        new.mkdir()
        (new / "results.jsonl").write_text("[1]\n")
        error = refused("compare", path, "--output-dir", new)
        assert "results.jsonl, line 1, is damaged" in error and "Restore it" in error
        assert started == []

    def test_dry_run_counts_it_and_writes_nothing(self, moved):
        path, _, new, kept = moved
        asked = ("compare", path, "--output-dir", new, "--results", kept, "--dry-run", "--json")
        assert {row["state"] for row in json.loads(call(*asked).stdout)} == {"finished"}
        assert not new.exists()

    @pytest.mark.parametrize(
        ("old", "new", "said"),
        [
            ('"epochs": 2', '"epochs": 9', "another recipe; changed: training.epochs: 9 -> 2"),
            ('"iw_samples": 3', '"iw_samples": 4', "another evaluation; changed: iw_samples: 4"),
            ('{"format": 2', '{"format": 9', "was written by another version (format 9"),
            ('"likelihoods": [', '"likelihood": [', "line 1, is damaged: likelihoods is no list"),
            ('"likelihoods": [', '"likelihoods": ["a", ', "likelihoods is no list of numbers"),
            ('"validations": [', '"validations": [{}, ', "a validation lacks its epoch"),
            ('"nll": ', '"nnl": ', "line 1, is damaged: figures lacks 'nll'"),
            ('"nll": ', '"nll": "x", "was": ', "line 1, is damaged: nll is 'x', no number"),
            ('"nll": ', '"nll": NaN, "was": ', "line 1, is damaged: nll is nan, no number"),
            ('"run": "last"', '"run": 3', "line 1, is damaged"),
            ('"iw_sentences"', '"iw_sentence"', "iw_sentence"),
            ('"latent_size"', '"latent_sizes"', "line 1, is of another version"),
            ("}\n", "\n", "line 1, is not JSON"),
            ('"run": "max"', '"run": "last"', "line 2, has last seed 0 again"),
            ("}\n", "}", "is cut: its last line has no end"),
        ],
    )
    def test_what_does_not_fit_is_refused_before_anything_starts(
        self, moved, started, old, new, said
    ):
        path, _, folder, kept = moved
        text = kept.read_text()
        assert old in text
        kept.write_text(text.replace(old, new))
        error = refused("compare", path, "--output-dir", folder, "--results", kept)
        assert said in error
        assert started == [] and not folder.exists()

    def test_another_study_is_refused(self, moved, started):
        path, _, folder, kept = moved
        kept.write_text(kept.read_text().replace('"run": "', '"run": "other_'))
        error = refused("compare", path, "--output-dir", folder, "--results", kept)
        assert "has 4 runs, and none is of this study" in error and started == []

    def test_a_run_that_does_not_fit_stops_no_other(self, moved, started):
        path, _, new, kept = moved
        lines = kept.read_text().splitlines(keepends=True)
        kept.write_text("".join([lines[0].replace('"epochs": 2', '"epochs": 9'), *lines[1:]]))
        printed = call("compare", path, "--output-dir", new, "--results", kept, "--only", "max")
        assert started == [] and "last seed 0: " in printed.stderr
        assert "3 finished runs were taken from" in printed.stderr
        states = json.loads((new / "table.json").read_text())["runs"][0]["seeds"]
        assert [one["state"] for one in states] == ["refused", "finished"]

    def test_a_line_that_cannot_be_written_stops_no_run(self, study, started, monkeypatch):
        path, folder = study
        for run in ("last", "max"):
            shutil.rmtree(folder / run / "seed-1")

        def full(*_):
            raise OSError("No space left on device")

        monkeypatch.setattr("hf_seqvae.study.write_results", full)
        printed = call("compare", path, "--output-dir", folder)
        assert started == ["last seed 1", "max seed 1"]
        assert printed.stderr.count("not in results.jsonl yet: No space left on device") == 2
        assert (folder / "results.jsonl").read_text().count("\n") == 4  # the end of the command

    def test_what_the_folder_refuses_is_left_as_it_is(self, moved, started):
        path, folder, _, kept = moved
        other = folder / "max" / "seed-1"
        (other / "report.json").unlink()
        shutil.rmtree(other / "checkpoints")
        job = (other / "job.json").read_text() if (other / "job.json").is_file() else None
        values = {"format": 1, "run": "max", "recipe": {}, "evaluation": {"iw_samples": 99}}
        (other / "job.json").write_text(json.dumps(values))
        printed = call("compare", path, "--output-dir", folder, "--results", kept, "--table-only")
        assert "holds another evaluation" in printed.stderr, job
        assert not (other / "result.json").exists()
        assert json.loads((other / "job.json").read_text()) == values

    def test_each_run_is_there_as_soon_as_it_has_ended(self, study, started, monkeypatch):
        path, folder = study
        for run in ("last", "max"):
            shutil.rmtree(folder / run / "seed-1")
        (folder / "results.jsonl").unlink()
        lines = []

        def start(job, **_):
            kept = folder / "results.jsonl"
            lines.append(kept.read_text().count("\n") if kept.is_file() else 0)
            return InProcess(job)

        monkeypatch.setattr(runner, "_start", start)
        call("compare", path, "--output-dir", folder)
        assert lines == [0, 1]
        assert (folder / "results.jsonl").read_text().count("\n") == 4

    def test_a_missing_file_is_named(self, moved, tmp_path):
        path, _, new, _ = moved
        error = refused("compare", path, "--output-dir", new, "--results", tmp_path / "no.jsonl")
        assert "is no file" in error and "results.jsonl of a study's folder" in error
        assert "is no file" in refused("compare", path, "--output-dir", new, "--results", tmp_path)

    def test_a_changed_recipe_over_what_was_put_there_is_refused(self, moved, started):
        path, _, new, kept = moved
        call("compare", path, "--output-dir", new, "--results", kept)
        error = refused("compare", path, "--output-dir", new, "--set", "training.epochs=3")
        assert "training.epochs: 2 -> 3" in error and "remove that folder" in error
        assert started == []

    def test_a_damaged_result_names_the_file_and_the_cure(self, moved):
        path, _, new, kept = moved
        call("compare", path, "--output-dir", new, "--results", kept)
        (new / "max" / "seed-0" / "result.json").write_text("{}")
        error = call("compare", path, "--output-dir", new, "--table-only").stderr
        assert "result.json is damaged" in error and "the run is trained again" in error
