"""Speed and memory of training and generation, as ratios within one run.

    python training/benchmarks/throughput.py --threads 1 --output training/results/throughput_1.json

Every comparison does the same work on the same batches from the same seed; figures are medians of
`--repeats` rounds, in which the contestants take turns. Wall time is given beside CPU time, since a
busy machine disturbs the first more than the second.
"""

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from pathlib import Path

import torch
from datasets import Dataset, disable_progress_bars, load_dataset
from torch import nn
from transformers import TrainerCallback, TrainingArguments

from hf_seqvae import SeqVAEModel, SeqVAETrainer, everyday, recipe
from hf_seqvae.data import (
    BucketBatchSampler,
    Collator,
    build_loader,
    row_lengths,
    tokenize,
    tokenizer_from_words,
)
from hf_seqvae.engine import Engine, Settings
from hf_seqvae.objectives import Objective

WARM_UP = 10  # steps before the clock starts


class Clock:
    """CPU and wall seconds between the end of the warm-up and the last step."""

    def __init__(self):
        self.steps = 0

    def tick(self) -> None:
        self.steps += 1
        if self.steps == WARM_UP:
            self.started = time.process_time(), time.perf_counter()
        self.ended = time.process_time(), time.perf_counter()

    def seconds(self) -> tuple[float, float]:
        return tuple(end - start for start, end in zip(self.started, self.ended, strict=True))


class EngineClock(Clock):
    """The clock as a watcher of the engine."""

    def start(self, progress, num_steps) -> None: ...

    def step(self) -> None:
        self.tick()

    def line(self, line) -> None: ...

    def close(self) -> None: ...


class TrainerClock(TrainerCallback, Clock):
    """The clock as a callback of the Trainer."""

    def __init__(self):
        Clock.__init__(self)

    def on_step_end(self, args, state, control, **kwargs):
        self.tick()


class Bench:
    """The quickstart model on everyday sentences."""

    def __init__(self, num_rows: int, steps: int, folder: Path):
        self.steps, self.folder = steps, folder
        self.recipe = recipe.load("quickstart")
        self.tokenizer = tokenizer_from_words(everyday.vocabulary())
        sentences, _ = everyday.generate(num_rows, 0)
        self.rows = tokenize(Dataset.from_dict({"text": sentences}), self.tokenizer)
        self.batch_size = self.recipe.data.batch_size

    def model(self) -> SeqVAEModel:
        torch.manual_seed(0)
        return recipe.build_model(self.recipe, self.tokenizer)

    def loader(self):
        sampler = BucketBatchSampler(row_lengths(self.rows), batch_size=self.batch_size)
        return build_loader(self.rows, Collator.from_tokenizer(self.tokenizer), sampler)

    def bare(self) -> tuple[float, float]:
        """A plain torch loop over the same modules: forward, backward, clip, Adam."""
        model, clock, epoch, loader = self.model().train(), Clock(), 0, self.loader()
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
        while clock.steps < self.steps:
            loader.set_epoch(epoch)
            for batch in loader:
                output = model(**batch)
                output.loss.backward()
                nn.utils.clip_grad_norm_(model.parameters(), 5.0)
                optimizer.step()
                optimizer.zero_grad()
                clock.tick()
                if clock.steps == self.steps:
                    break
            epoch += 1
        return clock.seconds()

    def engine(self) -> tuple[float, float]:
        """The engine's loop with its log lines; checkpoints come at epochs, outside the clock."""
        model, clock = self.model(), EngineClock()
        settings = Settings(epochs=10**6, max_steps=self.steps, max_grad_norm=5.0, logging_steps=50)
        engine = Engine(
            model,
            Objective(),
            self.loader(),
            torch.optim.Adam(model.parameters(), lr=1e-3),
            self.folder / "engine",
            settings,
            watchers=[clock],
        )
        engine.fit(resume=False)
        return clock.seconds()

    def trainer(self) -> tuple[float, float]:
        """SeqVAETrainer with its log lines."""
        clock = TrainerClock()
        settings = TrainingArguments(
            str(self.folder / "trainer"),
            per_device_train_batch_size=self.batch_size,
            max_steps=self.steps,
            max_grad_norm=5.0,
            logging_steps=50,
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
            use_cpu=True,
        )
        model = self.model()
        trainer = SeqVAETrainer(
            model,
            settings,
            train_dataset=self.rows,
            processing_class=self.tokenizer,
            optimizers=(torch.optim.Adam(model.parameters(), lr=1e-3), None),
            callbacks=[clock],
        )
        trainer.train()
        return clock.seconds()

    @torch.inference_mode()
    def generate(self, model: SeqVAEModel, latents: torch.Tensor, tokens: int):
        """model.generate, greedy, exactly `tokens` tokens."""
        started = time.process_time(), time.perf_counter()
        model.generate(latents=latents, max_new_tokens=tokens, min_new_tokens=tokens)
        return time.process_time() - started[0], time.perf_counter() - started[1]

    @torch.inference_mode()
    def bare_generate(self, model: SeqVAEModel, latents: torch.Tensor, tokens: int):
        """The same modules in a plain greedy loop: embed, LSTM, project, argmax."""
        started = time.process_time(), time.perf_counter()
        decoder, (lstm,) = model.decoder, [layer.lstm for layer in model.decoder.model.layers]
        given = model.injection(latents, at_start=True)
        state = (given.initial_hidden, given.initial_cell)
        token = torch.full((len(latents), 1), model.config.decoder_start_token_id)
        sequence = [token]
        for _ in range(tokens):
            inputs = torch.cat([decoder.model.embed_tokens(token), latents[:, None]], dim=-1)
            hidden, state = lstm(inputs, state)
            token = decoder.lm_head(hidden).argmax(-1)
            sequence.append(token)
        torch.cat(sequence, dim=1)
        return time.process_time() - started[0], time.perf_counter() - started[1]


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


def step_peak_mib(bench: Bench, num_rows: int) -> float:
    """Peak resident memory of three training steps above the state before them, MiB."""
    model = bench.model().train()
    batch = {
        "input_ids": torch.full((num_rows, 22), 5),
        "attention_mask": torch.ones(num_rows, 22, dtype=torch.long),
        "labels": torch.full((num_rows, 20), 5),
    }
    before = status_kib("VmRSS")
    for _ in range(3):
        model(**batch).loss.backward()
    return (status_kib("VmHWM") - before) / 1024


def corpus_memory(path: str, num_rows: int, tokenizer) -> dict[str, float]:
    """Anonymous resident memory that one epoch over a tokenised corpus adds, MiB."""
    rows = load_dataset("parquet", data_files=path, split="train")
    before = status_kib("RssAnon")
    sampler = BucketBatchSampler(row_lengths(rows), batch_size=64)
    loader = build_loader(rows, Collator.from_tokenizer(tokenizer), sampler)
    tokens = sum(int(batch["attention_mask"].sum()) for batch in loader)
    return {
        "rows": num_rows,
        "tokens": tokens,
        "file_mib": Path(path).stat().st_size / 2**20,
        "added_rss_anon_mib": (status_kib("RssAnon") - before) / 1024,
    }


def main() -> None:
    """Run every comparison and print the table as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--steps", type=int, default=110, help="of which 10 warm up")
    parser.add_argument("--output", type=Path, help="JSON file to write")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    disable_progress_bars()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bench = Bench(6400, options.steps, folder)
        results: dict = {
            "threads": options.threads,
            "repeats": options.repeats,
            "steps_timed": options.steps - WARM_UP,
            "machine": platform.processor() or platform.machine(),
            "torch": torch.__version__,
            "command": " ".join(["python", *sys.argv]),
        }
        # memory first: children are forked before any worker thread has been started
        results["step_peak_mib_by_label_tokens"] = {
            num_rows * 20: round(in_child(step_peak_mib, bench, num_rows), 1)
            for num_rows in (64, 128, 256, 512)
        }
        results["corpus"] = []
        for copies in (1, 20):
            path = str(folder / f"corpus_{copies}.parquet")
            bench.rows.select(list(range(len(bench.rows))) * copies).to_parquet(path)
            load_dataset("parquet", data_files=path, split="train")  # the Arrow file, once
            count = len(bench.rows) * copies
            results["corpus"].append(in_child(corpus_memory, path, count, bench.tokenizer))
        steps = medians(
            {"bare": bench.bare, "engine": bench.engine, "trainer": bench.trainer}, options.repeats
        )
        results["training"] = steps
        for kind in ("cpu_s", "wall_s"):
            for loop in ("engine", "trainer"):
                ratio = steps["bare"][kind] / steps[loop][kind]
                results["training"][f"{loop}_speed_of_bare_{kind}"] = round(ratio, 3)
        model = bench.model().eval()
        latents = torch.randn(512, model.config.latent_size)
        seconds = medians(
            {
                "bare_20": lambda: bench.bare_generate(model, latents, 20),
                "generate_20": lambda: bench.generate(model, latents, 20),
                "generate_80": lambda: bench.generate(model, latents, 80),
            },
            options.repeats,
        )
        results["generation"] = seconds
        for kind in ("cpu_s", "wall_s"):
            results["generation"][f"generate_over_bare_{kind}"] = round(
                seconds["generate_20"][kind] / seconds["bare_20"][kind], 3
            )
            results["generation"][f"per_token_80_over_20_{kind}"] = round(
                seconds["generate_80"][kind] / 4 / seconds["generate_20"][kind], 3
            )
    text = json.dumps(results, indent=2)
    print(text)
    if options.output:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text(text + "\n")


if __name__ == "__main__":
    main()
