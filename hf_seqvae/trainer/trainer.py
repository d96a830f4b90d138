"""SeqVAETrainer: transformers' Trainer with our Objective, length buckets and a sampled bound."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from torch import Tensor, nn
from transformers import PreTrainedModel, Trainer, TrainingArguments
from transformers.trainer_utils import EvalLoopOutput

from hf_seqvae.data import (
    BatchLoader,
    BucketBatchSampler,
    Collator,
    build_loader,
    indexed,
    row_lengths,
)
from hf_seqvae.engine.checks import check_whole_batch
from hf_seqvae.evaluation import evaluate_bound
from hf_seqvae.model.carried_code import CarriesCode
from hf_seqvae.objectives import ConstantSchedule, Objective, summarize
from hf_seqvae.trainer.checks import (
    check_arguments,
    check_callback,
    check_model,
    check_options,
    check_rows,
)
from hf_seqvae.trainer.upload import copy_own_files, correct_origin


class SeqVAETrainer(Trainer):
    """Fine-tunes a SeqVAEModel with the Trainer API; the same Objective as the engine's loop.

    It logs elbo, reconstruction_nll, kl (nats a sentence) and beta, exact under gradient
    accumulation and several processes, and `evaluate` reports `eval_elbo` at posterior samples of a
    fixed seed, a bound on log p(x), where a stock Trainer's `eval_loss` is taken at the posterior
    mean and bounds nothing. Batches are length buckets, the same for the same seed and epoch, so a
    run that was cut short resumes with the same weights.

    A stock Trainer or Seq2SeqTrainer trains the model as well, by its own loss at config.kl_weight
    or under a `KLScheduleCallback`, and shows what the latents carry by `trainer_metrics`. It
    resumes exactly under each train_sampling_strategy but "group_by_length", which does so at the
    end of an epoch alone: its order is drawn anew from the generator that the model's noise moves.
    Its label_smoothing_factor and compute_loss_func take the labels away from the model: it says
    so, but where a collator gives decoder_input_ids, and then the loss has no KL.

    What is pushed to the Hub (`push_to_hub`, any hub_strategy) holds the model's code, and so loads
    without this package; of a stock Trainer it does not, until `model.push_to_hub` adds it, and a
    `hub_token` among its arguments goes up in training_args.bin (refused here: log in). A training
    with hub_strategy="checkpoint" goes on from any machine, with the same weights:

        folder = snapshot_download(repo_id, allow_patterns="last-checkpoint/*")
        trainer.train(resume_from_checkpoint=f"{folder}/last-checkpoint")

    Args:
        model: a SeqVAEModel, or one with its outputs and the estimators' protocol.
        args: TrainingArguments; `per_device_train_batch_size` rows a process.
        objective: beta schedule and KL term; default: config.kl_weight, plain KL. Its normalization
            decides whether a loss is per token or per sentence.
        train_dataset: tokenised rows (columns input_ids, labels, length:
            `hf_seqvae.data.tokenize`).
        eval_dataset: likewise, or a dict of them.
        data_collator: default: pads with the tokenizer's (or the encoder's) pad token. One with
            `columns` is given those lists of each row in place of input_ids and labels.
        processing_class: the tokenizer, saved beside the model.
        num_eval_samples: posterior samples a sentence in `evaluate`.
        eval_seed: of those samples.
        kwargs: go to Trainer; `compute_loss_func` and label smoothing are refused, since both take
            the labels away from the model; so is a train_sampling_strategy that length buckets are
            not; aggressive updates, phases and a target rate are the engine's.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        args: TrainingArguments | None = None,
        *,
        objective: Objective | None = None,
        train_dataset: Dataset | None = None,
        eval_dataset: Dataset | dict[str, Dataset] | None = None,
        data_collator: Callable[[list[dict[str, Any]]], Any] | None = None,
        processing_class: Any = None,
        num_eval_samples: int = 1,
        eval_seed: int = 0,
        **kwargs: Any,
    ):
        check_model(model)
        if args is not None:
            check_arguments(args)
        check_options(kwargs, objective)
        if data_collator is None and processing_class is not None:
            data_collator = Collator.from_tokenizer(processing_class)
        elif data_collator is None:
            data_collator = Collator(getattr(model.config.encoder, "pad_token_id", None) or 0)
        several: Any = eval_dataset
        super().__init__(
            model=model,
            args=args,
            train_dataset=train_dataset,
            eval_dataset=several,
            data_collator=data_collator,
            processing_class=processing_class,
            **kwargs,
        )
        self.objective = objective or Objective(
            ConstantSchedule(model.config.kl_weight), normalization=model.config.loss_normalization
        )
        check_whole_batch(
            model,
            [self.objective],
            num_micro_batches=self.args.gradient_accumulation_steps,
            num_processes=self.args.world_size,
        )
        self.num_eval_samples = num_eval_samples
        self.eval_seed = eval_seed
        self.loss_is_scaled_for_ga = True  # compute_loss divides by the items of the whole step
        self._sums: dict[str, Tensor] = {}
        self._beta = 0.0

    def add_callback(self, callback: Any) -> None:
        """As Trainer's, but for those that could do nothing here."""
        check_callback(callback)
        super().add_callback(callback)

    # -- batches

    def _loader(self, dataset: Dataset, batch_size: int, *, shuffle: bool) -> BatchLoader:
        """This process's share of global batches of `batch_size` rows a process."""
        sampler = BucketBatchSampler(
            row_lengths(dataset),
            batch_size=batch_size * self.args.world_size,
            seed=self.args.data_seed if self.args.data_seed is not None else self.args.seed,
            shuffle=shuffle,
            rank=self.args.process_index,
            num_processes=self.args.world_size,
        )
        return build_loader(
            dataset,
            self.data_collator,
            sampler,
            num_workers=self.args.dataloader_num_workers,
            pin_memory=self.args.dataloader_pin_memory and torch.cuda.is_available(),
        )

    def _remove_unused_columns(self, dataset: Any, description: str | None = None) -> Any:
        return dataset  # the collator picks its columns, and lengths are needed for the buckets

    def get_train_dataloader(self) -> BatchLoader:
        """Length buckets of the training data, already divided among processes."""
        dataset: Any = self.train_dataset
        check_rows(dataset)
        loader = self._loader(dataset, self._train_batch_size, shuffle=True)
        check_whole_batch(
            self.accelerator.unwrap_model(self.model),
            [self.objective],
            num_micro_batches=self.args.gradient_accumulation_steps,
            num_processes=self.args.world_size,
            smallest_batch=loader.smallest_batch,
        )
        return loader

    def get_batch_samples(
        self, epoch_iterator: Iterator, num_batches: int, device: torch.device
    ) -> tuple[list, Tensor | None]:
        """The micro-batches of a step, and its tokens or sentences over all processes."""
        batches = [batch for _, batch in zip(range(num_batches), epoch_iterator, strict=False)]
        if not batches:
            return batches, None
        token = self.objective.normalization == "token"
        real = [batch["labels"] != -100 for batch in batches]
        count = torch.stack([(row if token else row.any(dim=1)).sum() for row in real]).sum()
        total: Any = self.accelerator.reduce(count.to(device), "sum")
        return batches, total

    # -- loss and logs

    def train(self, *args: Any, **kwargs: Any) -> Any:
        """As Trainer's; what an earlier training summed up and did not log is forgotten."""
        self._sums = {}
        return super().train(*args, **kwargs)

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | None = None,
    ) -> Any:
        """The objective's loss of a micro-batch; its terms are added up until the next log."""
        outputs = model(**inputs)
        several: Any = {}
        if self.args.world_size > 1:
            reduce = self.accelerator.reduce
            several["sum_over_processes"] = lambda value: reduce(value, reduction="sum")
        step = self.state.global_step
        loss, logs = self.objective(outputs, step, num_items_in_batch, **several)
        if model.training:
            self._beta = logs.pop("beta")
            for name, value in logs.items():
                self._sums[name] = self._sums.get(name, 0) + value
        if num_items_in_batch is not None:
            loss = loss * self.args.world_size  # processes are averaged, and items were summed
        return (loss, outputs) if return_outputs else loss

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Adds the terms since the last log, per sentence, over all processes."""
        if "loss" in logs and self._sums:
            sums: Any = self.accelerator.reduce(self._sums, "sum")
            logs |= summarize(sums, self._beta)
            self._sums = {}
        super().log(logs, start_time)

    # -- evaluation

    def evaluation_loop(
        self,
        dataloader: Any,
        description: str,
        prediction_loss_only: bool | None = None,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
    ) -> EvalLoopOutput:
        """The bound at posterior samples; the stock loop serves `compute_metrics`."""
        dataset = dataloader.dataset
        check_rows(dataset)
        nothing: Any = None
        output = EvalLoopOutput(nothing, nothing, {}, len(dataset))
        if self.compute_metrics is not None or description != "Evaluation":
            output = super().evaluation_loop(
                dataloader, description, prediction_loss_only, ignore_keys, metric_key_prefix
            )
        if description == "Evaluation":
            loader = self._loader(dataset, self.args.eval_batch_size, shuffle=False)
            gather: Any = self.accelerator.gather if self.args.world_size > 1 else None
            figures = evaluate_bound(
                self.accelerator.unwrap_model(self.model),
                indexed(loader),
                num_samples=self.num_eval_samples,
                seed=self.eval_seed,
                gather=gather,
            )
            own = {name.removeprefix("eval/"): value for name, value in figures.items()}
            own["loss"] = -own["elbo"]  # nats a sentence, at beta 1
            own = {f"{metric_key_prefix}_{name}": value for name, value in own.items()}
            output = output._replace(metrics=(output.metrics or {}) | own)
        return output

    # -- the Hub

    def _save(self, output_dir: str | None = None, state_dict: dict | None = None) -> None:
        """As Trainer's; with the model's code where this training goes to the Hub."""
        super()._save(output_dir, state_dict)
        if self.hub_model_id is not None and self.args.should_save:
            model = self.accelerator.unwrap_model(self.model, keep_torch_compile=False)
            if isinstance(model, CarriesCode):
                model.carry_code(output_dir or str(self.args.output_dir))

    def _push_from_checkpoint(self, checkpoint_folder: str) -> None:
        """As Trainer's, which uploads weights and config and forgets what else a model needs."""
        if self.is_world_process_zero():
            copy_own_files(Path(checkpoint_folder), Path(str(self.args.output_dir)))
        super()._push_from_checkpoint(checkpoint_folder)

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """transformers' draft of a card, with a true word on where the weights came from."""
        super().create_model_card(*args, **kwargs)
        if self.is_world_process_zero():
            model: Any = self.accelerator.unwrap_model(self.model)
            card = Path(str(self.args.output_dir)) / "README.md"
            text = correct_origin(card.read_text(encoding="utf-8"), model.config)
            card.write_text(text, encoding="utf-8")
