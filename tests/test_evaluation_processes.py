"""Evaluation shared by processes: the report of one, on each, whatever they share and take up."""

import json
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from evaluation_standins import (
    BagByPosition,
    Stopped,
    assert_same_report,
    in_processes,
    tokenised,
    write_at_once,
)
from evaluation_worker import SHARED, measured
from safetensors.numpy import load_file

from hf_seqvae.evaluation import Processes, Report, evaluate, launched_processes, read_report

HERE = Path(__file__).resolve().parent
EACH = SHARED["iw_samples"] + SHARED["num_samples"] + 1


def begun(folder, *, decoded: int = 4 * EACH, **arguments) -> None:
    """Leaves in a folder what one process had done before it was killed: 4 sentences, or fewer."""
    model = BagByPosition()
    model.limits = (1000, decoded)
    with pytest.raises(Stopped):
        evaluate(model, tokenised(), folder=folder, **SHARED | {"batch_size": 2} | arguments)


# -- threads in the place of processes


@pytest.mark.parametrize("count", [2, 3, 5, 9])  # 7 sentences: uneven shares, and none at all
@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_the_report_of_many_processes_is_that_of_one_on_each(count, batch_size):
    alone = evaluate(BagByPosition(), tokenised(), **SHARED)
    models = [BagByPosition() for _ in range(count)]

    def call(processes):
        return evaluate(
            models[processes.rank],
            tokenised(),
            processes=processes,
            **SHARED | {"batch_size": batch_size},
        )

    reports = in_processes(count, call)
    for report in reports:
        assert_same_report(report, alone)
        assert report.num_processes == count
        assert report.figures == reports[0].figures
    assert sum(model.encoded for model in models) == 7
    assert sum(model.decoded for model in models) == 7 * EACH


@pytest.mark.parametrize("count", [1, 2, 4])
def test_another_number_of_processes_goes_on_where_some_were_killed(tmp_path, monkeypatch, count):
    write_at_once(monkeypatch)
    begun(tmp_path)
    models = [BagByPosition() for _ in range(count)]

    def call(processes):
        return evaluate(
            models[processes.rank], tokenised(), folder=tmp_path, processes=processes, **SHARED
        )

    alone = evaluate(BagByPosition(), tokenised(), **SHARED)
    for report in in_processes(count, call):
        assert_same_report(report, alone)
    assert sum(model.encoded for model in models) == 0
    assert sum(model.decoded for model in models) == (7 - 4) * EACH


def test_one_process_goes_on_where_three_were_killed(tmp_path, monkeypatch):
    write_at_once(monkeypatch)
    models = [BagByPosition() for _ in range(3)]
    for model in models:
        model.limits = (1000, EACH)  # each decodes one sentence, and is killed at its second

    def call(processes):
        arguments = SHARED | {"batch_size": 1}
        with pytest.raises(Stopped):
            evaluate(
                models[processes.rank],
                tokenised(),
                folder=tmp_path,
                processes=processes,
                **arguments,
            )

    in_processes(3, call)
    last = BagByPosition()
    report = evaluate(last, tokenised(), folder=tmp_path, **SHARED)
    assert (last.encoded, last.decoded) == (0, (7 - 3) * EACH)
    assert_same_report(report, evaluate(BagByPosition(), tokenised(), **SHARED))


def test_a_damaged_part_is_survived_by_all_processes(tmp_path, monkeypatch, caplog):
    write_at_once(monkeypatch)
    begun(tmp_path)
    next(tmp_path.glob("decoded-*")).write_bytes(b"")

    def call(processes):
        return evaluate(
            BagByPosition(), tokenised(), folder=tmp_path, processes=processes, **SHARED
        )

    alone = evaluate(BagByPosition(), tokenised(), **SHARED)
    with caplog.at_level(logging.WARNING):
        for report in in_processes(4, call):
            assert_same_report(report, alone)
    assert "is damaged" in caplog.text


@pytest.mark.parametrize("fresh", [False, True])
def test_a_folder_of_another_evaluation_is_refused_by_all_or_dropped_for_all(tmp_path, fresh):
    begun(tmp_path, seed=1)

    def call(processes):
        time.sleep(0.2 if processes.is_first else 0.0)  # the others are not to look before it
        return evaluate(
            BagByPosition(),
            tokenised(),
            folder=tmp_path,
            fresh=fresh,
            processes=processes,
            **SHARED,
        )

    alone = evaluate(BagByPosition(), tokenised(), **SHARED)
    for result in in_processes(3, call):
        if fresh:
            assert_same_report(result, alone)
        else:
            assert isinstance(result, ValueError) and "seed: 1 -> 0" in str(result)


def test_measuring_shares_the_work_and_the_first_process_writes(tmp_path):
    reports = in_processes(2, lambda processes: measured(tmp_path / "two", processes=processes))
    alone = measured(tmp_path / "one")
    assert_same_report(reports[0], alone)
    assert_same_report(read_report(tmp_path / "two"), alone)
    # read back by both: one of them alone reading would leave the other waiting
    again = in_processes(2, lambda processes: measured(tmp_path / "two", processes=processes))
    for report in again:
        assert_same_report(report, reports[0], exactly=True)


@pytest.mark.parametrize("fails", [False, True])
def test_the_first_process_goes_first_and_the_others_follow_also_where_it_fails(fails):
    events = []

    def call(processes):
        with processes.first_before_others():
            time.sleep(0.1 if processes.is_first else 0.0)
            events.append(processes.is_first)
            if fails:
                raise ValueError("no such file")

    results = in_processes(3, call)
    assert events == [True, False, False]
    assert all(isinstance(result, ValueError) == fails for result in results)


def test_without_a_launcher_there_is_one_process(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    processes = launched_processes()
    assert processes == Processes() and processes.is_first
    assert processes.gather("a") == ["a"]


# -- two real processes


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory) -> Path:
    """The folder in which two processes ran `evaluation_worker.py`."""
    folder = tmp_path_factory.mktemp("two")
    with pytest.MonkeyPatch.context() as patch:
        write_at_once(patch)
        begun(folder / "begun")
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    command = [sys.executable, *launcher, str(HERE / "evaluation_worker.py"), "shared", str(folder)]
    environment = os.environ | {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    environment["PYTHONPATH"] = os.pathsep.join([str(HERE.parent), str(HERE)])
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, env=environment, start_new_session=True
    )
    try:
        _, errors = process.communicate(timeout=200)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)  # the workers too
        raise
    assert process.returncode == 0, errors[-4000:]
    return folder


def found(folder: Path, name: str) -> list[tuple[dict, Report]]:
    results = []
    for rank in (0, 1):
        values = json.loads((folder / f"{name}-{rank}.json").read_text())
        arrays = load_file(folder / f"{name}-{rank}.safetensors")
        results.append((values, Report.from_dict(values["report"], arrays)))
    return results


@pytest.mark.parametrize(("name", "encoded", "decoded"), [("alone", 7, 7), ("begun", 0, 3)])
def test_two_processes_report_what_one_does(two_processes, name, encoded, decoded):
    alone = evaluate(BagByPosition(), tokenised(), **SHARED)
    results = found(two_processes, name)
    for values, report in results:
        assert values["count"] == report.num_processes == 2
        assert_same_report(report, alone)
    assert sum(values["encoded"] for values, _ in results) == encoded
    assert sum(values["decoded"] for values, _ in results) == decoded * EACH
    # batches of 3, 3 and 1, of which the first process has the first and the last
    if name == "alone":
        assert [values["encoded"] for values, _ in results] == [4, 3]


def test_two_processes_write_the_report_of_one(two_processes):
    assert_same_report(read_report(two_processes / "measured"), measured(None))


def test_two_processes_leave_their_group_before_they_end(two_processes):
    assert [(two_processes / f"left-{rank}").read_text() for rank in (0, 1)] == ["True", "True"]
