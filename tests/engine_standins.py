"""Small parts for the tests of the engine: a loader in memory, a tiny model, an engine."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor

from hf_seqvae import (
    Objective,
    SeqVAEConfig,
    SeqVAELSTMConfig,
    SeqVAELSTMForCausalLM,
    SeqVAEModel,
)
from hf_seqvae.engine import Engine, Phase, Settings
from hf_seqvae.engine.parts import reset_parts
from hf_seqvae.evaluation import evaluate_bound
from hf_seqvae.language_model import WithoutLatents
from hf_seqvae.objectives import ConstantSchedule, LinearSchedule, TargetRate

VOCABULARY = 16


class MemoryLoader:
    """Random sentences of 2 to 6 tokens in a new order each epoch, rows rank::num_processes."""

    def __init__(
        self,
        num_rows=22,
        batch_size=6,
        *,
        rank=0,
        num_processes=1,
        shuffle=True,
        with_index=False,
        on_batch=None,
    ):
        rng = np.random.default_rng(0)
        self.rows = [rng.integers(4, VOCABULARY, rng.integers(2, 7)) for _ in range(num_rows)]
        self.batch_size, self.rank, self.num_processes = batch_size, rank, num_processes
        self.shuffle, self.with_index, self.on_batch = shuffle, with_index, on_batch
        self.epoch, self.batch = 0, 0

    def __len__(self) -> int:
        return -(-len(self.rows) // self.batch_size)

    def set_epoch(self, epoch: int, start_batch: int = 0) -> None:
        self.epoch, self.batch = epoch, start_batch

    def state_dict(self) -> dict[str, Any]:
        return {"epoch": self.epoch, "batch": self.batch}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.set_epoch(state["epoch"], state["batch"])

    def draw(self, generator: np.random.Generator) -> dict[str, Tensor]:
        rows = generator.choice(len(self.rows), self.batch_size, replace=False)
        return collate([self.rows[row] for row in rows])

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        order = np.arange(len(self.rows))
        if self.shuffle:
            order = np.random.default_rng(self.epoch).permutation(len(self.rows))
        cuts = range(self.batch_size, len(self.rows), self.batch_size)
        for rows in np.split(order, cuts)[self.batch :]:
            self.batch += 1
            if self.on_batch is not None:
                self.on_batch(self.epoch, self.batch)
            own = rows[self.rank :: self.num_processes]
            batch = collate([self.rows[row] for row in own]) if len(own) else empty_batch()
            if self.with_index:
                batch["index"] = torch.tensor(own if len(own) else [0])
            yield batch


def collate(rows) -> dict[str, Tensor]:
    width = max(map(len, rows))
    batch = {
        "input_ids": torch.zeros(len(rows), width + 2, dtype=torch.long),
        "attention_mask": torch.zeros(len(rows), width + 2, dtype=torch.long),
        "labels": torch.full((len(rows), width + 1), -100),
    }
    for line, row in enumerate(rows):
        batch["input_ids"][line, : len(row) + 2] = torch.tensor([1, *row, 2])
        batch["attention_mask"][line, : len(row) + 2] = 1
        batch["labels"][line, : len(row) + 1] = torch.tensor([*row, 2])
    return batch


def empty_batch() -> dict[str, Tensor]:
    batch = collate([[4, 5]])
    batch["labels"].fill_(-100)
    return batch


def tiny_model(seed=0, dropout=0.0, **config) -> SeqVAEModel:
    lstm = {
        "vocab_size": VOCABULARY,
        "embedding_size": 6,
        "hidden_size": 8,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "input_dropout": dropout,
        "output_dropout": dropout,
    }
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return SeqVAEModel(
            SeqVAEConfig(encoder=dict(lstm), decoder=dict(lstm), latent_size=3, **config)
        )


def tiny_language_model(*, dropout=0.0, word_dropout=0.0, tied=False) -> WithoutLatents:
    config = SeqVAELSTMConfig(
        vocab_size=VOCABULARY,
        embedding_size=6,
        hidden_size=6,
        input_dropout=dropout,
        output_dropout=dropout,
        tie_word_embeddings=tied,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return WithoutLatents(SeqVAELSTMForCausalLM(config), word_dropout=word_dropout)


def evaluator(model) -> dict[str, float]:
    return evaluate_bound(model, MemoryLoader(shuffle=False))


def make_engine(folder, *, dropout=0.3, optimizer="Adam", learning_rate=1e-2, **options) -> Engine:
    """An engine with dropout and posterior noise; `options` are of Settings or of Engine."""
    names = Settings.__dataclass_fields__
    counts = {"epochs": 3, "logging_steps": 3, "save_steps": 2, "seed": 1}
    counts |= {name: options.pop(name) for name in list(options) if name in names}
    model = options.pop("model", None) or tiny_model(dropout=dropout)
    optimizer = getattr(torch.optim, optimizer)(model.parameters(), lr=learning_rate)
    if callable(options.get("scheduler")):
        options["scheduler"] = options["scheduler"](optimizer)
    options = {
        "objective": Objective(),
        "loader": MemoryLoader(),
        "evaluator": evaluator,
        "accelerator": Accelerator(cpu=True),
    } | options
    return Engine(
        model,
        options.pop("objective"),
        options.pop("loader"),
        optimizer,
        folder,
        Settings(**counts),
        **options,
    )


def two_phases(**second) -> list[Phase]:
    """An autoencoder for an epoch, then a VAE with a new decoder for two."""
    new = tiny_model(seed=7)
    return [
        Phase(Objective(ConstantSchedule(0.0)), 1, "autoencoder", by_reconstruction=True),
        Phase(
            Objective(LinearSchedule(0.1, 1.0, 6)),
            2,
            prepare=lambda model: reset_parts(model, new, ("decoder",)),
            **second,
        ),
    ]


def batch_objectives() -> dict[str, Objective]:
    """Objectives that ask about the global batch: its mean KL, and the rate that beta answers to.

    On the tiny model the mean KL crosses both limits on the way.
    """
    return {
        "batch_mean": Objective(
            kl_term="free_bits_batch_dimension_hinge", free_bits=0.002, normalization="sequence"
        ),
        "held_rate": Objective(TargetRate(1e-4, integral_gain=0.5), normalization="sequence"),
    }


def weights(engine_or_model) -> dict[str, Tensor]:
    model = engine_or_model
    if isinstance(model, Engine):
        model = model.accelerator.unwrap_model(model.trained.model)
    return {name: value.clone() for name, value in model.state_dict().items()}


def assert_same_weights(first: dict[str, Tensor], second: dict[str, Tensor]) -> None:
    """Bit for bit."""
    assert first.keys() == second.keys()
    different = [name for name in first if not torch.equal(first[name], second[name])]
    assert not different


def read_log(folder: Path, *, with_times: bool = False) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (Path(folder) / "log.jsonl").read_text().splitlines()]
    if not with_times:
        for line in lines:
            line.pop("train/tokens_per_second", None)
    return lines
