"""From a recipe to the objects of a run: config, model, objective, optimizer, learning rate."""

import copy
import dataclasses
import difflib
import inspect
import logging
from typing import Any, cast

import torch
from huggingface_hub.errors import StrictDataclassError
from torch import nn
from torch.optim.lr_scheduler import LRScheduler
from transformers import PreTrainedConfig, PreTrainedTokenizerBase, get_scheduler

from hf_seqvae.model.configuration_seqvae import SeqVAEConfig
from hf_seqvae.model.modeling_seqvae import SeqVAEModel
from hf_seqvae.objectives import Objective, build_schedule
from hf_seqvae.recipe.model_keys import field_names, part_config_class
from hf_seqvae.recipe.schema import Recipe
from hf_seqvae.recipe.sections import PLATEAU_HALVING, BetaRecipe

logger = logging.getLogger(__name__)


def build_objective(recipe: Recipe, steps_per_epoch: int | None = None) -> Objective:
    """The Objective of a recipe, its schedule in optimizer updates.

    Args:
        recipe: the recipe.
        steps_per_epoch: optimizer updates an epoch; needed where beta counts epochs.
    """
    parts = recipe.objective
    return Objective(
        beta=build_schedule(
            parts.beta.schedule, **_schedule_values(parts.beta, recipe, steps_per_epoch)
        ),
        kl_term=parts.kl_term,
        free_bits=parts.free_bits,
        normalization=recipe.model.get(
            "loss_normalization", _default(SeqVAEConfig, "loss_normalization")
        ),
    )


def build_config(
    recipe: Recipe,
    tokenizer: PreTrainedTokenizerBase,
    decoder_tokenizer: PreTrainedTokenizerBase | None = None,
) -> SeqVAEConfig:
    """The model's config: the recipe's keys, and vocabularies and token ids of the tokenizers.

    Args:
        recipe: the recipe.
        tokenizer: of the encoder's input.
        decoder_tokenizer: of the labels; None: the same.

    Raises:
        ValueError: what the config itself refuses.
    """
    if decoder_tokenizer is None:
        decoder_tokenizer = tokenizer
    keys = copy.deepcopy(recipe.model)
    for part, its_tokenizer in (("encoder", tokenizer), ("decoder", decoder_tokenizer)):
        section = keys.get(part) or {}
        config_class = part_config_class(part, section)
        known = field_names(config_class)
        ids = special_token_ids(its_tokenizer)
        section |= {name: value for name, value in ids.items() if name in known}
        keys[part] = section | {
            "model_type": config_class.model_type,
            "vocab_size": len(its_tokenizer),
        }
    ends = special_token_ids(tokenizer)
    keys |= special_token_ids(decoder_tokenizer)
    keys["decoder_start_token_id"] = keys["bos_token_id"]
    keys["special_token_ids"] = sorted({ends["bos_token_id"], ends["eos_token_id"]})
    keys["encoder_unk_token_id"] = ends["unk_token_id"]
    try:
        return SeqVAEConfig(**keys)
    except StrictDataclassError as error:
        raise ValueError(f"The model of the recipe: {error.__cause__ or error}") from error


def build_model(
    recipe: Recipe,
    tokenizer: PreTrainedTokenizerBase,
    decoder_tokenizer: PreTrainedTokenizerBase | None = None,
) -> SeqVAEModel:
    """A new model, its weights drawn from the recipe's seed; global generators stay untouched."""
    config = build_config(recipe, tokenizer, decoder_tokenizer)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(recipe.seed)
        return SeqVAEModel(config)


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
    if training.fused is not None:
        values["fused"] = training.fused
    for name in values:
        if name not in accepted:
            raise ValueError(
                f"{cls.__name__} takes no {name!r}, got {values[name]!r}. It takes "
                f"{', '.join(list(accepted)[1:])}."
            )
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    values["lr"] = training.learning_rate
    return cls(parameters, **values)


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
    return get_scheduler(
        training.scheduler,
        optimizer,
        num_warmup_steps=training.warmup_steps,
        num_training_steps=num_training_steps,
        scheduler_specific_kwargs=training.scheduler_args or None,
    )


def optimizer_class(name: str) -> type[torch.optim.Optimizer]:
    """The class of torch.optim called `name`, in capitals or not."""
    classes = {
        attribute.lower(): value
        for attribute, value in vars(torch.optim).items()
        if isinstance(value, type) and issubclass(value, torch.optim.Optimizer)
    }
    del classes["optimizer"], classes["lbfgs"]  # the base class, and one that needs a closure
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


def _schedule_values(
    beta: BetaRecipe, recipe: Recipe, steps_per_epoch: int | None
) -> dict[str, Any]:
    """Arguments of the schedule class; what the recipe leaves out is that class's, or 0 -> 1."""
    if beta.schedule == "constant":
        return {} if beta.value is None else {"value": beta.value}

    def steps(epochs: float) -> int:
        if steps_per_epoch is None:
            raise ValueError(
                "objective.beta counts epochs, whose length is not known here: set num_steps "
                "instead."
            )
        return round(epochs * steps_per_epoch)

    if (
        beta.num_epochs is not None
        and beta.num_epochs + (beta.delay_epochs or 0.0) > recipe.training.epochs
    ):
        logger.warning(
            "beta moves for %g epochs but training ends after %d: it stops on the way. Shorten "
            "objective.beta.num_epochs.",
            beta.num_epochs + (beta.delay_epochs or 0.0),
            recipe.training.epochs,
        )
    values: dict[str, Any] = {
        "start": 0.0 if beta.start is None else beta.start,
        "end": 1.0 if beta.end is None else beta.end,
        "num_steps": beta.num_steps
        if beta.num_steps is not None
        else max(1, steps(beta.num_epochs or 0.0)),
    }
    if beta.delay_epochs:
        values["delay"] = steps(beta.delay_epochs)
    for name in ("num_cycles", "ramp_fraction"):
        if getattr(beta, name) is not None:
            values[name] = getattr(beta, name)
    return values


def _default(config_class: type[PreTrainedConfig], name: str) -> Any:
    """Default of a field of a config class."""
    fields = dataclasses.fields(cast(Any, config_class))
    return next(item.default for item in fields if item.name == name)
