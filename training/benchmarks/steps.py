"""Training steps at the studies' sizes, as shares of what the processor can do and of each other.

    python training/benchmarks/steps.py --output training/results/steps.json

Figures are medians of rounds in which the contestants take turns; CPU time beside wall time, since
a busy machine disturbs the first less than the second.
"""

import argparse
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from rounds import in_child, medians, publish, ratios, status_kib
from sizes import SIZES, build_batch, build_model, operations, products, timed
from throughput import Bench
from torch import nn

from hf_seqvae.model.linear_cross_entropy import linear_cross_entropy
from hf_seqvae.model.pooling import POOLINGS
from hf_seqvae.objectives import KL_TERMS, Objective

OPTIMIZERS = {
    "adam": lambda weights: torch.optim.Adam(weights, lr=1e-3, fused=True),
    "sgd": lambda weights: torch.optim.SGD(weights, lr=1.0, fused=True),
}
LAYERS = {"tatoeba": (608, 5_000), "ptb": (704, 10_000), "large": (4_096, 50_000)}  # N, V
GEMM_SIZES = (512, 1024, 2048)


def build_step(
    size: str, optimizer: str = "adam", *, bf16: bool = False, **options
) -> Callable[[], None]:
    """A bare step: forward, backward, clip, update."""
    model, batch = build_model(size, **options), build_batch(size)
    updates = OPTIMIZERS[optimizer](model.parameters())

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            loss = model(**batch).loss
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        updates.step()
        updates.zero_grad()

    step()  # allocates the optimiser's state
    return step


def keep_freed_memory() -> None:
    """What the loading of texts does in a run: glibc keeps blocks of up to 31 MiB from now on.

    Otherwise it hands them back after each step, and new pages cost what the step is to be measured
    by. It learns this size from the first block of it that is freed.
    """
    torch.ones(31 << 20, dtype=torch.uint8)


def turns(contestants: dict[str, Callable], repeats: int) -> dict[str, dict[str, float]]:
    """Median CPU and wall seconds of callables, the first round left out."""
    runs = {name: lambda run=run: timed(run) for name, run in contestants.items()}
    medians(runs, 1)
    return medians(runs, repeats)


def build_products(dtype: torch.dtype) -> dict[str, Callable]:
    """Products of square matrices, each some 2e9 operations or one."""
    made = {}
    for size in GEMM_SIZES:
        left, right = torch.ones(2, size, size, dtype=dtype)
        count = max(1, 1024**3 // size**3)
        made[f"{dtype}_{size}"] = lambda left=left, right=right, count=count: [
            left @ right for _ in range(count)
        ]
    return made


def peak_gflops(seconds: dict[str, dict[str, float]], dtype: torch.dtype) -> float:
    """The best rate of `build_products`, per CPU second, in 1e9."""
    return max(
        2e-9 * max(1024, size) ** 3 / seconds[f"{dtype}_{size}"]["cpu_s"] for size in GEMM_SIZES
    )


def against_peak(size: str, repeats: int) -> dict:
    """A float32 and a bf16 step beside products of matrices in the same rounds."""
    contestants = {name: build_step(size, name) for name in OPTIMIZERS}
    matrices = products(size, build_batch(size))
    contestants["its_products_alone"] = lambda: [left @ right for left, right in matrices]
    contestants |= {f"{name}_bf16": build_step(size, name, bf16=True) for name in OPTIMIZERS}
    for dtype in (torch.float32, torch.bfloat16):
        contestants |= build_products(dtype)
    seconds = turns(contestants, repeats)
    counted = operations(size, build_batch(size))
    single, half = (peak_gflops(seconds, dtype) for dtype in (torch.float32, torch.bfloat16))
    total = sum(counted.values())
    return {
        "operations_1e9": counted | {"total": total},
        "peak_float32_gflops": single,
        "peak_bfloat16_gflops": half,
        "bfloat16_peak_over_float32": half / single,
        "step_share_of_float32_peak": {
            name: total / seconds[name]["cpu_s"] / single for name in OPTIMIZERS
        },
        "its_products_alone_share_of_float32_peak": (
            total / seconds["its_products_alone"]["cpu_s"] / single
        ),
        "bf16_sentences_per_cpu_s_over_float32": {
            name: seconds[name]["cpu_s"] / seconds[f"{name}_bf16"]["cpu_s"] for name in OPTIMIZERS
        },
        "seconds": seconds,
    }


def poolings(size: str, repeats: int) -> dict:
    """Each pooling's step over the last state's, with that one twice for the noise."""
    contestants = {name: build_step(size, "sgd", pooling=name) for name in POOLINGS}
    contestants["last_again"] = build_step(size, "sgd", pooling="last")
    runs = {name: lambda run=run: timed(run) for name, run in contestants.items()}
    return ratios(runs, repeats, "last")


def objectives(repeats: int, steps: int = 60) -> dict:
    """The speed of the engine with each objective over a bare loop's with the model's own loss.

    Each is timed beside the bare loop, now before it and now after it, since a machine's speed
    drifts; `bare_again` is the bare loop in the engine's place.
    """
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(steps, Path(folder), fused=True)
        given = {
            name: Objective(kl_term=name, **({term.amount: 1.0} if term.amount else {}))
            for name, term in KL_TERMS.items()
        }
        given["mmd"] = Objective(mmd_weight=10.0)
        contestants = {"bare_again": bench.bare}
        contestants |= {
            name: lambda objective=objective: bench.engine(objective)
            for name, objective in given.items()
        }
        bench.bare()  # the first run of a process pays for its memory
        return {
            name: statistics.median(
                _speed(bench.bare, run, bare_first=bool(place % 2)) for place in range(repeats)
            )
            for name, run in contestants.items()
        }


def _speed(bare: Callable, run: Callable, *, bare_first: bool) -> float:
    """CPU seconds of a bare loop over those of another, run one after the other."""
    if bare_first:
        first, second = bare(), run()
        return first[0] / second[0]
    first, second = run(), bare()
    return second[0] / first[0]


def output_layer(kind: str, num_positions: int, vocabulary: int) -> Callable[[], None]:
    """Forward and backward of an output layer of 256 features, in blocks or plainly."""
    torch.manual_seed(0)
    features = torch.randn(num_positions, 256, requires_grad=True)
    weight = torch.randn(vocabulary, 256).mul_(0.05).requires_grad_()
    targets = torch.randint(vocabulary, (num_positions,))

    def run() -> None:
        features.grad = weight.grad = None
        if kind == "blocks":
            nll = linear_cross_entropy(features, weight, targets)
        else:
            nll = F.cross_entropy(F.linear(features, weight), targets, reduction="none")
        nll.sum().backward()

    return run


def output_layer_peak_mib(kind: str, num_positions: int, vocabulary: int) -> float:
    """Peak resident memory of a forward and backward pass above the state before it, MiB."""
    run = output_layer(kind, num_positions, vocabulary)
    before = status_kib("VmRSS")
    run()
    return (status_kib("VmHWM") - before) / 1024


def cross_entropy_memory() -> dict:
    """Peak memory of the output layer plainly and in blocks, MiB."""
    kinds = ("plain", "blocks")
    return {
        name: {kind: in_child(output_layer_peak_mib, kind, *shape) for kind in kinds}
        for name, shape in LAYERS.items()
    }


def cross_entropy_time(repeats: int) -> dict:
    """Median seconds of the output layer plainly and in blocks."""
    return {
        name: turns(
            {kind: output_layer(kind, *shape) for kind in ("plain", "blocks")},
            repeats if name != "large" else max(1, repeats // 5),
        )
        for name, shape in LAYERS.items()
    }


def main() -> None:
    """Run the comparisons and print them as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--output", type=Path, help="JSON file to write")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    repeats = options.repeats
    # memory first: children are forked before any worker thread has been started
    results: dict = {
        "cross_entropy_positions_and_vocabulary": LAYERS,
        "cross_entropy_peak_mib": cross_entropy_memory(),
        "cross_entropy_seconds": cross_entropy_time(repeats),
    }
    keep_freed_memory()
    for size in SIZES:
        results[size] = against_peak(size, repeats)
        results[size]["pooling_over_last"] = poolings(size, repeats)
    results["engine_speed_of_bare_cpu"] = objectives(max(2, repeats // 2))
    results |= {
        "threads": options.threads,
        "repeats": repeats,
    }
    publish(results, options.output)


if __name__ == "__main__":
    main()
