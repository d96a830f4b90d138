"""What aggressive updates cost: CPU time of one epoch of each kind, side by side.

    python training/benchmarks/aggressive.py RECIPE --set data.train_file=... --steps 100

The same recipe is trained from the same seed for `--steps` updates of the decoder with joint and
with aggressive updates (arXiv 1901.05534), in turns of processes of their own. Time to prepare the
text and to validate is not counted.
"""

import argparse
import tempfile
import time
from pathlib import Path

import torch
from accelerate import Accelerator
from datasets import disable_progress_bars
from rounds import in_child, publish

from hf_seqvae import recipe as recipes
from hf_seqvae.engine import Engine
from hf_seqvae.engine.parts import (
    build_inner_loop,
    build_phases,
    build_settings,
    build_train_loader,
    prepare_text,
)


class Clock:
    """CPU seconds from the first update to the last, and what the log says of the inner loop."""

    def __init__(self) -> None:
        self.started = self.ended = 0.0
        self.inner: list[float] = []

    def start(self, progress, num_steps) -> None:
        self.started = time.process_time()

    def step(self) -> None:
        self.ended = time.process_time()

    def line(self, line) -> None:
        if "train/inner_updates" in line:
            self.inner.append(line["train/inner_updates"])

    def close(self) -> None: ...


def trained(path: str, overrides: list[str], kind: str, steps: int, folder: str) -> dict:
    """One run of `steps` updates; its CPU seconds, and inner updates for each of them."""
    torch.set_num_threads(1)
    options = [f"training.encoder_updates={kind}", f"training.max_steps={steps}"]
    options += [f"training.logging_steps={steps}", "training.save_steps=null"]
    recipe = recipes.load(path, [*overrides, *options])
    accelerator = Accelerator(cpu=True)
    text = prepare_text(recipe)
    loader = build_train_loader(recipe, text, accelerator)
    model = recipes.build_model(recipe, text.tokenizer)
    phases = build_phases(recipe, text.tokenizer, len(loader))
    clock = Clock()
    Engine(
        model,
        phases[-1].objective,
        loader,
        recipes.build_optimizer(recipe, model),
        Path(folder) / kind,
        build_settings(recipe),
        accelerator=accelerator,
        evaluator=lambda model: {"eval/elbo": 0.0, "eval/mutual_information": 1.0},
        watchers=[clock],
        phases=phases,
        inner=build_inner_loop(recipe),
    ).fit(resume=False)
    inner = sum(clock.inner) / len(clock.inner) if clock.inner else 0.0
    return {"cpu_s": round(clock.ended - clock.started, 2), "inner_updates": round(inner, 1)}


def main() -> None:
    """Run both and print the ratio as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipe", nargs="?", default="quickstart")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--steps", type=int, default=100, help="updates of the decoder")
    parser.add_argument("--output", type=Path, help="JSON file to write")
    options = parser.parse_args()
    disable_progress_bars()
    results: dict = {"steps": options.steps}
    with tempfile.TemporaryDirectory() as folder:
        for kind in ("joint", "aggressive"):
            arguments = (options.recipe, options.set, kind, options.steps, folder)
            results[kind] = in_child(trained, *arguments)
    ratio = results["aggressive"]["cpu_s"] / results["joint"]["cpu_s"]
    results["aggressive_over_joint_cpu"] = round(ratio, 2)
    publish(results, options.output)


if __name__ == "__main__":
    main()
