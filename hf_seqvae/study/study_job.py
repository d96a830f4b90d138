"""One job of a study in a process of its own: python -m hf_seqvae.study.study_job FOLDER."""

import argparse
import json
import logging
import os
import sys
from pathlib import Path
from typing import Any

from datasets import disable_progress_bars
from transformers.utils import logging as transformers_logging

from hf_seqvae.engine import TrainingError, TrainingInterrupted, train
from hf_seqvae.engine.files import write_text
from hf_seqvae.engine.lock import locked
from hf_seqvae.engine.parts import load_texts
from hf_seqvae.evaluation import measure
from hf_seqvae.latent_space import load_scorable
from hf_seqvae.model.modeling_seqvae import SeqVAEModel
from hf_seqvae.recipe.text import EVERYDAY
from hf_seqvae.study.cost import Stopwatch
from hf_seqvae.study.folder import COST_NAME, INITIAL_NAME, JOB_NAME, read_job_file
from hf_seqvae.study.initial import initial_dispersion
from hf_seqvae.study.plan import Job

logger = logging.getLogger(__name__)


def run_job(job: Job) -> None:
    """Train and measure one run, going on from whatever its folder holds.

    Raises:
        ValueError: another process is at it, or the folder holds another run.
        TrainingError, TrainingInterrupted: as of `train`.
    """
    with locked(job.folder):
        if not (job.folder / "report.json").is_file():
            watchers = [Stopwatch(job.folder / COST_NAME, job.recipe.training.save_steps)]
            train(job.recipe, progress=False, watchers=watchers)
        texts: Any = load_texts(job.recipe).get(job.evaluation.split)
        if texts is None:
            split = job.evaluation.split
            raise ValueError(
                f"evaluation.split is {split!r}, and the data of {job.run!r} has no such split. "
                "Choose another split: the run need not be trained again."
            )
        model, tokenizer, decoder_tokenizer = load_scorable(job.folder)
        if not (job.folder / INITIAL_NAME).is_file():
            figures: dict[str, float | None] = {}
            if isinstance(model, SeqVAEModel):
                figures = initial_dispersion(job.recipe, tokenizer, texts)
            write_text(job.folder / INITIAL_NAME, json.dumps(figures, indent=2) + "\n")
        measure(
            model,
            tokenizer,
            texts.select(range(min(job.evaluation.iw_sentences, len(texts)))),
            decoder_tokenizer=None if decoder_tokenizer is tokenizer else decoder_tokenizer,
            names=(job.title, job.evaluation.split),
            folder=job.folder / "evaluation",
            is_everyday=job.recipe.data.dataset == EVERYDAY,
            max_length=job.recipe.data.max_length,
            truncate=True,
            iw_samples=job.evaluation.iw_samples,
            seed=job.evaluation.seed,
        )


def main() -> None:
    """Run the job whose folder is named; exit code 0, or 1 with the reason on stderr."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help=f"run folder with {JOB_NAME}")
    parser.add_argument("--nice", type=int, default=0, help="added to the niceness")
    options = parser.parse_args()
    if options.nice:
        os.nice(options.nice)
    disable_progress_bars()
    transformers_logging.disable_progress_bar()
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    try:
        run_job(Job.from_dict(read_job_file(options.folder / JOB_NAME)))
    except TrainingInterrupted as error:
        logger.warning("%s", error)
        sys.exit(error.exit_code)
    except (TrainingError, ValueError, OSError) as error:
        logger.error("%s", error)
        sys.exit(1)


if __name__ == "__main__":
    main()
