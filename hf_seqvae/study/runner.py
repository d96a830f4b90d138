"""Jobs side by side, each in a process of its own; what fails is noted and the rest goes on."""

import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import FrameType

from hf_seqvae.engine.files import write_text
from hf_seqvae.study.folder import FORMAT, JOB_NAME, STUDY_NAME, require_folder
from hf_seqvae.study.plan import FINISHED, MEASURING, RUNNING, Job
from hf_seqvae.study.schema import Study

logger = logging.getLogger(__name__)

LOG_NAME = "job.log"
_LINES = 5  # of a failed job's log that are shown
_PAUSE = 0.1  # seconds between two looks at the processes


class StudyStopped(Exception):
    """Ctrl-C or SIGTERM: the jobs were asked to stop and have ended."""

    def __init__(self, signal_number: int) -> None:
        self.exit_code = 128 + signal_number
        super().__init__(
            "The running jobs were asked to stop; what was saved goes on with the same command."
        )


def write_study(study: Study, overrides: Sequence[str] = ()) -> None:
    """Put what the study says, and what the command set over it, into its folder.

    Raises:
        ValueError: the folder cannot be written to.
    """
    require_folder(study.folder)
    values = {"format": FORMAT, "study": study.to_dict(), "overrides": list(overrides)}
    write_text(study.folder / STUDY_NAME, json.dumps(values, indent=2) + "\n")


def run_jobs(
    jobs: Sequence[Job],
    *,
    num_parallel: int = 1,
    nice: int = 0,
    watch: Callable[[Sequence[Job]], None] = lambda running: None,
    note: Callable[[str], None] = logger.info,
    ended: Callable[[Job], None] = lambda job: None,
    interval: float = 2.0,
) -> dict[Job, str]:
    """Run every job that is not finished and that no other process is at.

    Args:
        jobs: in the order they begin in.
        num_parallel: processes at once; with more than one, each gets one thread, unless
            OMP_NUM_THREADS says otherwise.
        nice: added to the niceness of the processes.
        watch: told which jobs are running, every `interval` seconds.
        note: told of a job that is left to another process.
        ended: told of a job that is finished, when it is.
        interval: seconds.

    Returns:
        The failed jobs with why they could not start, or how they ended and what they said last.

    Raises:
        StudyStopped: a signal came.
    """
    waiting = [job for job in jobs if job.state() != FINISHED]
    running: dict[Job, subprocess.Popen] = {}
    said_before: dict[Job, int] = {}  # bytes of the log, of earlier sittings
    failed: dict[Job, str] = {}
    with _signals() as received:
        try:
            while (waiting or running) and not received:
                while waiting and len(running) < num_parallel:
                    job = waiting.pop(0)
                    try:
                        if _is_taken(job, note):
                            continue
                        said_before[job] = _log_size(job)
                        running[job] = _start(job, nice=nice, one_thread=num_parallel > 1)
                    except (ValueError, OSError) as error:
                        failed[job] = str(error)
                watch(list(running))
                _wait(running, interval, received)
                for job in [job for job, process in running.items() if process.poll() is not None]:
                    code = running.pop(job).returncode
                    if not code:
                        ended(job)
                    elif not _is_taken(job, note):
                        failed[job] = _reason(job, code, said_before[job])
        finally:
            _stop(running, received)
        watch([])
    if received:
        raise StudyStopped(received[0])
    return failed


def _log_size(job: Job) -> int:
    path = job.folder / LOG_NAME
    return path.stat().st_size if path.is_file() else 0


def _reason(job: Job, code: int, start: int) -> str:
    """How a process ended, and the last lines of its log from byte `start` on."""
    how = f"ended by signal {-code}" if code < 0 else f"exit code {code}"
    path = job.folder / LOG_NAME
    said = path.read_bytes()[start:].decode(errors="replace") if path.is_file() else ""
    lines = said.splitlines()[-_LINES:]
    return "\n".join([f"{how}, {path} ends:", *lines]) if lines else f"{how}, nothing in {path}"


def _is_taken(job: Job, note: Callable[[str], None]) -> bool:
    """Whether another process is at a job, or it is finished by now, which is noted."""
    taken = "another process is at it"
    words = {RUNNING: taken, MEASURING: taken, FINISHED: "finished meanwhile"}.get(job.state())
    if words is not None:
        note(f"{job.title}: {words}, left alone.")
    return words is not None


def _start(job: Job, *, nice: int, one_thread: bool) -> subprocess.Popen:
    """The process of a job, its output in the job's folder; it hears no Ctrl-C but ours."""
    require_folder(job.folder)
    write_text(job.folder / JOB_NAME, json.dumps(job.to_dict(), indent=2) + "\n")
    environment = dict(os.environ)
    if one_thread:
        environment.setdefault("OMP_NUM_THREADS", "1")
    command = [sys.executable, "-m", "hf_seqvae.study.study_job", str(job.folder)]
    with (job.folder / LOG_NAME).open("a", encoding="utf-8") as log:
        return subprocess.Popen(
            [*command, "--nice", str(nice)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )


def _wait(running: dict[Job, subprocess.Popen], seconds: float, received: list[int]) -> None:
    """Until a job ends, a signal comes or the time is over."""
    until = time.monotonic() + seconds
    while time.monotonic() < until and not received:
        if any(process.poll() is not None for process in running.values()):
            return
        time.sleep(min(_PAUSE, seconds))


def _stop(running: Mapping[Job, subprocess.Popen], received: Sequence[int]) -> None:
    """Ask the jobs to save and end, and wait for them; a second signal kills them."""
    for process in running.values():
        process.terminate()
    while any(process.poll() is None for process in running.values()):
        if len(received) > 1:  # whoever asks twice does not want to wait
            for process in running.values():
                process.kill()
        time.sleep(_PAUSE)


@contextmanager
def _signals() -> Iterator[list[int]]:
    """The numbers of the signals to stop that came within, in a list."""
    received: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        received.append(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
