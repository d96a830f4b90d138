"""What a SeqVAETrainer cannot do is refused before it begins."""

from typing import Any

from datasets import Dataset
from transformers import TrainingArguments

from hf_seqvae.callbacks import KLScheduleCallback
from hf_seqvae.metrics import has_exact_likelihood
from hf_seqvae.objectives import Objective, TargetRate


def check_model(model: Any) -> None:
    """Raises where the model has no latents."""
    if has_exact_likelihood(model):
        raise ValueError(
            f"{type(model).__name__} has no latents, and SeqVAETrainer trains VAEs. Train a "
            "language model by a recipe (`model: language_model`), or by a stock Trainer."
        )


def check_arguments(args: TrainingArguments) -> None:
    """Raises where an argument would be ignored, spoil the loss, or give a secret away."""
    if args.label_smoothing_factor:
        raise ValueError(
            f"label_smoothing_factor={args.label_smoothing_factor} takes the labels away from "
            "the model, and a smoothed loss bounds no likelihood. Set it to 0."
        )
    if args.train_sampling_strategy not in ("random", "group_by_length"):
        raise ValueError(
            f"train_sampling_strategy={args.train_sampling_strategy!r} is not what SeqVAETrainer "
            "does: its batches are rows of similar length in a random order, which 'random' and "
            "'group_by_length' both name. Leave it out, or use a stock Trainer."
        )
    if args.dataloader_drop_last:
        raise ValueError(
            "dataloader_drop_last=True leaves rows out of every epoch, and SeqVAETrainer reads "
            "each once. Leave it out."
        )
    for name in ("bf16_full_eval", "fp16_full_eval"):
        if getattr(args, name):
            raise ValueError(
                f"{name}=True would evaluate at other weights than those that are trained, and "
                "SeqVAETrainer's bound is of the latter. Leave it out."
            )
    if args.hub_token is not None:
        raise ValueError(
            "hub_token would be saved in training_args.bin, which every push sends to the Hub. "
            "Log in instead: `hf auth login`, or the environment variable HF_TOKEN."
        )
    if args.n_gpu > 1:
        raise ValueError(
            f"this process sees {args.n_gpu} GPUs and would split each batch between them, "
            "which breaks the count of sentences. Start it with `accelerate launch`, one each."
        )


def check_rows(dataset: Any) -> None:
    """Raises where rows come one by one: length buckets are made of the lengths of all."""
    if not isinstance(dataset, Dataset):
        raise ValueError(
            f"SeqVAETrainer sorts rows by length, and so needs a datasets.Dataset, got "
            f"{type(dataset).__name__}. Hold the rows in one (`hf_seqvae.data.tokenize` of a "
            "Dataset), or use a stock Trainer."
        )


def check_callback(callback: Any) -> None:
    """Raises for one, or the class of one, that a SeqVAETrainer would not heed."""
    kind = callback if isinstance(callback, type) else type(callback)
    if issubclass(kind, KLScheduleCallback):
        raise ValueError(
            "KLScheduleCallback is for a stock Trainer: here the objective weighs the KL. Give "
            "objective=Objective(beta=schedule) instead."
        )


def check_options(options: dict[str, Any], objective: Objective | None) -> None:
    """Raises where Trainer's own options, or an engine's, would change the loss or the loop."""
    if options.get("compute_loss_func") is not None:
        raise ValueError(
            "compute_loss_func takes the labels away from the model, which scores them itself. "
            "Give an Objective instead."
        )
    for callback in options.get("callbacks") or ():
        check_callback(callback)
    engine = "Use a recipe: hf-seqvae train, or hf_seqvae.engine.train."
    if "inner" in options or options.get("encoder_updates", "joint") != "joint":
        raise ValueError(
            "aggressive updates move the encoder several times a batch, and a Trainer makes one "
            f"update a batch. {engine}"
        )
    if "phases" in options:
        raise ValueError(
            f"phases begin training anew several times, and a Trainer trains once. {engine}"
        )
    if objective is not None and isinstance(objective.beta, TargetRate):
        raise ValueError(
            "a target rate has a state that must be saved with the weights, and a resumed Trainer "
            f"begins with a new one. {engine}"
        )
