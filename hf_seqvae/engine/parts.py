"""From a recipe to what the loop needs: text as token ids, loader, evaluator, counts."""

import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from accelerate import Accelerator
from datasets import Dataset, IterableDataset
from torch import nn
from torch.distributed.fsdp import FullyShardedDataParallel
from transformers import PreTrainedTokenizerBase

from hf_seqvae import everyday
from hf_seqvae import recipe as recipes
from hf_seqvae.data import (
    BatchLoader,
    BucketBatchSampler,
    Collator,
    StreamingBatches,
    TextEncoder,
    build_loader,
    build_stream_loader,
    build_tokenizer,
    indexed,
    load_splits,
    row_lengths,
    tokenize,
    tokenizer_from_words,
)
from hf_seqvae.engine.aggressive import InnerLoop
from hf_seqvae.engine.decay import PlateauHalving
from hf_seqvae.engine.phases import Phase
from hf_seqvae.engine.settings import Settings
from hf_seqvae.evaluation import ChangedTextError, evaluate_bound, exact_nlls
from hf_seqvae.evaluation.fingerprint import text_fingerprint
from hf_seqvae.recipe import Recipe
from hf_seqvae.recipe.text import EVERYDAY
from hf_seqvae.recipe.training import PLATEAU_HALVING

logger = logging.getLogger(__name__)

_ROWS_AT_ONCE = 10_000


@dataclass(frozen=True)
class Text:
    """The text of a run as token ids.

    Attributes:
        tokenizer: of encoder and decoder.
        train: tokenised, or a stream of texts.
        held_out: "validation" and "test", tokenised, where there are such.
        floors: exact -log p(x) of their rows, nats, where the source of the text knows it.
        entropy: of that source, nats a sentence; None where unknown.
    """

    tokenizer: PreTrainedTokenizerBase
    train: Dataset | IterableDataset
    held_out: dict[str, Dataset]
    floors: dict[str, np.ndarray]
    entropy: float | None

    def fingerprint(self) -> dict[str, str]:
        """Digests of what the model reads, and of what its ids mean; a stream is not read."""
        vocabulary = self.tokenizer.get_vocab()
        words = sorted(vocabulary, key=vocabulary.__getitem__)
        found = {"vocabulary": text_fingerprint(words)}
        splits: dict[str, Any] = {"train": self.train, **self.held_out}
        for name, rows in splits.items():
            if isinstance(rows, Dataset):
                found[f"{name} text"] = _digest(rows)
        return found


def _digest(rows: Dataset) -> str:
    """SHA-256 of the token ids of all rows, in their order."""
    digest = hashlib.sha256()
    tables: Any = rows.with_format("arrow").iter(_ROWS_AT_ONCE)
    for table in tables:
        for name in ("input_ids", "labels"):
            ids = table[name].combine_chunks()
            for part in (ids.value_lengths(), ids.flatten()):
                digest.update(part.to_numpy().tobytes())
    return digest.hexdigest()


def prepare_text(recipe: Recipe) -> Text:
    """Load, train the tokenizer, tokenise; too long texts are cut, counted and said."""
    data, splits = recipe.data, load_texts(recipe)
    train: Any = splits["train"]
    tokenizer = _build_tokenizer(recipe, train)
    held_out, floors = {}, {}
    for name in ("validation", "test"):
        if name in splits:
            texts: Any = splits[name]
            held_out[name] = tokenize(texts, tokenizer, max_length=data.max_length, truncate=True)
            if data.dataset == EVERYDAY:
                try:
                    labels = held_out[name]["labels"][:]
                    floors[name] = exact_nlls(texts["text"][:], labels, tokenizer)
                except ChangedTextError as error:
                    logger.warning("%s: %s", name, error)
    if not data.streaming:
        train = tokenize(train, tokenizer, max_length=data.max_length, truncate=True)
    entropy = everyday.entropy() if floors else None
    return Text(tokenizer, train, held_out, floors, entropy)


def load_texts(recipe: Recipe) -> dict[str, Dataset | IterableDataset]:
    """The texts of a recipe by split: "train", and "validation" and "test" where there are such."""
    data = recipe.data
    return load_splits(
        dataset=data.dataset,
        dataset_config=data.dataset_config,
        train_file=data.train_file,
        validation_file=data.validation_file,
        test_file=data.test_file,
        text_column=data.text_column,
        train_split=data.train_split,
        validation_split=data.validation_split,
        test_split=data.test_split,
        num_train=data.num_train,
        num_validation=data.num_validation,
        num_test=data.num_test,
        streaming=data.streaming,
        lowercase=data.lowercase,
        seed=data.seed,
    )


def _build_tokenizer(recipe: Recipe, train: Any) -> PreTrainedTokenizerBase:
    """The recipe's tokenizer, trained on the rows of the train split where it is one of ours."""
    data, options = recipe.data, recipe.tokenizer
    whole = options.vocab_size is None and options.min_frequency == 1
    if data.dataset == EVERYDAY and options.kind == "word" and whole:
        # the grammar's own words: a draw may lack one, which would be unknown in another split
        return tokenizer_from_words(everyday.vocabulary(), max_length=data.max_length)
    return build_tokenizer(
        (row["text"] for row in train),
        kind=options.kind,
        name=options.name,
        vocab_size=options.vocab_size,
        min_frequency=options.min_frequency,
        split_punctuation=options.split == "punctuation",
        lowercase=data.lowercase and options.kind != "pretrained",
        max_length=None if options.kind == "pretrained" else data.max_length,
    )


def build_train_loader(recipe: Recipe, text: Text, accelerator: Accelerator) -> BatchLoader:
    """This process's share of the batches to train on."""
    data = recipe.data
    collator = Collator.from_tokenizer(text.tokenizer)
    pin_memory = accelerator.device.type == "cuda"
    place: dict[str, Any] = {
        "batch_size": data.batch_size,
        "tokens_per_batch": data.tokens_per_batch,
        "seed": recipe.seed,
        "rank": accelerator.process_index,
        "num_processes": accelerator.num_processes,
    }
    if isinstance(text.train, IterableDataset):
        encoder = TextEncoder(text.tokenizer, max_length=data.max_length)
        stream = StreamingBatches(text.train, encoder, collator, **place)
        return build_stream_loader(stream, pin_memory=pin_memory)
    return build_loader(
        text.train,
        collator,
        BucketBatchSampler(row_lengths(text.train), **place),
        num_workers=recipe.training.num_workers,
        pin_memory=pin_memory,
    )


def build_evaluator(
    recipe: Recipe, text: Text, accelerator: Accelerator
) -> Callable[[nn.Module], dict[str, float]] | None:
    """model -> figures on the validation split, over all processes; None without such a split."""
    if "validation" not in text.held_out:
        return None
    rows = text.held_out["validation"]
    sampler = BucketBatchSampler(
        row_lengths(rows),
        batch_size=recipe.training.eval_batch_size * accelerator.num_processes,
        shuffle=False,
        rank=accelerator.process_index,
        num_processes=accelerator.num_processes,
    )
    loader = build_loader(rows, Collator.from_tokenizer(text.tokenizer), sampler)
    gather: Any = accelerator.gather if accelerator.num_processes > 1 else None

    def evaluate_validation(model: nn.Module) -> dict[str, float]:
        return evaluate_bound(
            model,
            indexed(loader),  # the row keys the posterior noise, whichever process it comes to
            num_samples=recipe.training.num_eval_samples,
            seed=recipe.seed,
            gather=gather,
        )

    return evaluate_validation


def build_decay(recipe: Recipe) -> PlateauHalving | None:
    """The literature's learning-rate rule, where the recipe chooses it."""
    training = recipe.training
    if training.scheduler != PLATEAU_HALVING:
        return None
    return PlateauHalving(
        patience=training.patience,
        max_decays=training.max_decays,
        decay_start_epoch=training.decay_start_epoch,
        factor=training.decay_factor,
    )


def build_phases(
    recipe: Recipe, tokenizer: PreTrainedTokenizerBase, steps_per_epoch: int | None
) -> list[Phase]:
    """The phases of a recipe; one, with its own objective, where it names none."""
    named = recipes.build_phases(recipe.phases, recipe.training.epochs)
    if not named:
        return [Phase(recipes.build_objective(recipe, steps_per_epoch), recipe.training.epochs)]

    def resetting(parts: tuple[str, ...]) -> Callable[[nn.Module], None]:
        return lambda model: reset_parts(model, recipes.build_model(recipe, tokenizer), parts)

    return [
        Phase(
            recipes.build_objective(recipe, steps_per_epoch, phase),
            int(phase.epochs or 0),
            name=phase.name,
            prepare=resetting(phase.reset) if phase.reset else None,
            by_reconstruction=phase.name == "autoencoder",
            aggressive=phase.name != "autoencoder",
        )
        for phase in named
    ]


def reset_parts(model: Any, new: Any, parts: tuple[str, ...]) -> None:
    """The weights of a `new` model into the encoder, or the decoder and what it reads of z."""
    if isinstance(model, FullyShardedDataParallel):
        raise ValueError("phases that reset a part need whole weights: train without FSDP.")
    for part in parts:
        names = ("encoder",) if part == "encoder" else ("decoder", "injection")
        for name in names:
            getattr(model, name).load_state_dict(getattr(new, name).state_dict())


def build_inner_loop(recipe: Recipe) -> InnerLoop | None:
    """Aggressive updates of the encoder, where the recipe chooses them."""
    training = recipe.training
    if training.encoder_updates == "joint":
        return None
    given = {"max_updates": training.max_inner_updates, "window": training.inner_window}
    return InnerLoop(**{name: value for name, value in given.items() if value is not None})


def build_settings(recipe: Recipe) -> Settings:
    """The counts of a recipe."""
    training = recipe.training
    return Settings(
        epochs=training.epochs,
        max_steps=training.max_steps,
        gradient_accumulation_steps=training.gradient_accumulation_steps,
        max_grad_norm=training.max_grad_norm,
        logging_steps=training.logging_steps,
        save_steps=training.save_steps,
        keep_checkpoints=training.keep_checkpoints,
        seed=recipe.seed,
    )
