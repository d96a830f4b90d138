"""environment.json: the libraries and the machine that a run is trained with."""

import json
import os
import platform
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from hf_seqvae.engine.files import write_text
from hf_seqvae.engine.progress import Progress

ENVIRONMENT_NAME = "environment.json"
_LIBRARIES = ("hf-seqvae", "torch", "transformers", "accelerate", "datasets")


class EnvironmentFile:
    """Writes `environment` into the run folder when training begins, or goes on elsewhere."""

    def __init__(self, accelerator: Accelerator, path: Path) -> None:
        self.accelerator = accelerator
        self.path = path

    def start(self, progress: Progress, num_steps: int | None) -> None:
        """Write it, whole or not at all."""
        found = environment(self.accelerator.device, self.accelerator.num_processes)
        write_text(self.path, json.dumps(found, indent=2) + "\n")

    def step(self) -> None:
        """Nothing."""

    def line(self, line: Mapping[str, Any]) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


def environment(device: torch.device, num_processes: int = 1) -> dict[str, Any]:
    """What a run stands on: versions, device, its name, processors, processes, threads each."""
    on_gpu = device.type == "cuda"
    return {
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in _LIBRARIES},
        },
        "device": device.type,
        "device_name": torch.cuda.get_device_name(device) if on_gpu else processor(),
        "system": platform.system(),
        "num_cores": os.cpu_count(),
        "num_processes": num_processes,
        "num_threads": torch.get_num_threads(),
    }


def processor() -> str:
    """The processor's name as the system tells it; its architecture where it tells none."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():  # Linux; platform.processor() is empty there
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()
