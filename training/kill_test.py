"""Kill a run again and again and compare what it ends with to an uninterrupted run.

    python training/kill_test.py --kills 100

Each run is a process of its own that trains a tiny recipe through `hf_seqvae.engine.train` and is
ended by SIGKILL: at a random time, before a random system call of those that put files in place, or
with a file of a checkpoint half written. It is started again until it ends by itself. Then weights,
optimiser state, best/, last/, the log (times aside) and the report must be equal, bit for bit, to
those of a run that nobody disturbed, and no unfinished file may be left. After that a new run
begins, until enough kills were made. POSIX only (fork). Ends with 0 if all was equal.
"""

import argparse
import json
import logging
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")

import torch  # noqa: E402

from hf_seqvae import everyday, plots  # noqa: E402
from hf_seqvae.engine import train  # noqa: E402
from hf_seqvae.recipe import Recipe  # noqa: E402

# calls that put files in place; a kill comes right before one of them
CALLS = [
    (os, "fsync"),
    (os, "rename"),
    (os, "replace"),
    (os, "truncate"),
    (shutil, "rmtree"),
    (shutil, "copyfile"),
]
LSTM = {"embedding_size": 6, "hidden_size": 8, "input_dropout": 0.2, "output_dropout": 0.2}


def make_recipe(folder: Path) -> Recipe:
    """Dropout, posterior noise, micro-batches, annealing, decays that reload the best weights."""
    return Recipe.from_dict(
        {
            "name": "kill",
            "output_dir": str(folder),
            "model": {"latent_size": 3, "encoder": LSTM, "decoder": LSTM},
            "data": {
                "dataset": "everyday",
                "num_train": 70,
                "num_validation": 12,
                "num_test": 12,
                "batch_size": 12,
            },
            "objective": {"beta": {"schedule": "linear", "num_steps": 20}},
            "training": {
                "epochs": 4,
                "optimizer": "adam",
                "learning_rate": 0.8,
                "scheduler": "plateau_halving",
                "patience": 1,
                "gradient_accumulation_steps": 2,
                "logging_steps": 4,
                "save_steps": 2,
                "keep_checkpoints": 2,
            },
        }
    )


def child(folder: Path, before: Callable[[], None]) -> int:
    """The process id of a fork that trains in `folder` after calling `before`."""
    process = os.fork()
    if process:
        return process
    code = 1
    try:
        before()
        train(make_recipe(folder), progress=False)
        code = 0
    finally:
        if code:
            traceback.print_exc()
        os._exit(code)  # a fork never returns into its parent's code


def killed_before_call(number: int) -> Callable[[], None]:
    """SIGKILL instead of the `number`-th of CALLS (from 0)."""
    left = [number]

    def guard(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left[0] -= 1
            return function(*arguments, **options)

        return call

    def install() -> None:
        for module, name in CALLS:
            setattr(module, name, guard(getattr(module, name)))

    return install


def killed_within_file(number: int, share: float) -> Callable[[], None]:
    """SIGKILL when the first `share` of the `number`-th `torch.save` (from 0) is on the disk."""
    save, left = torch.save, [number]

    def half(values: Any, path: Path) -> None:
        save(values, path)
        if left[0] == 0:
            os.truncate(path, int(path.stat().st_size * share))
            os.kill(os.getpid(), signal.SIGKILL)
        left[0] -= 1

    def install() -> None:
        torch.save = half

    return install


def count_calls(folder: Path) -> Callable[[], None]:
    """Write the number of CALLS and of `torch.save` of a whole run into `folder`."""
    counts: Counter[str] = Counter()

    def counted(function: Callable[..., Any], kind: str) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            counts[kind] += 1
            (folder / "counts.json").write_text(json.dumps(counts))
            return function(*arguments, **options)

        return call

    def install() -> None:
        for module, name in CALLS:
            setattr(module, name, counted(getattr(module, name), "calls"))
        torch.save = counted(torch.save, "saves")

    return install


def outcome(folder: Path) -> dict[str, Any]:
    """All that a run ends with, in a form that == compares bit for bit."""
    checkpoint = max((folder / "checkpoints").iterdir())
    log = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    for line in log:
        line.pop("train/tokens_per_second", None)
    report = json.loads((folder / "report.json").read_text())
    for split in ("validation", "test"):
        for name in ("wall_seconds", "cpu_seconds"):
            report[split].pop(name)
    files = {
        f"{name}/{path.name}": path.read_bytes()
        for name in ("best", "last", checkpoint.relative_to(folder))
        for path in (folder / name).iterdir()
        if path.suffix != ".pt" and path.name != "progress.json"
    }
    progress = json.loads((checkpoint / "progress.json").read_text())
    del progress["log_bytes"]  # the digits of the times
    state = torch.load(checkpoint / "training_state.pt", weights_only=True)
    own = torch.load(checkpoint / "process-00000.pt", weights_only=True)
    return {
        "checkpoints": sorted(path.name for path in (folder / "checkpoints").iterdir()),
        **files,
        "state": comparable(state),
        "process": comparable(own),
        "progress": progress,
        "log": log,
        "report": report,
        "unfinished": [str(path) for path in folder.rglob(".*")],
    }


def comparable(value: Any) -> Any:
    """Tensors as their bytes, so that NaN equals NaN and nothing is rounded."""
    if isinstance(value, torch.Tensor):
        return (str(value.dtype), tuple(value.shape), value.numpy().tobytes())
    if isinstance(value, dict):
        return {key: comparable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [comparable(item) for item in value]
    return value


def draw_kill(
    draw: random.Random, counts: dict[str, int], seconds: float
) -> tuple[str, Callable[[], None], float | None]:
    """A kind of kill, what to do in the child, and after how many seconds the parent kills it."""
    kind = draw.choice(["time", "before a call", "within a file"])
    if kind == "time":
        return kind, lambda: None, draw.uniform(0.0, seconds)
    if kind == "before a call":
        return kind, killed_before_call(draw.randrange(counts["calls"])), None
    return kind, killed_within_file(draw.randrange(counts["saves"]), draw.random()), None


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    logging.disable(logging.WARNING)
    everyday.entropy()  # kept by this process for all its forks
    plots.training_curves = lambda *arguments, **values: None  # slow, and never compared
    warnings.filterwarnings("ignore", message=".*multi-threaded.*fork", category=DeprecationWarning)
    draw, kinds, started = random.Random(options.seed), Counter(), time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="kill_test_") as name:
        root = Path(name)
        reference = root / "reference"
        began = time.perf_counter()
        if os.waitpid(child(reference, count_calls(root)), 0)[1] != 0:
            print("the uninterrupted run failed")
            return 1
        seconds = time.perf_counter() - began
        counts = json.loads((root / "counts.json").read_text())
        expected = outcome(reference)
        print(f"an uninterrupted run: {seconds:.2f} s, {counts}")
        runs = attempts = 0
        while sum(kinds.values()) < options.kills:
            folder = root / f"run-{runs}"
            while True:
                attempts += 1
                kind, before, after = draw_kill(draw, counts, seconds)
                process = child(folder, before)
                if after is not None:
                    time.sleep(after)
                    os.kill(process, signal.SIGKILL)
                status = os.waitpid(process, 0)[1]
                if os.WIFSIGNALED(status):
                    kinds[kind] += 1
                elif status == 0:
                    break
                else:
                    print(f"attempt {attempts} ({kind}) failed")
                    return 1
            result = outcome(folder)
            wrong = [key for key in {**expected, **result} if result.get(key) != expected.get(key)]
            if wrong:
                print(f"run {runs} differs from the uninterrupted run in {wrong}: {folder}")
                return 1
            shutil.rmtree(folder)
            runs += 1
    summary = {
        "kills": sum(kinds.values()),
        "kinds": dict(sorted(kinds.items())),
        "runs": runs,
        "attempts": attempts,
        "different": 0,
        "seconds": round(time.perf_counter() - started, 1),
    }
    print(json.dumps(summary))
    return 0


if __name__ == "__main__":
    sys.exit(main())
