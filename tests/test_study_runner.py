"""Jobs side by side: how many, what fails, what a signal does."""

import os
import signal
import subprocess
import sys
import time

import pytest
from study_standins import small_study

from hf_seqvae.study import StudyStopped, plan_jobs, run_jobs, runner, study_job

FINE = "pass"
FAILS = "import sys; print('no such file: data.txt'); sys.exit(1)"
SAVES = """
import signal, sys, time
from pathlib import Path
def save(*_):
    Path(sys.argv[1], "saved").touch()
    sys.exit(143)
signal.signal(signal.SIGTERM, save)
Path(sys.argv[1], "ready").touch()
time.sleep(60)
"""


@pytest.fixture
def jobs(tmp_path):
    return plan_jobs(small_study(tmp_path / "out"), "study.yaml")


@pytest.fixture
def started(monkeypatch):
    """The jobs in the order they were started in, as processes that run a few lines."""
    order, programs = [], {}

    def start(job, *, nice, one_thread):
        order.append(job)
        job.folder.mkdir(parents=True, exist_ok=True)
        with (job.folder / runner.LOG_NAME).open("a") as log:
            program = programs.get(job.title, FINE)
            return subprocess.Popen([sys.executable, "-c", program, str(job.folder)], stdout=log)

    monkeypatch.setattr(runner, "_start", start)
    return order, programs


def finish(job):
    """Leave the folder as a finished job does."""
    (job.folder / "evaluation").mkdir(parents=True)
    for name in ("report.json", "initial.json", "evaluation/report.json"):
        (job.folder / name).write_text("{}")


def test_no_more_run_at_once_than_asked_and_all_in_order(jobs, started):
    order, _ = started
    most = []
    failed = run_jobs(jobs, num_parallel=2, watch=lambda at: most.append(len(at)), interval=0.01)
    assert (failed, order) == ({}, jobs)
    assert max(most) == 2


@pytest.mark.parametrize("trained", [False, True])
def test_finished_runs_and_those_of_another_process_are_left_alone(
    jobs, started, monkeypatch, trained
):
    order, _ = started
    finish(jobs[0])
    if trained:
        jobs[1].folder.mkdir(parents=True)
        (jobs[1].folder / "report.json").write_text("{}")
    monkeypatch.setattr(
        "hf_seqvae.study.plan.holder", lambda folder: 1 if folder == jobs[1].folder else None
    )
    assert jobs[1].state() == ("measuring" if trained else "running")
    run_jobs(jobs, interval=0.01)
    assert order == jobs[2:]


@pytest.mark.parametrize(("other", "said"), [(1, "at it"), (None, "finished meanwhile")])
def test_what_another_process_took_up_meanwhile_is_left_alone(
    jobs, started, monkeypatch, other, said
):
    order, _ = started
    taken = []
    monkeypatch.setattr(
        "hf_seqvae.study.plan.holder", lambda folder: other if folder in taken else None
    )

    def meanwhile(running):
        if not taken:
            taken.append(jobs[1].folder)
            if other is None:
                finish(jobs[1])

    notes = []
    failed = run_jobs(jobs, watch=meanwhile, note=notes.append, interval=0.01)
    assert (failed, order) == ({}, [jobs[0], *jobs[2:]])
    assert len(notes) == 1 and jobs[1].title in notes[0] and said in notes[0]


def test_a_job_that_another_process_was_faster_with_has_not_failed(jobs, started, monkeypatch):
    order, programs = started
    programs[jobs[0].title] = FAILS
    monkeypatch.setattr(
        "hf_seqvae.study.plan.holder",
        lambda folder: 1 if order and folder == jobs[0].folder else None,
    )
    notes = []
    assert run_jobs(jobs, note=notes.append, interval=0.01) == {}
    assert order == jobs
    assert len(notes) == 1 and jobs[0].title in notes[0]


def test_a_failed_job_is_reported_and_the_rest_goes_on(jobs, started):
    order, programs = started
    programs[jobs[1].title] = FAILS
    failed = run_jobs(jobs, interval=0.01)
    log = jobs[1].folder / runner.LOG_NAME
    assert failed == {jobs[1]: f"exit code 1, {log} ends:\nno such file: data.txt"}
    assert order == jobs


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("import os; os.kill(os.getpid(), 9)", "ended by signal 9, nothing in {log}"),
        ("import sys; sys.exit(3)", "exit code 3, nothing in {log}"),
        (FAILS, "exit code 1, {log} ends:\nno such file: data.txt"),
    ],
)
def test_the_reason_is_of_this_sitting_alone(jobs, started, program, reason):
    _, programs = started
    programs[jobs[0].title] = program
    log = jobs[0].folder / runner.LOG_NAME
    log.parent.mkdir(parents=True)
    log.write_text("ValueError: mended long ago\n")
    failed = run_jobs(jobs[:1], interval=0.01)
    assert failed == {jobs[0]: reason.format(log=log)}


def test_a_job_that_cannot_start_is_reported_and_the_rest_goes_on(jobs, started):
    order, _ = started
    jobs[1].folder.parent.mkdir(parents=True)
    jobs[1].folder.write_text("a file in the way")
    failed = run_jobs(jobs, interval=0.01)
    assert list(failed) == [jobs[1]] and str(jobs[1].folder) in failed[jobs[1]]
    assert jobs[3] in order


def test_an_error_of_the_runner_leaves_no_job_behind(jobs, started):
    _, programs = started
    programs[jobs[0].title] = SAVES

    def breaks(running):
        if (jobs[0].folder / "ready").exists():
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_jobs(jobs, watch=breaks, interval=0.01)
    assert (jobs[0].folder / "saved").exists()


def test_a_signal_lets_the_jobs_save_and_starts_no_other(jobs, started):
    order, programs = started
    programs[jobs[0].title] = SAVES

    def stop(running):
        if (jobs[0].folder / "ready").exists():
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(StudyStopped, match="were asked to stop") as error:
        run_jobs(jobs, watch=stop, interval=0.01)
    assert error.value.exit_code == 143
    assert "what was saved goes on with the same command" in str(error.value)
    assert (jobs[0].folder / "saved").exists()
    assert order == jobs[:1]


def test_a_second_signal_kills(jobs, started):
    order, programs = started
    programs[jobs[0].title] = SAVES.replace("def save(*_):", "def save(*_):\n    return")
    begun = time.monotonic()

    def stop(running):
        if (jobs[0].folder / "ready").exists():
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(StudyStopped) as error:
        run_jobs(jobs, watch=stop, interval=0.01)
    assert error.value.exit_code == 130
    assert time.monotonic() - begun < 30


def test_handlers_are_put_back(jobs, started):
    before = signal.getsignal(signal.SIGTERM)
    run_jobs(jobs[:1], interval=0.01)
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_job_whose_file_is_damaged_ends_with_its_name(tmp_path, monkeypatch, caplog):
    (tmp_path / "job.json").write_text("")
    monkeypatch.setattr(sys, "argv", ["study_job", str(tmp_path)])
    with pytest.raises(SystemExit) as error:
        study_job.main()
    assert error.value.code == 1
    assert "job.json is damaged" in caplog.text


@pytest.mark.parametrize(("parallel", "threads"), [(1, None), (2, "1")])
def test_jobs_side_by_side_have_one_thread_each(jobs, monkeypatch, parallel, threads):
    called = []

    class Done:
        returncode = 0

        def __init__(self, command, **options):
            called.append((command, options))

        def poll(self):
            return 0

    monkeypatch.setattr(runner.subprocess, "Popen", Done)
    monkeypatch.delenv("OMP_NUM_THREADS")
    run_jobs(jobs[:1], num_parallel=parallel, nice=7, interval=0.01)
    command, options = called[0]
    assert command[1:] == ["-m", "hf_seqvae.study.study_job", str(jobs[0].folder), "--nice", "7"]
    assert options["env"].get("OMP_NUM_THREADS") == threads
    assert options["start_new_session"]
