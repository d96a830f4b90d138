"""The engine's beta schedules for those who keep their own Trainer."""

from typing import Any

import torch
from torch import Tensor, nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from hf_seqvae.callbacks.watch import Schedule
from hf_seqvae.model.configuration_seqvae import SeqVAEConfig
from hf_seqvae.objectives import TargetRate


class KLScheduleCallback(TrainerCallback):
    """Weighs the KL of a `SeqVAEModel` by a schedule while a stock Trainer trains it.

        Trainer(model, args, ..., callbacks=[KLScheduleCallback(LinearSchedule(0.0, 1.0, 1000))])

    From the start of a training to its end, the model in training mode is called with `kl_weight`,
    a tensor that holds beta of the updates made so far: the same for all micro-batches of a step,
    after a resume that of the step, and to a compiled graph an input like any other. Evaluation
    weighs by `config.kl_weight`, and so does the config of every checkpoint: nothing is written
    there. The other terms of an `Objective` (free bits, capacity, MMD) need `SeqVAETrainer`, which
    takes its own schedule and does not go with this callback.

    Args:
        beta: a schedule of `hf_seqvae.objectives`, or any function of the updates made.
    """

    def __init__(self, beta: Schedule) -> None:
        if isinstance(beta, TargetRate):
            raise ValueError(
                "a target rate answers to the KL of each batch and has a state that must be saved "
                "with the weights: a callback sees neither. Use a recipe: hf-seqvae train."
            )
        if not callable(beta):
            raise ValueError(
                f"beta must be a schedule, a function of the step, got {beta!r}. For a number set "
                "config.kl_weight."
            )
        self.beta = beta
        self._weight: Tensor | None = None
        self._hook: Any = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Begin to hand the model its beta."""
        model: nn.Module = kwargs["model"]
        kind = getattr(getattr(model, "config", None), "model_type", None)
        if kind != SeqVAEConfig.model_type:
            raise ValueError(
                f"KLScheduleCallback weighs the KL of a {SeqVAEConfig.model_type!r} model, got "
                f"{kind!r}, which has none that it knows."
            )
        if args.label_smoothing_factor:
            raise ValueError(
                f"label_smoothing_factor={args.label_smoothing_factor} takes the labels away from "
                "the model, and then its loss, with the KL, is not the one trained. Set it to 0."
            )
        if args.n_gpu > 1:
            raise ValueError(
                f"this process sees {args.n_gpu} GPUs and would split each batch between them, and "
                "beta lies on one. Start it with `accelerate launch`, one each."
            )
        self._release()
        weight = torch.zeros((), device=next(model.parameters()).device)

        def hand_over(module: nn.Module, inputs: tuple, options: dict[str, Any]) -> Any:
            return (inputs, options | {"kl_weight": weight}) if module.training else None

        self._weight = weight
        self._hook = model.register_forward_pre_hook(hand_over, with_kwargs=True)

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Take beta of the updates made so far."""
        if self._weight is not None:
            self._weight.fill_(self.beta(state.global_step))

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Leave the model as it was."""
        self._release()

    def _release(self) -> None:
        if self._hook is not None:
            self._hook.remove()
        self._hook = self._weight = None
