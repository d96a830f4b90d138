"""Speed and memory of training and generation, as ratios within one run.

    python training/benchmarks/throughput.py --threads 1 --output training/results/throughput_1.json

Every comparison does the same work on the same batches from the same seed; figures are medians of
`--repeats` rounds, in which the contestants take turns. Wall time is given beside CPU time, since a
busy machine disturbs the first more than the second.
"""

import argparse
import dataclasses
import math
import tempfile
import time
from pathlib import Path

import torch
from datasets import Dataset, disable_progress_bars
from rounds import in_child, medians, publish, status_kib
from torch import nn
from transformers import TrainerCallback, TrainingArguments

from hf_seqvae import SeqVAEModel, SeqVAETrainer, everyday, recipe
from hf_seqvae.data import (
    BucketBatchSampler,
    Collator,
    build_loader,
    load_splits,
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
    """The quickstart model on one epoch of everyday sentences."""

    def __init__(self, steps: int, folder: Path, fused: bool | None = None):
        self.steps, self.folder, self.fused = steps, folder, fused
        self.recipe = recipe.load("quickstart")
        self.batch_size = self.recipe.data.batch_size
        self.tokenizer = tokenizer_from_words(everyday.vocabulary())
        self.sentences, _ = everyday.generate(steps * self.batch_size, 0)
        self.rows = tokenize(Dataset.from_dict({"text": self.sentences}), self.tokenizer)

    def model(self, seed: int = 0) -> SeqVAEModel:
        torch.manual_seed(seed)
        return recipe.build_model(dataclasses.replace(self.recipe, seed=seed), self.tokenizer)

    def loader(self, seed: int = 0):
        sampler = BucketBatchSampler(row_lengths(self.rows), batch_size=self.batch_size, seed=seed)
        return build_loader(self.rows, Collator.from_tokenizer(self.tokenizer), sampler)

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.Adam(model.parameters(), lr=1e-3, fused=self.fused)

    def bare(self) -> tuple[float, float]:
        """A plain torch loop over the same modules: forward, backward, clip, Adam."""
        model, clock = self.model().train(), Clock()
        optimizer = self.optimizer(model)
        for batch in self.loader():
            output = model(**batch)
            output.loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            optimizer.step()
            optimizer.zero_grad()
            clock.tick()
        return clock.seconds()

    def engine(self, objective: Objective | None = None) -> tuple[float, float]:
        """The engine's loop with its log lines; its checkpoint comes after the last step."""
        model, clock = self.model(), EngineClock()
        settings = Settings(epochs=1, max_grad_norm=5.0, logging_steps=50)
        engine = Engine(
            model,
            objective or Objective(),
            self.loader(),
            self.optimizer(model),
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
            seed=0,  # the order of the batches too
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
            optimizers=(self.optimizer(model), None),
            callbacks=[clock],
        )
        trainer.train()
        return clock.seconds()


class Greedy:
    """512 latents decoded greedily by an untrained model, exactly as many tokens as asked for."""

    def __init__(self, bench: Bench):
        self.model = bench.model().eval()
        generator = torch.Generator().manual_seed(0)
        self.latents = torch.randn(512, self.model.config.latent_size, generator=generator)
        if not torch.equal(self.generate(20), self.bare(20)):
            raise RuntimeError("the bare loop and model.generate decode to different tokens.")

    def timed(self, decode, tokens: int) -> tuple[float, float]:
        """CPU and wall seconds of one of the two below."""
        started = time.process_time(), time.perf_counter()
        decode(tokens)
        return time.process_time() - started[0], time.perf_counter() - started[1]

    @torch.inference_mode()
    def generate(self, tokens: int) -> torch.Tensor:
        """model.generate, which is kept from ending early."""
        return self.model.generate(
            latents=self.latents, max_new_tokens=tokens, min_new_tokens=tokens
        )

    @torch.inference_mode()
    def bare(self, tokens: int) -> torch.Tensor:
        """The same modules in a plain loop: embed, LSTM, project, leave out EOS, argmax."""
        model, latents = self.model, self.latents
        decoder, (lstm,) = model.decoder, [layer.lstm for layer in model.decoder.model.layers]
        given = model.injection(latents, at_start=True)
        state = (given.initial_hidden, given.initial_cell)
        token = torch.full((len(latents), 1), model.config.decoder_start_token_id)
        sequence = [token]
        for _ in range(tokens):
            inputs = torch.cat([decoder.model.embed_tokens(token), latents[:, None]], dim=-1)
            hidden, state = lstm(inputs, state)
            logits = decoder.lm_head(hidden)
            logits[..., model.config.eos_token_id] = -math.inf
            token = logits.argmax(-1)
            sequence.append(token)
        return torch.cat(sequence, dim=1)


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


def corpus(path: Path, tokenizer) -> Dataset:
    """A text file as the engine reads it: tokenised once, then memory-mapped from the cache."""
    splits = load_splits(train_file=str(path), cache_dir=str(path.parent))
    return tokenize(splits["train"], tokenizer)


def corpus_memory(path: Path, tokenizer) -> dict[str, float]:
    """Anonymous resident memory that opening a tokenised corpus and one epoch add at most, MiB."""
    before = most = status_kib("RssAnon")
    rows = corpus(path, tokenizer)
    sampler = BucketBatchSampler(row_lengths(rows), batch_size=64)
    tokens = 0
    for batch in build_loader(rows, Collator.from_tokenizer(tokenizer), sampler):
        tokens += int(batch["attention_mask"].sum())
        most = max(most, status_kib("RssAnon"))
    return {
        "rows": len(rows),
        "tokens": tokens,
        "file_mib": round(
            sum(Path(file["filename"]).stat().st_size for file in rows.cache_files) / 2**20, 1
        ),
        "added_rss_anon_mib": round((most - before) / 1024, 1),
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
        bench = Bench(options.steps, folder)
        results: dict = {
            "threads": options.threads,
            "repeats": options.repeats,
            "steps_timed": options.steps - WARM_UP,
        }
        # memory first: children are forked before any worker thread has been started
        results["step_peak_mib_by_label_tokens"] = {
            num_rows * 20: round(in_child(step_peak_mib, bench, num_rows), 1)
            for num_rows in (64, 128, 256, 512)
        }
        paths = [folder / f"corpus_{copies}.txt" for copies in (1, 20)]
        for path, copies in zip(paths, (1, 20), strict=True):
            path.write_text("\n".join(bench.sentences * copies))
            in_child(lambda path=path: len(corpus(path, bench.tokenizer)))  # fills the cache
        results["corpus"] = [in_child(corpus_memory, path, bench.tokenizer) for path in paths]
        steps = medians(
            {"bare": bench.bare, "engine": bench.engine, "trainer": bench.trainer}, options.repeats
        )
        results["training"] = steps
        for kind in ("cpu_s", "wall_s"):
            for loop in ("engine", "trainer"):
                ratio = steps["bare"][kind] / steps[loop][kind]
                results["training"][f"{loop}_speed_of_bare_{kind}"] = round(ratio, 3)
        greedy = Greedy(bench)
        seconds = medians(
            {
                "bare_20": lambda: greedy.timed(greedy.bare, 20),
                "generate_20": lambda: greedy.timed(greedy.generate, 20),
                "generate_80": lambda: greedy.timed(greedy.generate, 80),
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
    publish(results, options.output)


if __name__ == "__main__":
    main()
