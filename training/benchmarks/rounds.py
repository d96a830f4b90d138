"""What the benchmarks share: rounds in which contestants take turns, and memory of a child."""

import json
import os
import statistics
from pathlib import Path


def medians(contestants: dict, repeats: int) -> dict[str, dict[str, float]]:
    """Median CPU and wall seconds of each contestant, which take turns in each round."""
    seconds = {name: [] for name in contestants}
    for _ in range(repeats):
        for name, run in contestants.items():
            seconds[name].append(run())
    return {
        name: {
            "cpu_s": statistics.median(cpu for cpu, _ in values),
            "wall_s": statistics.median(wall for _, wall in values),
        }
        for name, values in seconds.items()
    }


def status_kib(field: str) -> int:
    """A field of /proc/self/status, in KiB."""
    line = next(
        line
        for line in Path("/proc/self/status").read_text().splitlines()
        if line.startswith(f"{field}:")
    )
    return int(line.split()[1])


def in_child(function, *arguments):
    """The function's result, from a forked child: its memory starts afresh."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        status = 1
        try:
            os.write(write, json.dumps(function(*arguments)).encode())
            status = 0
        finally:
            os._exit(status)
    os.close(write)
    with os.fdopen(read) as pipe:
        text = pipe.read()
    if os.waitpid(child, 0)[1] != 0:
        raise RuntimeError(f"{function.__name__}{arguments} failed in its child process.")
    return json.loads(text)
