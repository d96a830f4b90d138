"""Dispersion of pooled features before training: by operator, initialisation and length.

    python training/dispersion_at_init.py training/recipes/tatoeba_lstm_cpu.yaml \\
        --set data.train_file=... --set data.validation_file=... --set data.test_file=... \\
        --output training/results/dispersion_at_init

writes OUTPUT.json, OUTPUT.md and OUTPUT.png. The model of the recipe is built with each
initialisation and seed, reads the test split once, and every operator pools the same states. A
dispersion is over sentences: all of them, and each third of them by length.
"""

import argparse
import json
import statistics
import sys
from pathlib import Path
from typing import Any

import torch
from datasets import disable_progress_bars

from hf_seqvae import plots
from hf_seqvae import recipe as recipes
from hf_seqvae.data import Collator
from hf_seqvae.engine.parts import prepare_text
from hf_seqvae.evaluation.bound import evaluation_mode
from hf_seqvae.metrics import mean_pairwise_cosine, relative_variance, total_variance
from hf_seqvae.model.modeling_seqvae import SeqVAEModel
from hf_seqvae.model.pooling import POOLINGS

OPERATORS = ("last", "mean", "max", "abs_max", "mean_max")
INITIALIZERS = ("torch", "literature")
STATISTICS = {
    "variance": total_variance,
    "relative_variance": relative_variance,
    "mean_cosine": mean_pairwise_cosine,
}
BATCH_SIZE = 64


def pooled_features(model: SeqVAEModel, rows: Any, collator: Collator) -> dict[str, torch.Tensor]:
    """What each operator makes of the same states, (N, H) or (N, 2H)."""
    found: dict[str, list[torch.Tensor]] = {name: [] for name in OPERATORS}
    with evaluation_mode(model):
        for start in range(0, len(rows), BATCH_SIZE):
            part = rows.select(range(start, min(start + BATCH_SIZE, len(rows))))
            batch = collator(list(part))
            mask = batch["attention_mask"]
            states = model.encoder(batch["input_ids"], mask).last_hidden_state
            for name in OPERATORS:
                found[name].append(POOLINGS[name](states, mask))
    return {name: torch.cat(values) for name, values in found.items()}


def thirds(lengths: torch.Tensor) -> dict[str, torch.Tensor]:
    """Rows by length: all, and the shortest, middle and longest third (ties stay together)."""
    low, high = torch.quantile(lengths.double(), torch.tensor([1 / 3, 2 / 3]).double()).tolist()
    groups = {
        "all": torch.ones_like(lengths, dtype=torch.bool),
        "short": lengths <= low,
        "middle": (lengths > low) & (lengths <= high),
        "long": lengths > high,
    }
    return {name: rows for name, rows in groups.items() if int(rows.sum()) > 1}


def measure(path: str, overrides: list[str], seeds: list[int]) -> dict[str, Any]:
    """{initializer: {operator: {group: {statistic: value of each seed}}}}, and what was read."""
    recipe = recipes.load(path, overrides)
    text = prepare_text(recipe)
    rows = text.held_out["test"].select_columns(["input_ids", "labels"])
    lengths = torch.tensor([len(ids) for ids in rows["labels"][:]]) - 1  # words, without EOS
    groups, collator = thirds(lengths), Collator.from_tokenizer(text.tokenizer)
    found: dict[str, Any] = {}
    for initializer in INITIALIZERS:
        keys = [f"model.{part}initializer={initializer}" for part in ("", "encoder.", "decoder.")]
        for seed in seeds:
            seeded = recipes.load(path, [*overrides, *keys, f"seed={seed}"])
            model: Any = recipes.build_model(seeded, text.tokenizer)
            for operator, features in pooled_features(model, rows, collator).items():
                for group, chosen in groups.items():
                    place = found.setdefault(initializer, {}).setdefault(operator, {})
                    for name, statistic in STATISTICS.items():
                        values = place.setdefault(group, {}).setdefault(name, [])
                        values.append(float(statistic(features[chosen])))
    return {
        "seeds": seeds,
        "sentences": {name: int(chosen.sum()) for name, chosen in groups.items()},
        "words": {
            name: [int(lengths[chosen].min()), int(lengths[chosen].max())]
            for name, chosen in groups.items()
        },
        "dispersion": found,
    }


def markdown(results: dict[str, Any]) -> str:
    """A line for each initialisation and operator: means over seeds, all and by length."""
    groups = list(results["sentences"])
    heads = [f"tr Cov, {group}" for group in groups]
    heads += [f"tr Cov / E norm^2, {group}" for group in groups] + ["cosine, all"]
    lines = [
        f"| initialisation | pooling | {' | '.join(heads)} |",
        "|---|---|" + "---|" * len(heads),
    ]
    for initializer, operators in results["dispersion"].items():
        for operator, by_group in operators.items():
            cells = [by_group[group]["variance"] for group in groups]
            cells += [by_group[group]["relative_variance"] for group in groups]
            cells.append(by_group["all"]["mean_cosine"])
            values = " | ".join(f"{statistics.mean(cell):.3g}" for cell in cells)
            lines.append(f"| {initializer} | {operator} | {values} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, and write the three files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipe", nargs="?", default="quickstart")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--output", type=Path, required=True, help="path without its suffix")
    options = parser.parse_args()
    disable_progress_bars()
    seeds = [int(seed) for seed in options.seeds.split(",")]
    results = measure(options.recipe, options.set, seeds)
    results["command"] = " ".join(["python", *sys.argv])
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.with_suffix(".json").write_text(json.dumps(results, indent=1) + "\n")
    options.output.with_suffix(".md").write_text(markdown(results))
    operators = results["dispersion"]["torch"]
    plots.dispersion_by_pooling(
        {
            name: {key: statistics.mean(values) for key, values in by_group["all"].items()}
            for name, by_group in operators.items()
        },
        options.output.with_suffix(".png"),
    )
    print(markdown(results), end="")


if __name__ == "__main__":
    main()
