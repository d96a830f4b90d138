"""The Trainer's ear: hears the figures that SeqVAETrainer logs."""

import logging
from collections.abc import Mapping
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from hf_seqvae.callbacks.watch import CollapseWatch, Schedule, observation_in
from hf_seqvae.diagnosis.remedies import known_setup
from hf_seqvae.model.configuration_seqvae import SeqVAEConfig

logger = logging.getLogger(__name__)


class CollapseCallback(TrainerCallback):
    """Warns once when the latent of a SeqVAEModel collapses in training.

    It hears the figures that SeqVAETrainer's `evaluate` logs ("eval_kl", ...); of a Trainer that
    logs none it says so, once.

    Args:
        beta: the objective's schedule. Without it the beta that was logged last counts, and the
            model's own `kl_weight` as the value it ends with.
        num_sentences: of an evaluation; without it the mutual information is not judged.
        prefix: of the figures to hear, for one of several evaluation data sets.
    """

    def __init__(
        self,
        beta: Schedule | None = None,
        *,
        num_sentences: int | None = None,
        prefix: str = "eval",
    ) -> None:
        self.beta = beta
        self.num_sentences = num_sentences
        self.prefix = f"{prefix}_"
        self.watch = CollapseWatch(num_sentences=num_sentences)
        self._logged_beta = 1.0
        self._told = False

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Go over the history again: what was warned of before is not warned of twice."""
        config = kwargs["model"].config
        options: dict[str, Any] = {"num_sentences": self.num_sentences}
        if config.model_type == SeqVAEConfig.model_type:
            options["setup"] = known_setup(config)
            self._logged_beta = float(config.kl_weight)
        if self.beta is None:
            self.watch = CollapseWatch(self._logged_beta, **options)
        else:
            num_steps = state.max_steps if state.max_steps > 0 else None
            self.watch = CollapseWatch.of_schedule(self.beta, num_steps, **options)
        for record in state.log_history:
            self._heard(record)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Judge an evaluation."""
        warning = self._heard({**(logs or {}), "step": state.global_step})
        if warning is not None and state.is_world_process_zero:
            logger.warning(warning)

    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        metrics: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Say once where the evaluations hold no figure of the latent."""
        names = set(metrics or ())
        heard = any(name.startswith(self.prefix) for name in names)
        if heard and f"{self.prefix}kl" not in names and not self._told:
            self._told = True
            logger.warning(
                "CollapseCallback finds no %skl in the evaluation and cannot watch the latent. "
                "Use SeqVAETrainer, or a compute_metrics that returns it.",
                self.prefix,
            )

    def _heard(self, record: Mapping[str, Any]) -> str | None:
        self._logged_beta = record.get("beta", self._logged_beta)
        if f"{self.prefix}kl" not in record:
            return None
        logged = self._logged_beta
        return self.watch.observe(
            observation_in(record, self.prefix, self.beta or (lambda step: logged))
        )
