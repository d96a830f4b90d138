"""What the benchmarks share: rounds of contestants in turn, memory of a child, the results."""

import json
import os
import statistics
import sys
from pathlib import Path

import torch


def in_turns(contestants: dict, repeats: int) -> dict[str, list[tuple[float, float]]]:
    """CPU and wall seconds of each contestant in each round, in which they take turns."""
    seconds = {name: [] for name in contestants}
    for _ in range(repeats):
        for name, run in contestants.items():
            seconds[name].append(run())
    return seconds


def medians(contestants: dict, repeats: int) -> dict[str, dict[str, float]]:
    """Median CPU and wall seconds of each contestant, which take turns in each round."""
    return {
        name: {
            "cpu_s": statistics.median(cpu for cpu, _ in values),
            "wall_s": statistics.median(wall for _, wall in values),
        }
        for name, values in in_turns(contestants, repeats).items()
    }


def ratios(contestants: dict, repeats: int, base: str) -> dict[str, dict[str, float]]:
    """Medians over rounds of each contestant's seconds over those of `base` in the same round."""
    seconds = in_turns(contestants, repeats)
    return {
        kind: {
            name: statistics.median(
                one[place] / other[place] for one, other in zip(values, seconds[base], strict=True)
            )
            for name, values in seconds.items()
        }
        for place, kind in enumerate(("cpu", "wall"))
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


def processor() -> str:
    """The processor's name, number of cores, and what it has for bfloat16."""
    text = Path("/proc/cpuinfo").read_text()
    lines = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    fields = {name.strip(): value.strip() for name, value in lines.items()}
    flags = [flag for flag in ("avx512_bf16", "amx_bf16") if flag in fields["flags"].split()]
    return f"{fields['model name']}, {os.cpu_count()} cores, {' '.join(flags) or 'no bfloat16'}"


def publish(results: dict, output: Path | None) -> None:
    """Print the results as JSON with the machine and the command, and write them to a file."""
    results = results | {
        "machine": processor(),
        "torch": torch.__version__,
        "command": " ".join(["python", *sys.argv]),
    }
    text = json.dumps(results, indent=2, default=float)
    print(text)
    if output is not None:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(text + "\n")
