"""A fresh process in which the package cannot be imported."""

import json
import os
import subprocess
import sys
from pathlib import Path

# Runs first in each fresh process: the package is out of reach, and the process says so.
BLOCK = """
import json, pathlib, sys
sys.modules["hf_seqvae"] = None
try:
    import hf_seqvae.model.modeling_seqvae
except ModuleNotFoundError:
    pass
else:
    raise SystemExit("the package can be imported here")
import torch
from transformers import AutoConfig, AutoModel, AutoModelForSeq2SeqLM
torch.set_num_threads(1)
"""


def run(script: str, *args: Path, cwd: Path) -> dict:
    environment = os.environ | {"HF_MODULES_CACHE": str(cwd / "modules"), "PYTHONPATH": ""}
    done = subprocess.run(
        [sys.executable, "-W", "error::FutureWarning", "-c", BLOCK + script, *map(str, args)],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        cwd=cwd,
        env=environment,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout.splitlines()[-1])
