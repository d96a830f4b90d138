"""What each of two processes runs for test_engine_processes.py."""

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType
from engine_standins import (
    MemoryLoader,
    batch_objectives,
    make_engine,
    tiny_language_model,
    weights,
)
from safetensors.torch import save_file
from torch import Tensor
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from hf_seqvae.engine import TrainingInterrupted
from hf_seqvae.engine.weights import WEIGHTS_NAME as NAME
from hf_seqvae.engine.weights import (
    gather_optimizer,
    local_parameters,
    read_model,
    read_state,
    restore_optimizer,
    saved_part,
)
from hf_seqvae.evaluation import evaluate_bound


class Crash(BaseException):
    """Stands for a kill."""


def share(accelerator, **options):
    place = {"rank": accelerator.process_index, "num_processes": accelerator.num_processes}
    return MemoryLoader(num_rows=57, batch_size=8, **place, **options)


def run(folder, accelerator, *, crash=None, stop=None, **options):
    def on_batch(epoch, batch):
        if (epoch, batch) == crash:
            raise Crash
        if (epoch, batch) == stop and accelerator.process_index == 1:
            os.kill(os.getpid(), signal.SIGTERM)

    counts = {"epochs": 50, "max_steps": 50, "save_steps": 20, "logging_steps": 10}
    loader = share(accelerator, on_batch=on_batch)
    return make_engine(folder, loader=loader, accelerator=accelerator, **counts | options)


def two_layers() -> tuple[torch.nn.Module, Callable[[torch.nn.Module], Tensor]]:
    """A plain module and its loss on this process's rows."""
    draw = torch.Generator().manual_seed(torch.distributed.get_rank())
    inputs = torch.randn(8, 4, generator=draw)
    model = torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.Linear(6, 2))
    return model, lambda model: model(inputs).square().mean()


def language_model() -> tuple[torch.nn.Module, Callable[[torch.nn.Module], Tensor]]:
    """The same of a language model, which is saved under its own names."""
    batch = next(iter(MemoryLoader(rank=torch.distributed.get_rank(), num_processes=2)))
    return tiny_language_model(), lambda model: model(**batch).reconstruction_nll.sum()


def sharded_state_survives(folder, build) -> bool:
    """Weights and moments of a model in shards (FSDP2), through files and back, bit for bit."""
    accelerator = SimpleNamespace(
        distributed_type=DistributedType.FSDP, unwrap_model=lambda model: model
    )
    mesh = init_device_mesh("cpu", (2,))
    losses = {}

    def make():
        torch.manual_seed(0)
        model, loss = build()
        losses[model] = loss
        fully_shard(model, mesh=mesh)
        return model, torch.optim.Adam(model.parameters(), lr=0.1)

    def train(model, optimizer):
        for _ in range(3):
            losses[model](model).backward()
            optimizer.step()
            optimizer.zero_grad()

    model, optimizer = make()
    train(model, optimizer)
    options = StateDictOptions(full_state_dict=True, cpu_offload=True)
    whole = get_model_state_dict(model, options=options)
    state = gather_optimizer(accelerator, model, optimizer)
    if torch.distributed.get_rank() == 0:
        folder.mkdir()
        _, prefix = saved_part(model)
        own = {name.removeprefix(prefix): value.contiguous() for name, value in whole.items()}
        save_file(own, folder / NAME)
        torch.save(state, folder / "training_state.pt")
    torch.distributed.barrier()
    train(model, optimizer)
    other, other_optimizer = make()
    read_model(accelerator, other, folder)
    state = read_state(folder / "training_state.pt")
    restore_optimizer(accelerator, other, other_optimizer, state)
    train(other, other_optimizer)
    pairs = zip(local_parameters(model), local_parameters(other), strict=True)
    return all(torch.equal(first, second) for first, second in pairs)


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    accelerator = Accelerator(cpu=True)
    results = {"processes": accelerator.num_processes}
    quiet = {"dropout": 0.0, "sample_posterior": False, "optimizer": "SGD", "learning_rate": 0.5}

    def evaluate(model):
        loader = share(accelerator, shuffle=False, with_index=True)
        return evaluate_bound(model, loader, gather=accelerator.gather)

    variants = {
        "plain": {},
        "micro": {"gradient_accumulation_steps": 3},
        "language_model": {
            "gradient_accumulation_steps": 3,
            "model": tiny_language_model(),
        },
        **{name: {"objective": objective} for name, objective in batch_objectives().items()},
    }
    for name, variant in variants.items():
        options = quiet | {"evaluator": evaluate} | variant
        engine = run(folder / name, accelerator, **options)
        engine.fit()
        if accelerator.is_main_process:
            save_file(weights(engine), folder / f"{name}.safetensors")

    # with noise: a crash and a signal to one process alone, then the same end
    whole = run(folder / "whole", accelerator, evaluator=None)
    whole.fit()
    try:
        run(folder / "crashed", accelerator, evaluator=None, crash=(3, 4)).fit()
    except Crash:
        results["crashed"] = True
    try:
        run(folder / "crashed", accelerator, evaluator=None, stop=(4, 3)).fit()
    except TrainingInterrupted as error:
        results["stopped"] = str(error)
        results["exit_code"] = error.exit_code
    resumed = run(folder / "crashed", accelerator, evaluator=None)
    resumed.fit()
    first, second = weights(whole), weights(resumed)
    results["sharded"] = sharded_state_survives(folder / "sharded", two_layers)
    results["sharded_language_model"] = sharded_state_survives(folder / "lm", language_model)
    results["same"] = all(torch.equal(first[name], second[name]) for name in first)
    if accelerator.is_main_process:
        (folder / "results.json").write_text(json.dumps(results))
    accelerator.end_training()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
