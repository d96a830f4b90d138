"""What other processes run for the tests of evaluation: two that share the work, or a slow one."""

import atexit
import json
import os
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import torch
from evaluation_standins import (
    TEXTS,
    BagByPosition,
    tiny_data,
    tiny_tokenizer,
    tiny_vae,
    tokenised,
    write_at_once,
)
from pytest import MonkeyPatch
from safetensors.numpy import save_file

from hf_seqvae import SeqVAEModel
from hf_seqvae.evaluation import evaluate, launched_processes, measure

ARGUMENTS = {
    "num_texts": 4 * len(TEXTS),
    "num_samples": 2,
    "iw_samples": 5,
    "num_generated": 5,
    "batch_size": 3,
    "decode_size": 6,
}
SHARED = {"num_samples": 2, "iw_samples": 5, "batch_size": 3, "decode_size": 6}


def measured(folder, **more):
    """The report of a tiny model on a few texts."""
    arguments = dict(ARGUMENTS)
    texts = (4 * TEXTS)[: arguments.pop("num_texts")]
    return measure(
        tiny_vae(), tiny_tokenizer(), tiny_data(texts), folder=folder, **arguments, **more
    )


@contextmanager
def counted(pause: float = 0.0):
    """Rows that models encode and decode within; each decoding takes `pause` seconds longer."""
    rows = {"encoded": 0, "decoded": 0}
    likelihoods = ("log_likelihood", "position_log_likelihood")
    with MonkeyPatch.context() as patch:
        for name in likelihoods:
            inner = getattr(SeqVAEModel, name)

            def outer(self, batch, latents, inner=inner):
                rows["decoded"] += latents.shape[0] * latents.shape[1]
                time.sleep(pause)
                return inner(self, batch, latents)

            patch.setattr(SeqVAEModel, name, outer)
        encoder = type(tiny_vae().encoder)
        pool = encoder.pool

        def read(self, features, mask):
            rows["encoded"] += len(features)
            return pool(self, features, mask)

        patch.setattr(encoder, "pool", read)
        yield rows


def in_two_processes(folder: Path) -> None:
    """The same evaluations as one process makes, and one that a single process had begun."""
    # registered first, so called last: what the interpreter ends with
    left = folder / f"left-{os.environ['RANK']}"
    atexit.register(lambda: left.write_text(str(not torch.distributed.is_initialized())))
    processes = launched_processes(cpu=True)
    for name, into in (("alone", None), ("begun", folder / "begun")):
        model = BagByPosition()
        report = evaluate(model, tokenised(), folder=into, processes=processes, **SHARED)
        counts = {"encoded": model.encoded, "decoded": model.decoded}
        found = {"report": report.to_dict(), **counts, "count": processes.count}
        (folder / f"{name}-{processes.rank}.json").write_text(json.dumps(found))
        save_file(dict(report.per_sentence), folder / f"{name}-{processes.rank}.safetensors")
    measured(folder / "measured", processes=processes)


def main(what: str, folder: Path) -> None:
    torch.set_num_threads(1)
    if what == "slowly":
        with MonkeyPatch.context() as patch, counted(pause=0.05):
            write_at_once(patch)
            measured(folder)
    else:
        in_two_processes(folder)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
