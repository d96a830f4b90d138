"""Speed and memory of evaluation, as ratios within one run.

    python training/benchmarks/evaluation.py --threads 1 --output training/results/evaluation_1.json

Two sizes of model, untrained: the quickstart's (600 types) and the literature's for PTB (10,000
types, LSTM 256/256, latent 32) with sentences of PTB's mean length. Contestants take turns on the
same sentences and, where they decode the same samples, on the same latents.
"""

import argparse
import ctypes
import os
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from datasets import Dataset, disable_progress_bars
from rounds import in_child, medians, publish, status_kib

from hf_seqvae import SeqVAEConfig, SeqVAEModel
from hf_seqvae.data import Collator
from hf_seqvae.evaluation import evaluate
from hf_seqvae.metrics import importance_estimate, row_noise, sample_with_noise
from hf_seqvae.model.posterior import DiagonalGaussian

SIZES = {
    # types, embedding, hidden, latent, mean and deviation of the words of a sentence
    "everyday": (600, 128, 256, 16, 8.7, 2.0),
    "ptb": (10_000, 256, 256, 32, 20.9, 9.0),
}
M_MMAP_THRESHOLD = -3  # of malloc.h
BATCH, DECODED = 64, 512  # sentences a batch, sequences decoded at once


class Bench:
    """A model and sentences of one size."""

    def __init__(self, size: str, num_sentences: int):
        types, embedding, hidden, latent, mean, deviation = SIZES[size]
        torch.manual_seed(0)
        sizes = {"vocab_size": types, "embedding_size": embedding, "hidden_size": hidden}
        config = SeqVAEConfig(
            encoder={"model_type": "seqvae_lstm_encoder", **sizes},
            decoder={"model_type": "seqvae_lstm", **sizes},
            latent_size=latent,
            pad_token_id=0,
            bos_token_id=1,
            eos_token_id=2,
            unk_token_id=3,
            decoder_start_token_id=1,
        )
        self.model = SeqVAEModel(config).eval()
        rng = np.random.default_rng(0)
        lengths = rng.normal(mean, deviation, num_sentences).round().clip(3).astype(int)
        words = [rng.integers(4, types, length).tolist() for length in np.sort(lengths)]
        self.rows = Dataset.from_dict(
            {
                "input_ids": [[1, *ids, 2] for ids in words],
                "labels": [[*ids, 2] for ids in words],
                "length": [len(ids) + 1 for ids in words],
                "num_words": [len(ids) for ids in words],
            }
        )
        collator = Collator(0)
        self.batches = [
            collator([self.rows[row] for row in range(start, min(start + BATCH, num_sentences))])
            for start in range(0, num_sentences, BATCH)
        ]

    @torch.inference_mode()
    def weighted(self, num_samples: int) -> tuple[float, float]:
        """IW-NLL of every sentence by this library, 512 sequences at a time."""
        started = time.process_time(), time.perf_counter()
        for index, batch in enumerate(self.batches):
            rows = range(index * BATCH, index * BATCH + len(batch["labels"]))
            importance_estimate(self.model, batch, num_samples, DECODED // BATCH, rows=rows)
        return time.process_time() - started[0], time.perf_counter() - started[1]

    @torch.inference_mode()
    def bare(self, num_samples: int) -> tuple[float, float]:
        """The same samples decoded by bare torch: embed, LSTM, project, cross entropy, add up."""
        model, seconds = self.model, [0.0, 0.0]
        decoder, lstm = model.decoder, model.decoder.model.layers[0].lstm
        latent_size, chunk = model.config.latent_size, DECODED // BATCH
        for index, batch in enumerate(self.batches):
            labels = batch["labels"]
            rows = range(index * BATCH, index * BATCH + len(labels))
            noise = row_noise(rows, num_samples, latent_size, seed=0)
            latents = sample_with_noise(model.posterior(batch), noise)
            started = time.process_time(), time.perf_counter()
            for some in latents.split(chunk):
                z = some.flatten(0, 1)  # (S B, Z)
                repeated = labels.repeat(len(some), 1)
                inputs = torch.cat([torch.ones_like(repeated[:, :1]), repeated[:, :-1]], dim=1)
                embedded = decoder.model.embed_tokens(inputs.clamp(min=0))
                embedded = torch.cat(
                    [embedded, z[:, None].expand(-1, embedded.shape[1], -1)], dim=-1
                )
                cell = model.injection.to_state(z)[None]
                hidden, _ = lstm(embedded, (torch.tanh(cell), cell))
                real = repeated != -100
                nll = F.cross_entropy(
                    decoder.lm_head(hidden[real]), repeated[real], reduction="none"
                )
                nll.new_zeros(real.shape).masked_scatter(real, nll).sum(1)
            seconds[0] += time.process_time() - started[0]
            seconds[1] += time.perf_counter() - started[1]
        return seconds[0], seconds[1]

    @torch.inference_mode()
    def plain(self, num_samples: int) -> tuple[float, float]:
        """A loop that encodes and decodes one sample of one sentence at a time."""
        started = time.process_time(), time.perf_counter()
        for row in self.rows:
            batch = {name: torch.tensor([row[name]]) for name in ("input_ids", "labels")}
            weights = []
            for _ in range(num_samples):
                output = self.model(**batch, sample_posterior=True, return_logits=False)
                q = DiagonalGaussian(output.posterior_mean, output.posterior_logvar)
                ratio = self.model.prior().log_prob(output.latents) - q.log_prob(output.latents)
                weights.append(ratio - output.reconstruction_nll)
            torch.stack(weights).logsumexp(0)
        return time.process_time() - started[0], time.perf_counter() - started[1]


def encoded_rows(bench: Bench, num_samples: int) -> dict[str, int]:
    """How many sentences pass through the encoder in a whole evaluation."""
    seen = 0
    forward = bench.model.encoder.forward

    def counted(input_ids=None, *args, **kwargs):
        nonlocal seen
        seen += 0 if input_ids is None else len(input_ids)
        return forward(input_ids, *args, **kwargs)

    bench.model.encoder.forward = counted
    evaluate(bench.model, bench.rows, iw_samples=num_samples)
    bench.model.encoder.forward = forward
    return {"sentences": len(bench.rows), "encoded": seen}


def peak_mib(size: str, num_samples: int) -> float:
    """Peak resident memory of a whole evaluation above the state before it, MiB."""
    torch.set_num_threads(1)
    # tensors in pages of their own, given back at once: what stays resident is what is alive
    ctypes.CDLL("libc.so.6").mallopt(M_MMAP_THRESHOLD, 1 << 16)
    bench = Bench(size, BATCH)
    before = status_kib("VmRSS")
    evaluate(bench.model, bench.rows, iw_samples=num_samples, decode_size=DECODED)
    return (status_kib("VmHWM") - before) / 1024


def compare(size: str, num_sentences: int, num_samples: int, repeats: int) -> dict:
    """The ratios of one size."""
    bench = Bench(size, num_sentences)
    bench.weighted(DECODED // BATCH)  # warm
    seconds = medians(
        {
            "library": lambda: bench.weighted(num_samples),
            "bare": lambda: bench.bare(num_samples),
        },
        repeats,
    )
    few = Bench(size, BATCH)
    seconds |= medians(
        {
            "library_64": lambda: few.weighted(num_samples),
            "plain_64": lambda: few.plain(num_samples),
        },
        max(1, repeats // 2),
    )
    ratios = {}
    for kind in ("cpu_s", "wall_s"):
        ratios[f"speed_of_bare_decoding_{kind}"] = seconds["bare"][kind] / seconds["library"][kind]
        ratios[f"speed_over_plain_loop_{kind}"] = (
            seconds["plain_64"][kind] / seconds["library_64"][kind]
        )
    return {
        "num_sentences": num_sentences,
        "num_samples": num_samples,
        "seconds": seconds,
        **{name: round(value, 3) for name, value in ratios.items()},
        **encoded_rows(few, num_samples),
    }


def main() -> None:
    """Run every comparison and print the results as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--sentences", type=int, default=256)
    parser.add_argument("--samples", type=int, default=50)
    parser.add_argument("--output", type=Path, help="JSON file to write")
    options = parser.parse_args()
    disable_progress_bars()
    results: dict = {
        "threads": options.threads,
        "repeats": options.repeats,
        "cores": os.cpu_count(),
    }
    # memory first: children are forked before any worker thread has been started
    for size in SIZES:
        peaks = {k: in_child(peak_mib, size, k) for k in (50, 500)}
        results[f"{size}_peak_mib"] = {k: round(value, 1) for k, value in peaks.items()}
        results[f"{size}_peak_500_over_50"] = round(peaks[500] / peaks[50], 3)
    torch.set_num_threads(options.threads)
    for size in SIZES:
        results[size] = compare(size, options.sentences, options.samples, options.repeats)
    publish(results, options.output)


if __name__ == "__main__":
    main()
