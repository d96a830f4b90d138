"""What each pooling adds to the last state's training step, at the studies' sizes.

    OMP_NUM_THREADS=1 python training/benchmarks/poolings.py --output training/results/poolings.json

The steps of two poolings differ in the encoder's forward and backward pass; decoder, loss and, but
for few weights of attention and mean_max, the update are the same operations. So the ratio of the
steps is 1 + (own pass - last's) / last's step. The pass is a small part of a step, and so is the
noise of this ratio beside that of two whole steps. CPU time; medians of rounds in which the
poolings take turns, last twice.
"""

import argparse
import statistics
from collections.abc import Callable
from pathlib import Path

import torch
from rounds import in_turns, publish
from sizes import SIZES, build_batch, build_model, timed
from steps import build_step, keep_freed_memory, turns

from hf_seqvae.model.pooling import POOLINGS


def build_pass(size: str, pooling: str, *, bf16: bool) -> Callable[[], None]:
    """Words to posterior, and back."""
    encoder, batch = build_model(size, pooling=pooling).encoder, build_batch(size)

    def run() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            output = encoder(batch["input_ids"], batch["attention_mask"])
        (output.posterior_mean.sum() + output.posterior_logvar.sum()).backward()
        encoder.zero_grad()

    return run


def over_last(size: str, repeats: int, *, bf16: bool) -> dict[str, float]:
    """Each pooling's step over the last state's, and the share of the encoder's pass in that."""
    # apart: a pass right after a step pays for what that one has thrown out of the caches
    step = turns({"step": build_step(size, "sgd", pooling="last", bf16=bf16)}, repeats)["step"]
    runs = {name: build_pass(size, name, bf16=bf16) for name in POOLINGS}
    runs["last_again"] = build_pass(size, "last", bf16=bf16)
    contestants = {name: lambda run=run: timed(run) for name, run in runs.items()}
    in_turns(contestants, 1)
    seconds = {
        name: [cpu for cpu, _ in values] for name, values in in_turns(contestants, repeats).items()
    }
    last = seconds["last"]
    added = {
        name: statistics.median(own - other for own, other in zip(values, last, strict=True))
        for name, values in seconds.items()
    }
    ratios = {name: 1 + value / step["cpu_s"] for name, value in added.items()}
    return ratios | {"encoder_share_of_step": statistics.median(last) / step["cpu_s"]}


def main() -> None:
    """Run the comparison and print it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=41)
    parser.add_argument("--output", type=Path, help="JSON file to write")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    keep_freed_memory()
    results: dict = {
        size: {
            kind: over_last(size, options.repeats, bf16=kind == "bf16")
            for kind in ("float32", "bf16")
        }
        for size in SIZES
    }
    publish(results | {"threads": options.threads, "repeats": options.repeats}, options.output)


if __name__ == "__main__":
    main()
