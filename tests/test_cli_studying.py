"""What compare shows while its jobs run: a table on a terminal, elsewhere lines of what is new."""

import io
import json
from types import SimpleNamespace

import pytest
import torch
from rich.console import Console
from study_standins import small_study

from hf_seqvae.cli.studying import JobScreen, show_rows
from hf_seqvae.evaluation.store import Store
from hf_seqvae.study import Interval, Row, Spread, plan_jobs


@pytest.fixture
def jobs(tmp_path):
    return plan_jobs(small_study(tmp_path, seeds=[0]), "study.yaml")


def validate(job, epoch, elbo):
    """A validation in the log of a job, 60 seconds an epoch."""
    job.folder.mkdir(parents=True, exist_ok=True)
    with (job.folder / "log.jsonl").open("a") as log:
        log.write(json.dumps({"step": 10 * epoch, "epoch": epoch, "eval/elbo": elbo}) + "\n")
    with (job.folder / "cost.jsonl").open("a") as cost:
        cost.write(json.dumps([10 * epoch, 60.0 * epoch, 60.0 * epoch]) + "\n")


def said(console):
    return console.file.getvalue()


def test_without_a_terminal_each_validation_is_a_line_once(jobs):
    console = Console(file=io.StringIO(), width=200)
    with JobScreen(jobs, console) as screen:
        for epoch, elbo in ((1, -40.0), (1, None), (2, -35.5)):
            if elbo is not None:
                validate(jobs[0], epoch, elbo)
            screen.update([jobs[0]])
    assert said(console).splitlines() == [
        "last seed 0: not started, epoch 1, validation ELBO -40.00",
        "last seed 0: not started, epoch 2, validation ELBO -35.50",
    ]


def test_the_end_of_a_job_is_said_when_it_no_longer_runs(jobs):
    console = Console(file=io.StringIO(), width=200)
    with JobScreen(jobs, console) as screen:
        screen.update([jobs[0]])
        (jobs[0].folder / "checkpoints" / "step-00000001").mkdir(parents=True)
        screen.update([])
    assert said(console).splitlines()[-1] == "last seed 0: resumable"


@pytest.mark.parametrize(
    ("process", "state", "left"), [(1, "running", "4 min"), (None, "resumable", "")]
)
def test_a_terminal_shows_epoch_bound_and_what_is_left(jobs, monkeypatch, process, state, left):
    monkeypatch.setattr("hf_seqvae.study.plan.holder", lambda folder: process)
    validate(jobs[0], 2, -35.5)
    (jobs[0].folder / "checkpoints" / "step-00000020").mkdir(parents=True)
    console = Console(file=io.StringIO(), width=120, force_terminal=True, color_system=None)
    with JobScreen(jobs, console) as screen:
        screen.update(jobs)
    row = next(line for line in said(console).splitlines() if line.strip().startswith("last"))
    # 2 of 6 epochs took 120 seconds
    assert row.split() == ["last", "0", state, "2.0", "of", "6", "-35.50", *left.split()]


def test_what_is_measured_of_a_trained_job_is_shown(jobs, monkeypatch):
    monkeypatch.setattr("hf_seqvae.study.plan.holder", lambda folder: 1)
    validate(jobs[0], 6, -35.5)
    (jobs[0].folder / "report.json").write_text("{}")
    store = Store(jobs[0].folder / "evaluation", {"num_sentences": 1300}, seconds=-1.0)
    plain = Console(file=io.StringIO(), width=200)
    terminal = Console(file=io.StringIO(), width=120, force_terminal=True, color_system=None)
    with JobScreen(jobs, plain) as screen, JobScreen(jobs, terminal) as live:
        for rows in (range(129), range(129, 260), range(260, 300), range(300, 1300)):
            store.add("decoded", {"row": torch.tensor(rows)})
            screen.update([jobs[0]])
            live.update([jobs[0]])
    line = "last seed 0: measuring, epoch 6, validation ELBO -35.50"
    assert said(plain).splitlines() == [
        f"{line}, {share} % of 1,300 sentences" for share in (0, 20, 100)
    ]
    shown = [row for row in said(terminal).splitlines() if row.strip().startswith("last")]
    assert "measuring" in shown[1] and "260 of 1,300 sentences measured" in shown[1]


@pytest.mark.parametrize("width", [80, 120, 200])
def test_the_table_in_short_cuts_no_name_and_no_figure(width):
    likelihoods = {
        "last_annealing": 101.61,
        "last_aggressive": 102.41,
        "last_autoencoder_first": 99,
    }
    figures = ("word_perplexity", "kl", "mutual_information", "active_units")
    rows = [
        Row(
            SimpleNamespace(name=name),
            (SimpleNamespace(finished=True, exact=False),),
            figures={key: Spread(32.14, 0, 3) for key in figures}
            | {"nll": Spread(nll, 1.23, 3), "word_perplexity": Spread(103.16, 0, 3)}
            | {key: Spread(5.9e-4, 0, 3) for key in ("kl", "mutual_information")},
            costs={"cpu_seconds": Spread(31.72, 0.1, 3)},
            difference=Interval(-0.19, -0.35, -0.03),
        )
        for name, nll in likelihoods.items()
    ]
    plan = SimpleNamespace(iw_samples=500, iw_sentences=3761, split="test")
    study = SimpleNamespace(evaluation=plan, name="ptb", baseline="last_annealing", folder="runs")
    console = Console(file=io.StringIO(), width=width)
    show_rows(console, study, rows)
    lines = said(console).splitlines()
    rule = next(at for at, line in enumerate(lines) if "────" in line)
    names = "".join(line.split()[0] for line in lines[rule + 1 : -3] if line[:3].strip())
    assert max(map(len, lines)) <= width and "…" not in said(console)
    for name, nll in likelihoods.items():
        assert name in names
        assert f"{nll:.2f} ± 1.23" in said(console)
    counts = [
        said(console).count(figure)
        for figure in ("31.72", "32.1 ", "[-0.35,", "-0.03]", "5.9e-04 ")
    ]
    assert counts == [3, 3, 2, 2, 6]
