"""The sections of a recipe: frozen dataclasses, every option with its meaning, unit and limits.

Contradictions inside a section are refused here, so that nothing fails an hour into a run.
"""

import dataclasses
from typing import ClassVar

from transformers import SchedulerType

from hf_seqvae.objectives import KL_TERMS, SCHEDULES
from hf_seqvae.recipe.fields import check_fields, option

EVERYDAY = "everyday"
PLATEAU_HALVING = "plateau_halving"
SCHEDULERS = (*(kind.value for kind in SchedulerType), PLATEAU_HALVING)
# what transformers.get_scheduler gives no warm-up to
WITHOUT_WARMUP = (None, "constant", "reduce_lr_on_plateau", "greedy", PLATEAU_HALVING)
# what needs no total number of steps
WITHOUT_LENGTH = (*WITHOUT_WARMUP, "constant_with_warmup", "inverse_sqrt")
# options of beta that each schedule reads
BETA_OPTIONS = {
    "constant": ("value",),
    "linear": ("start", "end", "num_epochs", "num_steps", "delay_epochs"),
    "cyclical": ("start", "end", "num_epochs", "num_steps", "num_cycles", "ramp_fraction"),
}


@dataclasses.dataclass(frozen=True)
class TokenizerRecipe:
    """How text becomes tokens."""

    SECTION: ClassVar[str] = "tokenizer."
    kind: str = option(
        "word",
        "word or bpe, trained on the train split, or pretrained",
        choices=("word", "bpe", "pretrained"),
    )
    name: str | None = option(None, "folder or Hub id of a pretrained tokenizer")
    vocab_size: int | None = option(
        None,
        "most tokens, the 4 special ones included; null: all words, or 8192 BPE pieces",
        minimum=5,
    )
    min_frequency: int = option(
        1, "occurrences in the train split below which a token is left out", minimum=1
    )
    split: str = option(
        "whitespace",
        "where words end: whitespace, for text that is tokenised already, or punctuation, which "
        "also parts words from "
        "the marks beside them",
        choices=("whitespace", "punctuation"),
    )

    def __post_init__(self) -> None:
        """Check types, limits and contradictions."""
        check_fields(self)
        if self.kind == "pretrained":
            if self.name is None:
                raise ValueError(
                    "tokenizer.kind 'pretrained' needs tokenizer.name, a folder or a Hub id."
                )
            if self.vocab_size is not None or self.min_frequency != 1 or self.split != "whitespace":
                raise ValueError(
                    "A pretrained tokenizer is not trained again: leave out tokenizer.vocab_size, "
                    "min_frequency and split."
                )
        elif self.name is not None:
            raise ValueError(
                f"tokenizer.name {self.name!r} names a pretrained tokenizer, but tokenizer.kind "
                f"is {self.kind!r}. "
                "Set kind to pretrained, or leave out the name."
            )
        if self.kind == "bpe" and self.split != "whitespace":
            raise ValueError(
                "tokenizer.kind 'bpe' parts words by itself: leave out tokenizer.split."
            )


@dataclasses.dataclass(frozen=True)
class DataRecipe:
    """Which text, and how it is batched."""

    SECTION: ClassVar[str] = "data."
    dataset: str | None = option(
        None, "everyday (the embedded grammar) or a Hub data set id; null where files are given"
    )
    dataset_config: str | None = option(None, "configuration of the Hub data set")
    train_file: str | None = option(None, "txt, csv, jsonl or parquet file to train on")
    validation_file: str | None = option(None, "file that chooses the best checkpoint")
    test_file: str | None = option(None, "file for the final figures")
    text_column: str = option("text", "column that holds the text (csv, jsonl, parquet, Hub)")
    train_split: str = option("train", "name of the Hub split to train on")
    validation_split: str = option(
        "validation", "name of the Hub split that chooses the best checkpoint"
    )
    test_split: str = option("test", "name of the Hub split for the final figures")
    num_train: int | None = option(
        None, "sentences to train on, the first ones; null: all", minimum=1
    )
    num_validation: int | None = option(None, "sentences to validate on; null: all", minimum=1)
    num_test: int | None = option(None, "sentences to test on; null: all", minimum=1)
    max_length: int | None = option(
        None, "most tokens of a text, the special ones apart; null: any", minimum=1
    )
    streaming: bool = option(
        False, "read the data set as it comes, for what does not fit on the disk"
    )
    batch_size: int | None = option(
        None,
        "sentences a step, over all processes; null with tokens_per_batch",
        shown=32,
        minimum=1,
    )
    tokens_per_batch: int | None = option(
        None, "padded tokens a step, over all processes, in place of batch_size", minimum=1
    )
    lowercase: bool = option(False, "lower-case the text first")
    seed: int = option(0, "draws the sentences of everyday", minimum=0)

    def __post_init__(self) -> None:
        """Check types, limits and contradictions."""
        if self.batch_size is None and self.tokens_per_batch is None:
            object.__setattr__(self, "batch_size", 32)
        check_fields(self)
        if self.batch_size is not None and self.tokens_per_batch is not None:
            raise ValueError(
                f"data.batch_size ({self.batch_size}) and data.tokens_per_batch "
                f"({self.tokens_per_batch}) both say how "
                "large a batch is. Set one of them to null."
            )
        self._check_source()

    def _check_source(self) -> None:
        files = [
            name
            for name in ("train_file", "validation_file", "test_file")
            if getattr(self, name) is not None
        ]
        if self.dataset is None and self.train_file is None:
            raise ValueError("There is nothing to train on: set data.dataset or data.train_file.")
        if self.dataset is not None and files:
            raise ValueError(
                f"data.dataset ({self.dataset!r}) and data.{files[0]} "
                f"({getattr(self, files[0])!r}) both name the text. "
                "Set data.dataset to null to read files."
            )
        if self.train_file is not None and self.validation_file is None:
            raise ValueError(
                "data.train_file needs data.validation_file: the best checkpoint is chosen on it."
            )
        if self.dataset_config is not None and self.dataset in (None, EVERYDAY):
            raise ValueError(
                "data.dataset_config belongs to a Hub data set: leave it out, or name one in "
                "data.dataset."
            )
        if self.dataset == EVERYDAY:
            missing = [
                name
                for name in ("num_train", "num_validation", "num_test")
                if getattr(self, name) is None
            ]
            if missing:
                raise ValueError(f"everyday has no last sentence: set data.{missing[0]}.")
            if self.streaming:
                raise ValueError("everyday is made in memory: leave out data.streaming.")


@dataclasses.dataclass(frozen=True)
class BetaRecipe:
    """The weight of the KL term over the updates of a run."""

    SECTION: ClassVar[str] = "objective.beta."
    schedule: str = option("constant", "how beta moves", choices=tuple(SCHEDULES))
    value: float | None = option(None, "constant: the weight", shown=1.0, minimum=0.0)
    start: float | None = option(
        None, "linear, cyclical: weight at the start", shown=0.0, minimum=0.0
    )
    end: float | None = option(None, "linear, cyclical: weight at the end", shown=1.0, minimum=0.0)
    num_epochs: float | None = option(
        None, "linear: length of the line, cyclical: of all cycles; in epochs", above=0.0
    )
    num_steps: int | None = option(
        None, "the same in optimizer updates, in place of num_epochs", minimum=1
    )
    delay_epochs: float | None = option(
        None, "linear: epochs at start before it moves", shown=0.0, minimum=0.0
    )
    num_cycles: int | None = option(
        None, "cyclical: cycles, M of arXiv 1903.10145", shown=4, minimum=1
    )
    ramp_fraction: float | None = option(
        None, "cyclical: share of a cycle that rises, R of arXiv 1903.10145", shown=0.5, above=0.0
    )

    def __post_init__(self) -> None:
        """Check types, limits and that every value belongs to the schedule."""
        check_fields(self)
        read = BETA_OPTIONS[self.schedule]
        for item in dataclasses.fields(self):
            if item.name not in ("schedule", *read) and getattr(self, item.name) is not None:
                raise ValueError(
                    f"objective.beta.{item.name} is not read by the schedule {self.schedule!r}, "
                    "which reads "
                    f"{', '.join(read)}. Set it to null, or replace the whole of objective.beta."
                )
        if self.schedule != "constant" and (self.num_epochs is None) == (self.num_steps is None):
            raise ValueError(
                f"The schedule {self.schedule!r} needs one of objective.beta.num_epochs and "
                "objective.beta.num_steps, "
                f"got {self.num_epochs} and {self.num_steps}."
            )


@dataclasses.dataclass(frozen=True)
class ObjectiveRecipe:
    """What is optimised; tokens or sentences as the unit are the model's `loss_normalization`."""

    SECTION: ClassVar[str] = "objective."
    beta: BetaRecipe = option(BetaRecipe, "weight of the KL term")
    kl_term: str = option("plain", "how the KL enters the loss", choices=tuple(KL_TERMS))
    free_bits: float = option(
        0.0, "nats of each latent dimension that cost nothing (free-bits terms)", minimum=0.0
    )

    def __post_init__(self) -> None:
        """Check types, limits and contradictions."""
        check_fields(self)
        if self.kl_term == "plain" and self.free_bits:
            raise ValueError(
                f"objective.free_bits is {self.free_bits}, but objective.kl_term 'plain' has none. "
                "Set free_bits to 0, or kl_term to free_bits_per_dimension_hinge."
            )


@dataclasses.dataclass(frozen=True)
class TrainingRecipe:
    """How the weights are updated, watched and kept."""

    SECTION: ClassVar[str] = "training."
    epochs: int = option(10, "passes over the train split", minimum=1)
    max_steps: int | None = option(
        None, "optimizer updates after which training ends, if sooner", minimum=1
    )
    optimizer: str = option("adamw", "a class of torch.optim, in capitals or not")
    learning_rate: float = option(1e-3, "learning rate at its highest", above=0.0)
    weight_decay: float = option(0.0, "weight decay of every parameter", minimum=0.0)
    optimizer_args: dict = option(
        dict, "further arguments of the optimizer, such as betas or momentum"
    )
    scheduler: str | None = option(
        None, "learning rate over updates; null: constant", choices=SCHEDULERS
    )
    scheduler_args: dict = option(
        dict, "further arguments of the scheduler (transformers.get_scheduler)"
    )
    warmup_steps: int = option(
        0, "optimizer updates in which the learning rate rises from 0", minimum=0
    )
    patience: int = option(
        2, "plateau_halving: worse validations before a decay (arXiv 1901.05534: 2)", minimum=1
    )
    max_decays: int = option(
        5, "plateau_halving: decays after which training ends (arXiv 1901.05534: 5)", minimum=1
    )
    decay_start_epoch: int = option(
        0,
        "plateau_halving: epochs before validations count as worse (arXiv 1901.05534: 15)",
        minimum=0,
    )
    decay_factor: float = option(0.5, "plateau_halving: factor of a decay", above=0.0, below=1.0)
    max_grad_norm: float | None = option(
        5.0, "gradient norm to clip to; null: no clipping", above=0.0
    )
    gradient_accumulation_steps: int = option(1, "micro-batches a batch is cut into", minimum=1)
    mixed_precision: str = option(
        "no", "precision of forward and backward", choices=("no", "bf16", "fp16")
    )
    num_eval_samples: int = option(
        1, "posterior samples a sentence in the ELBO of a validation", minimum=1
    )
    eval_batch_size: int = option(64, "sentences a batch of a validation", minimum=1)
    logging_steps: int = option(
        50, "optimizer updates between two lines of the log", minimum=1, neutral=True
    )
    save_steps: int | None = option(
        None,
        "optimizer updates between two checkpoints; null: one an epoch",
        minimum=1,
        neutral=True,
    )
    keep_checkpoints: int = option(
        2, "checkpoints to keep beside the best one", minimum=1, neutral=True
    )
    trackers: tuple[str, ...] = option(
        (), "trackers of Accelerate, such as tensorboard", neutral=True
    )
    num_workers: int = option(0, "processes that load data", minimum=0, neutral=True)
    num_processes: int | None = option(
        None, "processes that must have been launched; null: any number", minimum=1, neutral=True
    )
    compile: bool = option(False, "torch.compile the model")
    fused: bool | None = option(None, "fused update of the optimizer; null: where torch has one")

    def __post_init__(self) -> None:
        """Check types, limits and contradictions."""
        check_fields(self)
        if self.warmup_steps and self.scheduler in WITHOUT_WARMUP:
            raise ValueError(
                f"training.scheduler {self.scheduler!r} has no warm-up, got "
                f"warmup_steps={self.warmup_steps}. "
                "Set warmup_steps to 0, or scheduler to constant_with_warmup or linear."
            )
        if self.max_steps is not None and self.warmup_steps >= self.max_steps:
            raise ValueError(
                f"training.warmup_steps ({self.warmup_steps}) must be less than "
                f"training.max_steps ({self.max_steps}): "
                "the learning rate would never be reached."
            )
        taken = {"lr": "learning_rate", "weight_decay": "weight_decay", "fused": "fused"}
        for name in taken.keys() & self.optimizer_args.keys():
            raise ValueError(
                f"training.optimizer_args.{name} has its own key: set training.{taken[name]}."
            )
        for name in {"num_warmup_steps", "num_training_steps"} & self.scheduler_args.keys():
            raise ValueError(
                f"training.scheduler_args.{name} is worked out: set training.warmup_steps, epochs "
                "or max_steps."
            )
        if self.scheduler_args and self.scheduler in (None, PLATEAU_HALVING):
            raise ValueError(
                f"training.scheduler {self.scheduler!r} takes no scheduler_args, got "
                f"{self.scheduler_args}."
            )
