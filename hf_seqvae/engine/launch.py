"""The Accelerator of a run, and whether as many processes came as were asked for."""

import logging
import os
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from accelerate import Accelerator

logger = logging.getLogger(__name__)

_CPU_LAUNCH = "ACCELERATE_USE_CPU=true python -m torch.distributed.run --nproc_per_node {count} ..."


def build_accelerator(
    *,
    mixed_precision: str = "no",
    num_processes: int | None = None,
    trackers: Sequence[str] = (),
    project_dir: str | Path | None = None,
) -> Accelerator:
    """The Accelerator of this process, one of `num_processes`.

    Args:
        mixed_precision: "no", "bf16" or "fp16".
        num_processes: how many were asked for; None for any number.
        trackers: names that Accelerate knows.
        project_dir: where trackers write.

    Raises:
        ValueError: fewer or more processes came, or the precision does not fit the device.
    """
    has_device = torch.accelerator.is_available()
    accelerator = Accelerator(
        cpu=not has_device,
        mixed_precision=mixed_precision,
        log_with=list(trackers) or None,
        project_dir=None if project_dir is None else str(project_dir),
    )
    check_accelerator(accelerator, mixed_precision, num_processes)
    return accelerator


def is_first_process() -> bool:
    """Whether this process is the one that speaks, also before an Accelerator exists."""
    return os.environ.get("RANK", "0") == "0"


def launched_precision(mixed_precision: str) -> str:
    """The recipe's precision, or that of `accelerate launch` where the recipe asks for none.

    Raises:
        ValueError: both ask for one, and not for the same.
    """
    launched = os.environ.get("ACCELERATE_MIXED_PRECISION", "no")
    if launched in ("no", mixed_precision):
        return mixed_precision
    if mixed_precision == "no":
        logger.warning("mixed_precision %s comes from accelerate launch", launched)
        return launched
    raise ValueError(
        f"accelerate launch was given mixed_precision={launched!r} and the recipe says "
        f"{mixed_precision!r}. Make them equal: --set training.mixed_precision={launched}."
    )


def check_accelerator(
    accelerator: Accelerator, mixed_precision: str, num_processes: int | None
) -> None:
    """Raise where an Accelerator is not what the recipe asks for; warn where bf16 gains nothing.

    Raises:
        ValueError: number of processes or precision.
    """
    if num_processes not in (None, accelerator.num_processes):
        raise ValueError(
            f"{num_processes} processes were asked for (training.num_processes or --num-processes) "
            f"and {accelerator.num_processes} came. Start them with `accelerate launch "
            f"--num_processes {num_processes} training/train.py ...` on GPUs, with "
            f"`{_CPU_LAUNCH.format(count=num_processes)}` on the CPU."
        )
    if accelerator.mixed_precision != mixed_precision:
        raise ValueError(
            f"the accelerator runs in mixed_precision={accelerator.mixed_precision!r}, the recipe "
            f"asks for {mixed_precision!r}. Make them equal."
        )
    if mixed_precision == "fp16" and accelerator.device.type == "cpu":
        raise ValueError(
            "mixed_precision 'fp16' needs a GPU, and training runs on the CPU. Use 'bf16' or 'no'."
        )
    if mixed_precision == "bf16" and accelerator.device.type == "cpu" and is_first_process():
        single, half = gemm_speed(torch.float32), gemm_speed(torch.bfloat16)
        if half < single:
            logger.warning(
                "this CPU multiplies bfloat16 matrices at %.0f GFLOP/s a thread and float32 ones "
                "at %.0f: mixed_precision 'bf16' is slower here than 'no'.",
                half / torch.get_num_threads(),
                single / torch.get_num_threads(),
            )


def gemm_speed(dtype: torch.dtype, size: int = 512, repeats: int = 5) -> float:
    """The best of a few products of square matrices on the CPU, in GFLOP/s; takes milliseconds."""
    left, right = torch.ones(2, size, size, dtype=dtype)
    seconds = []
    for _ in range(repeats + 1):  # the first one builds the kernel
        started = time.perf_counter()
        torch.mm(left, right)
        seconds.append(time.perf_counter() - started)
    return 2 * size**3 / min(seconds) / 1e9


def check_launch() -> None:
    """Raise where `accelerate launch` was asked for several CPU processes and started one.

    Without MPI it starts a single process on the CPU whatever --num_processes says; what gives that
    away is a master address without a world size.

    Raises:
        ValueError: with the command that starts them.
    """
    environment = os.environ
    if (
        "ACCELERATE_MIXED_PRECISION" in environment
        and "MASTER_ADDR" in environment
        and not {"WORLD_SIZE", "RANK", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE"} & environment.keys()
    ):
        raise ValueError(
            "accelerate launch was asked for several processes on the CPU and started one (it "
            f"needs MPI for more). Use `{_CPU_LAUNCH.format(count='N')}`."
        )
