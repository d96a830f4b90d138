"""What an engine cannot do is refused before it begins."""

from collections.abc import Iterable
from typing import Any

from hf_seqvae.objectives import BatchReader, Objective


def check_engine(
    *,
    evaluated: bool,
    halved: bool,
    aggressive: bool,
    scheduled: bool,
    num_phases: int,
    num_processes: int,
) -> None:
    """Raises where parts of an engine do not go together.

    Args:
        evaluated: there are validations.
        halved: the learning rate answers to them (plateau_halving).
        aggressive: the encoder is updated alone.
        scheduled: a learning-rate scheduler runs over the whole run.
        num_phases: how many times training begins anew.
        num_processes: that share the work.
    """
    if halved and not evaluated:
        raise ValueError("plateau_halving needs validations: give an evaluator.")
    if aggressive and not evaluated:
        raise ValueError("aggressive updates end by the MI of validations: give an evaluator.")
    if aggressive and num_processes > 1:
        raise ValueError(
            "aggressive updates run on one process, since when the inner loop stops is judged from "
            f"the loss of all rows; got {num_processes} processes."
        )
    if num_phases > 1 and scheduled:
        raise ValueError("each of the phases begins anew: give no scheduler of the whole run.")


def check_whole_batch(
    model: Any,
    objectives: Iterable[Objective],
    *,
    num_micro_batches: int,
    num_processes: int,
    smallest_batch: int | None = None,
) -> None:
    """Raises where a statistic of the whole batch is not to be had.

    Args:
        model: may say `uses_batch_statistics`, as a posterior with batch normalisation does.
        objectives: of the run.
        num_micro_batches: into which an update's batch is cut.
        num_processes: among which it is shared.
        smallest_batch: rows of the smallest batch of an epoch, where that is known.

    Raises:
        ValueError: naming what reads the batch, and the cure.
    """
    readers = [item.batch_reader for item in objectives]
    if getattr(model, "uses_batch_statistics", False):
        readers.append(BatchReader("the model's posterior", alone=True))
        if smallest_batch == 1:
            raise ValueError(
                "the model's posterior normalises over the sentences of a batch, and one batch of "
                "each epoch has a single sentence. Choose a batch_size that leaves a rest of two "
                "or more, or leave out a sentence (num_train)."
            )
    for reader in readers:
        if reader is not None:
            reader.refuse_cut(num_micro_batches=num_micro_batches, num_processes=num_processes)
