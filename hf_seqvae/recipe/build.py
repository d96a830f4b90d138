"""From a recipe to the objects of a run: config, model, objective, optimizer, learning rate."""

import dataclasses
import difflib
import inspect
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import nn
from torch.optim.lr_scheduler import LRScheduler
from transformers import PreTrainedConfig, PreTrainedTokenizerBase, get_scheduler

from hf_seqvae.language_model import WithoutLatents
from hf_seqvae.model.configuration_lstm import SeqVAELSTMConfig
from hf_seqvae.model.configuration_seqvae import SeqVAEConfig
from hf_seqvae.model.modeling_lstm import SeqVAELSTMForCausalLM
from hf_seqvae.model.modeling_seqvae import SeqVAEModel
from hf_seqvae.objectives import Objective, build_schedule
from hf_seqvae.recipe.model_config import Vocabulary, model_config
from hf_seqvae.recipe.objective import schedule_values
from hf_seqvae.recipe.phases import PhaseRecipe, phase_objective
from hf_seqvae.recipe.schema import Recipe
from hf_seqvae.recipe.training import PLATEAU_HALVING

logger = logging.getLogger(__name__)


def build_objective(
    recipe: Recipe, steps_per_epoch: int | None = None, phase: PhaseRecipe | None = None
) -> Objective:
    """The Objective of a recipe, its schedule in optimizer updates.

    Args:
        recipe: the recipe.
        steps_per_epoch: optimizer updates an epoch; needed where beta counts epochs.
        phase: that of one of its phases.
    """
    parts = recipe.objective if phase is None else phase_objective(phase, recipe.objective)
    epochs = recipe.training.epochs if phase is None else int(phase.epochs or 0)
    beta, length = parts.beta, (parts.beta.num_epochs or 0.0) + (parts.beta.delay_epochs or 0.0)
    if length > epochs:
        logger.warning(
            "beta moves for %g epochs but training ends after %d: it stops on the way. Shorten "
            "objective.beta.num_epochs.",
            length,
            epochs,
        )
    return Objective(
        beta=build_schedule(beta.schedule, **schedule_values(beta, steps_per_epoch)),
        kl_term=parts.kl_term,
        free_bits=parts.free_bits,
        capacity=parts.capacity,
        mmd_weight=parts.mmd_weight,
        normalization=recipe.model.get(
            "loss_normalization", _default(SeqVAEConfig, "loss_normalization")
        ),
    )


def build_config(
    recipe: Recipe,
    tokenizer: PreTrainedTokenizerBase,
    decoder_tokenizer: PreTrainedTokenizerBase | None = None,
) -> SeqVAEConfig | SeqVAELSTMConfig:
    """The model's config: the recipe's keys, and vocabularies and token ids of the tokenizers.

    Args:
        recipe: the recipe.
        tokenizer: of the encoder's input.
        decoder_tokenizer: of the labels; None: the same.

    Raises:
        ValueError: what the config itself refuses.
    """
    own = _vocabulary(tokenizer)
    target = own if decoder_tokenizer is None else _vocabulary(decoder_tokenizer)
    return model_config(recipe.model, own, target)


def build_model(
    recipe: Recipe,
    tokenizer: PreTrainedTokenizerBase,
    decoder_tokenizer: PreTrainedTokenizerBase | None = None,
) -> SeqVAEModel | WithoutLatents:
    """A new model, its weights drawn from the recipe's seed; global generators stay untouched."""
    config = build_config(recipe, tokenizer, decoder_tokenizer)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(recipe.seed)
        if isinstance(config, SeqVAEConfig):
            return SeqVAEModel(config)
        word_dropout = recipe.model.get("word_dropout", 0.0)
        return WithoutLatents(SeqVAELSTMForCausalLM(config), word_dropout=word_dropout)


def build_optimizer(recipe: Recipe, model: nn.Module) -> torch.optim.Optimizer:
    """The optimizer of a recipe over every parameter of `model` that asks for a gradient."""
    training = recipe.training
    cls = optimizer_class(training.optimizer)
    accepted = inspect.signature(cls).parameters
    values: dict[str, Any] = dict(training.optimizer_args)
    if training.weight_decay:
        values["weight_decay"] = training.weight_decay
    elif "weight_decay" in accepted:
        values["weight_decay"] = 0.0  # AdamW's own default is 0.01
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if training.fused is not None:
        values["fused"] = training.fused
    elif "fused" in accepted and has_fused_kernel(cls, parameters, values):
        values["fused"] = True
    for name in values:
        if name not in accepted:
            raise ValueError(
                f"{cls.__name__} takes no {name!r}, got {values[name]!r}. It takes "
                f"{', '.join(list(accepted)[1:])}."
            )
    values["lr"] = training.learning_rate
    with _refused_as("training.optimizer_args", training.optimizer_args):
        return cls(parameters, **values)


def has_fused_kernel(
    cls: type[torch.optim.Optimizer],
    parameters: list[nn.Parameter],
    arguments: dict[str, Any],
) -> bool:
    """Whether torch updates all of `parameters` in one kernel of an optimizer that takes `fused`.

    torch itself never chooses that on a CPU, where it is the fastest (training/results/speed.md).
    """
    devices = {"cpu"} if cls is torch.optim.Adagrad else {"cpu", "cuda", "mps", "xpu"}
    chosen = arguments.get("foreach") is not None or arguments.get("differentiable")
    return not chosen and all(
        value.is_floating_point() and value.device.type in devices for value in parameters
    )


def build_scheduler(
    recipe: Recipe, optimizer: torch.optim.Optimizer, num_training_steps: int | None
) -> LRScheduler | None:
    """The learning rate over `num_training_steps` optimizer updates.

    None where the rate is constant, or halved on a plateau: the training loop sees validations,
    this does not.
    """
    training = recipe.training
    if training.scheduler in (None, PLATEAU_HALVING):
        return None
    if num_training_steps is not None and training.warmup_steps >= num_training_steps:
        raise ValueError(
            f"training.warmup_steps ({training.warmup_steps}) must be less than the "
            f"{num_training_steps} updates of this "
            "run: the learning rate would never be reached. Lower it, or train longer."
        )
    with _refused_as("training.scheduler_args", training.scheduler_args):
        return get_scheduler(
            training.scheduler,
            optimizer,
            num_warmup_steps=training.warmup_steps,
            num_training_steps=num_training_steps,
            scheduler_specific_kwargs=training.scheduler_args or None,
        )


@contextmanager
def _refused_as(key: str, values: Mapping[str, Any]) -> Iterator[None]:
    """What torch or transformers say of arguments that they do not take, under the recipe's key."""
    try:
        yield
    except (TypeError, ValueError, IndexError) as error:
        raise ValueError(f"{key} are {values!r}, which do not fit: {error}") from error


def optimizer_class(name: str) -> type[torch.optim.Optimizer]:
    """The class of torch.optim called `name`, in capitals or not."""
    classes = {
        attribute.lower(): value
        for attribute, value in vars(torch.optim).items()
        if isinstance(value, type) and issubclass(value, torch.optim.Optimizer)
    }
    # the base class, one that needs a closure, and one for gradients that no part here has
    for unusable in ("optimizer", "lbfgs", "sparseadam"):
        del classes[unusable]
    if name.lower() not in classes:
        near = difflib.get_close_matches(name.lower(), list(classes), n=1, cutoff=0.0)[0]
        raise ValueError(
            f"training.optimizer must be a class of torch.optim, got {name!r}. Did you mean "
            f"{near!r}? "
            f"There are {', '.join(sorted(classes))}."
        )
    return classes[name.lower()]


def special_token_ids(tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
    """Ids that a config needs: [CLS] and [SEP] may stand for the ends, an end for padding."""
    bos, eos, pad = tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id
    bos = tokenizer.cls_token_id if bos is None else bos
    eos = tokenizer.sep_token_id if eos is None else eos
    if eos is None:
        raise ValueError("The tokenizer has no token that ends a sequence: give it an eos_token.")
    return {
        "pad_token_id": eos if pad is None else pad,
        "bos_token_id": eos if bos is None else bos,
        "eos_token_id": eos,
        "unk_token_id": tokenizer.unk_token_id,
    }


def _vocabulary(tokenizer: PreTrainedTokenizerBase) -> Vocabulary:
    return Vocabulary(len(tokenizer), special_token_ids(tokenizer))


def _default(config_class: type[PreTrainedConfig], name: str) -> Any:
    """Default of a field of a config class."""
    fields = dataclasses.fields(cast(Any, config_class))
    return next(item.default for item in fields if item.name == name)
