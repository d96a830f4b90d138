"""Whether bf16 autocast trains as float32 does: the validation bound after equal steps, 3 seeds.

    python training/benchmarks/bf16.py --output training/results/bf16.json

Everyday sentences, the same start, batches and noise in all; validation in float32, with samples.
How far two trainings in float32 part that differ in nothing but the last bit of each weight at the
start tells what part of a difference is bf16's.
"""

import argparse
import tempfile
from pathlib import Path

import torch
from datasets import Dataset, disable_progress_bars
from rounds import publish
from throughput import Bench
from torch import nn

from hf_seqvae import everyday
from hf_seqvae.data import Collator, tokenize

VALIDATION = 512  # sentences


def negative_elbo(
    bench: Bench, steps: int, seed: int, bf16: bool = False, last_bit: bool = False
) -> float:
    """Nats a sentence on validation sentences after `steps` updates from `seed`.

    `last_bit` starts from the next representable value above each weight.
    """
    model = bench.model(seed).train()
    if last_bit:
        with torch.no_grad():
            for weight in model.parameters():
                weight.copy_(weight.nextafter(torch.tensor(torch.inf)))
    torch.manual_seed(seed)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3, fused=True)
    for _, batch in zip(range(steps), bench.loader(seed), strict=False):
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            loss = model(**batch, kl_weight=0.2).loss
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
        optimizer.zero_grad()
    sentences, _ = everyday.generate(VALIDATION, 1_000)
    rows = tokenize(Dataset.from_dict({"text": sentences}), bench.tokenizer)
    texts = Collator.from_tokenizer(bench.tokenizer)([rows[i] for i in range(VALIDATION)])
    torch.manual_seed(0)
    with torch.no_grad():
        output = model.eval()(**texts, sample_posterior=True)
    return float((output.reconstruction_nll + output.kl.sum(dim=1)).mean())


def main() -> None:
    """Train every seed in both types and print the bounds as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--output", type=Path, help="JSON file to write")
    options = parser.parse_args()
    torch.set_num_threads(1)
    disable_progress_bars()
    results: dict = {"steps": options.steps, "validation_sentences": VALIDATION, "seeds": {}}
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(options.steps, Path(folder), fused=True)
        for seed in range(options.seeds):
            whole = negative_elbo(bench, options.steps, seed)
            half = negative_elbo(bench, options.steps, seed, bf16=True)
            other = negative_elbo(bench, options.steps, seed, last_bit=True)
            results["seeds"][seed] = {
                "negative_elbo_float32": whole,
                "negative_elbo_bf16": half,
                "relative_difference": half / whole - 1,
                "negative_elbo_float32_last_bit": other,
                "relative_difference_last_bit": other / whole - 1,
            }
    publish(results, options.output)


if __name__ == "__main__":
    main()
