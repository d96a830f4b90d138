"""What compare shows while its jobs run: a table on a terminal, elsewhere lines of what is new."""

import io
import json

import pytest
from rich.console import Console
from study_standins import small_study

from hf_seqvae.cli.studying import JobScreen
from hf_seqvae.study import plan_jobs


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


def test_a_terminal_shows_epoch_bound_and_what_is_left(jobs, monkeypatch):
    monkeypatch.setattr("hf_seqvae.study.plan.holder", lambda folder: 1)
    validate(jobs[0], 2, -35.5)
    console = Console(file=io.StringIO(), width=120, force_terminal=True, color_system=None)
    with JobScreen(jobs, console) as screen:
        screen.update(jobs)
    row = next(line for line in said(console).splitlines() if line.strip().startswith("last"))
    # 2 of 6 epochs took 120 seconds
    assert row.split() == ["last", "0", "running", "2.0", "of", "6", "-35.50", "4", "min"]
