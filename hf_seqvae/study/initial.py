"""Dispersion of the pooled features before the first step of training."""

from typing import Any

import torch
from datasets import Dataset
from transformers import PreTrainedTokenizerBase

from hf_seqvae import recipe as recipes
from hf_seqvae.data import Collator, tokenize
from hf_seqvae.evaluation.bound import evaluation_mode
from hf_seqvae.metrics import mean_pairwise_cosine, relative_variance, total_variance
from hf_seqvae.recipe import Recipe

_BATCH_SIZE = 64
STATISTICS = {
    "pooled_variance": total_variance,
    "pooled_relative_variance": relative_variance,
    "pooled_mean_cosine": mean_pairwise_cosine,
}


def initial_dispersion(
    recipe: Recipe, tokenizer: PreTrainedTokenizerBase, texts: Dataset
) -> dict[str, float | None]:
    """The three statistics of the pooled features that a recipe's model gives before training.

    The model is built again: its weights follow from the recipe alone. Encoded as in evaluation,
    without dropout.

    Args:
        recipe: with the seed of the weights.
        tokenizer: that of the trained model.
        texts: a column "text".

    Returns:
        pooled_variance, pooled_relative_variance, pooled_mean_cosine; None where a feature is zero
        or there is one text alone.
    """
    model: Any = recipes.build_model(recipe, tokenizer)
    rows = tokenize(texts, tokenizer, max_length=recipe.data.max_length, truncate=True)
    columns = rows.select_columns(["input_ids", "labels"])
    collator = Collator.from_tokenizer(tokenizer)
    pooled = []
    with evaluation_mode(model):
        for start in range(0, len(columns), _BATCH_SIZE):
            part = columns.select(range(start, min(start + _BATCH_SIZE, len(columns))))
            batch = collator(list(part))  # pyright: ignore[reportArgumentType]
            pooled.append(model.encoder(batch["input_ids"], batch["attention_mask"]).pooled)
    features = torch.cat(pooled)
    if len(features) < 2 or (features == 0).all(1).any():
        return dict.fromkeys(STATISTICS)
    return {name: float(measure(features)) for name, measure in STATISTICS.items()}
