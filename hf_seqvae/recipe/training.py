"""The section of a recipe about the updates of the weights, with its contradictions refused."""

import dataclasses
from typing import ClassVar

from transformers import SchedulerType

from hf_seqvae.recipe.fields import check_fields, option

# of aggressive updates: arXiv 1901.05534
MAX_INNER_UPDATES, INNER_WINDOW = 99, 15
PLATEAU_HALVING = "plateau_halving"
# "greedy" lowers the rate by the loss of each update, which a loop would have to wait for
SCHEDULERS = (*(k.value for k in SchedulerType if k.value != "greedy"), PLATEAU_HALVING)
# what transformers.get_scheduler gives no warm-up to
WITHOUT_WARMUP = (None, "constant", "reduce_lr_on_plateau", PLATEAU_HALVING)
_OF_PLATEAU_HALVING = ("patience", "max_decays", "decay_start_epoch", "decay_factor")
# what needs no total number of steps
WITHOUT_LENGTH = (*WITHOUT_WARMUP, "constant_with_warmup", "inverse_sqrt")


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
        "plateau_halving: no decay before this epoch; worse validations count from the first "
        "(arXiv 1901.05534: 15)",
        minimum=0,
    )
    decay_factor: float = option(0.5, "plateau_halving: factor of a decay", above=0.0, below=1.0)
    max_grad_norm: float | None = option(
        5.0, "gradient norm to clip to; null: no clipping", above=0.0
    )
    encoder_updates: str = option(
        "joint",
        "joint, or aggressive: the encoder alone until its loss stops falling before each update "
        "of the decoder, while the MI of validations rises (arXiv 1901.05534)",
        choices=("joint", "aggressive"),
    )
    max_inner_updates: int | None = option(
        None,
        "aggressive: most updates of the encoder alone before each joint one",
        shown=MAX_INNER_UPDATES,
        minimum=1,
    )
    inner_window: int | None = option(
        None,
        "aggressive: updates whose mean loss a word is compared with that before",
        shown=INNER_WINDOW,
        minimum=1,
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
        for name in ("max_inner_updates", "inner_window"):
            if self.encoder_updates == "joint" and getattr(self, name) is not None:
                raise ValueError(
                    f"training.{name} is read by aggressive updates alone, and "
                    "training.encoder_updates is 'joint'. Leave it out, or set that to aggressive."
                )
        window = self.inner_window or INNER_WINDOW
        most = self.max_inner_updates or MAX_INNER_UPDATES
        if self.encoder_updates == "aggressive" and window > most:
            raise ValueError(
                f"training.inner_window ({window}) must not be above max_inner_updates ({most}): "
                "the inner loop would never be judged."
            )
        if self.encoder_updates == "aggressive" and (self.num_processes or 1) > 1:
            raise ValueError(
                "training.encoder_updates 'aggressive' runs on one process: when the inner loop "
                "stops is judged from the loss of all rows. Got "
                f"num_processes={self.num_processes}."
            )
        if self.scheduler != PLATEAU_HALVING:
            fields = [item for item in dataclasses.fields(self) if item.name in _OF_PLATEAU_HALVING]
            idle = [item for item in fields if getattr(self, item.name) != item.default]
            if idle:
                raise ValueError(
                    f"training.{', '.join(item.name for item in idle)}: read by the scheduler "
                    f"{PLATEAU_HALVING} alone, and training.scheduler is {self.scheduler!r}. Set "
                    f"that, or back to {', '.join(f'{one.name}={one.default}' for one in idle)}."
                )
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
