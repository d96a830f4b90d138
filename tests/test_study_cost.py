"""What a run has cost, across kills."""

import pytest

from hf_seqvae.engine.progress import Progress
from hf_seqvae.study import cost
from hf_seqvae.study.cost import Cost, Stopwatch, read_costs


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test sets; the processor runs at half its speed."""
    now = {"wall": 0.0}
    monkeypatch.setattr(cost.time, "monotonic", lambda: now["wall"])
    monkeypatch.setattr(cost.time, "process_time", lambda: now["wall"] / 2)
    return now


def sit(path, clock, *, start, lines, seconds):
    """A sitting from a step on, with a line of the log at each step of `lines`."""
    watch = Stopwatch(path)
    watch.start(Progress(step=start), None)
    at = start
    for step in lines:
        for _ in range(step - at):
            watch.step()
        at = step
        clock["wall"] += seconds
        watch.line({"step": step})
    return watch


def test_sittings_add_up(tmp_path, clock):
    path = tmp_path / "cost.jsonl"
    sit(path, clock, start=0, lines=[10, 20], seconds=3.0)
    clock["wall"] += 1000.0  # the time between two sittings
    sit(path, clock, start=20, lines=[30], seconds=3.0)
    assert read_costs(path) == [Cost(10, 3.0, 1.5), Cost(20, 6.0, 3.0), Cost(30, 9.0, 4.5)]


def test_what_a_kill_made_to_be_done_again_counts_once(tmp_path, clock):
    path = tmp_path / "cost.jsonl"
    sit(path, clock, start=0, lines=[10, 20, 30], seconds=3.0)  # killed; the checkpoint is of 10
    sit(path, clock, start=10, lines=[20], seconds=4.0)
    assert read_costs(path) == [Cost(10, 3.0, 1.5), Cost(20, 7.0, 3.5)]


def test_a_checkpoint_between_two_lines_keeps_what_was_spent_up_to_it(tmp_path, clock):
    path = tmp_path / "cost.jsonl"
    watch = Stopwatch(path, save_steps=15)
    watch.start(Progress(step=0), None)
    for _ in range(29):  # killed; the checkpoint is of 15, and no line was written
        clock["wall"] += 1.0
        watch.step()
    sit(path, clock, start=15, lines=[30], seconds=15.0)
    assert read_costs(path) == [Cost(15, 15.0, 7.5), Cost(30, 30.0, 15.0)]


def test_a_run_that_starts_again_forgets_what_was_spent(tmp_path, clock):
    path = tmp_path / "cost.jsonl"
    sit(path, clock, start=0, lines=[10], seconds=3.0)
    sit(path, clock, start=0, lines=[10], seconds=4.0)
    assert read_costs(path) == [Cost(10, 4.0, 2.0)]


def test_a_signal_between_two_lines_keeps_the_steps_made(tmp_path, clock):
    path = tmp_path / "cost.jsonl"
    watch = sit(path, clock, start=0, lines=[10], seconds=3.0)
    watch.step()
    clock["wall"] += 1.0
    watch.close()
    assert read_costs(path)[-1] == Cost(11, 4.0, 2.0)


def test_drawing_after_the_last_line_costs_nothing(tmp_path, clock):
    path = tmp_path / "cost.jsonl"
    watch = sit(path, clock, start=0, lines=[10], seconds=3.0)
    clock["wall"] += 5.0
    watch.close()
    assert read_costs(path) == [Cost(10, 3.0, 1.5)]


def test_a_line_that_a_kill_cut_short_is_left_out(tmp_path):
    path = tmp_path / "cost.jsonl"
    path.write_text("[10, 3.0, 1.5]\n[20, 6.")
    assert read_costs(path) == [Cost(10, 3.0, 1.5)]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('[20, 6."', "line 2, is not JSON"),
        ("[20, 6.0]", r"a line, got \[20, 6.0\]. Remove the line"),
        ('["20", 6.0, 3.0]', r"a line, got \['20'"),
        ("{}", "a line, got {}"),
        ("20", "a line, got 20"),
    ],
)
def test_a_damaged_line_is_an_error_that_names_its_cure(tmp_path, line, message):
    path = tmp_path / "cost.jsonl"
    whole = "[10, 3.0, 1.5]\n{}[30, 9.0, 4.5]\n"
    path.write_text(whole.format(line + "\n"))
    with pytest.raises(ValueError, match=message):
        read_costs(path)
    path.write_text(whole.format(""))
    assert read_costs(path) == [Cost(10, 3.0, 1.5), Cost(30, 9.0, 4.5)]
