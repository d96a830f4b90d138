"""What each of two processes, or one alone, runs for test_trainer_processes.py."""

import json
import sys
from pathlib import Path

import torch
from accelerate.state import PartialState
from safetensors.torch import save_file
from trainer_standins import arguments, quiet_model, rows

from hf_seqvae import Objective, SeqVAETrainer
from hf_seqvae.objectives import LinearSchedule

# name, normalization, accumulation: 41 rows leave a last batch of one, the other process has none
RUNS = (("token", "token", 1), ("sequence", "sequence", 2))


def train(folder: Path, num_processes: int) -> None:
    """Both runs without noise, 8 rows a global batch; the first process writes what they gave."""
    for name, normalization, accumulation in RUNS:
        settings = arguments(
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
        trainer = SeqVAETrainer(
            quiet_model(),
            settings,
            objective=Objective(LinearSchedule(0.0, 1.0, 10), normalization=normalization),
            train_dataset=rows(41),
            eval_dataset=rows(13, seed=1),
        )
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
