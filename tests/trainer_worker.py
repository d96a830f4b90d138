"""What each of two processes, or one alone, runs for test_trainer_processes.py."""

import json
import sys
from pathlib import Path

import torch
from accelerate.state import PartialState
from safetensors.torch import save_file
from trainer_standins import arguments, quiet_model, rows
from transformers import Trainer, TrainingArguments

from hf_seqvae import Objective, SeqVAETrainer
from hf_seqvae.callbacks import KLScheduleCallback
from hf_seqvae.data import Collator
from hf_seqvae.evaluation import trainer_metrics
from hf_seqvae.objectives import LinearSchedule

# name, normalization, accumulation: 41 rows leave a last batch of one, the other process has none
RUNS = (("token", "token", 1), ("sequence", "sequence", 2))
BETA = LinearSchedule(0.0, 1.0, 10)


def train(folder: Path, num_processes: int) -> None:
    """All runs without noise, 8 rows a global batch; the first process writes what they gave.

    Each is evaluated on 13 rows in batches of 4: the last of them is short.
    """

    def settings(name: str, accumulation: int) -> TrainingArguments:
        return arguments(
            folder / name,
            per_device_train_batch_size=8 // num_processes,
            per_device_eval_batch_size=4 // num_processes,
            gradient_accumulation_steps=accumulation,
            max_steps=14,
            learning_rate=0.5,
            optim="sgd",
            lr_scheduler_type="constant",
            logging_steps=3,
        )

    for name, normalization, accumulation in RUNS:
        trainer = SeqVAETrainer(
            quiet_model(),
            settings(name, accumulation),
            objective=Objective(BETA, normalization=normalization),
            train_dataset=rows(41),
            eval_dataset=rows(13, seed=1),
        )
        write(trainer, folder, name)
    stock = Trainer(
        quiet_model(),
        settings("stock", 2),
        train_dataset=rows(40),  # even: a stock Trainer would repeat rows
        eval_dataset=rows(13, seed=1),
        data_collator=Collator(0),
        callbacks=[KLScheduleCallback(BETA)],
        **trainer_metrics(),
    )
    write(stock, folder, "stock")


def write(trainer: Trainer, folder: Path, name: str) -> None:
    """Train; then the weights, the logged terms and the evaluation go into files."""
    trainer.train()
    figures = trainer.evaluate()
    if PartialState().is_main_process:
        model = trainer.accelerator.unwrap_model(trainer.model)
        save_file(model.state_dict(), folder / f"{name}.safetensors")
        results = {
            "processes": trainer.args.world_size,
            "logs": [line for line in trainer.state.log_history if "elbo" in line],
            "eval": figures,
        }
        (folder / f"{name}.json").write_text(json.dumps(results))


if __name__ == "__main__":
    torch.set_num_threads(1)
    train(Path(sys.argv[1]), 2)
    PartialState().destroy_process_group()
