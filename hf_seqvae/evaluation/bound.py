"""The short evaluation of a training loop: one pass, one sample, exact over one process or many."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from hf_seqvae.metrics import (
    active_units,
    exact_nll,
    has_exact_likelihood,
    mean_pairwise_cosine,
    mutual_information,
    reconstruction_nll,
    relative_variance,
    row_noise,
    sample_with_noise,
    total_variance,
)
from hf_seqvae.model.modeling_seqvae import SeqVAEModel
from hf_seqvae.model.posterior import DiagonalGaussian


@contextmanager
def evaluation_mode(model: Any) -> Iterator[None]:
    """Holds a module in `eval()` and inference mode, then gives each submodule its old mode."""
    before = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        for module, training in before.items():
            module.training = training


def evaluate_bound(
    model: Any,
    batches: Iterable[Mapping[str, Tensor]],
    *,
    num_samples: int = 1,
    seed: int = 0,
    gather: Callable[[Tensor], Tensor] | None = None,
) -> dict[str, float]:
    """Sampled ELBO and use of the latents over `batches`, in one pass, in nats.

    Of a `LanguageModel` the nll is exact, the bound is its negative, and there are no latents.

    Args:
        model: a module with the estimators' protocol; its mode is restored. Batches are moved to
            the device of its first parameter.
        batches: mappings of what the model reads (for a `SeqVAEModel` input_ids and
            attention_mask), labels and, optionally, `index` (B,): the row of each sentence in the
            data set, which keys its noise. Without it rows are counted as they come. Rows whose
            labels are all -100 do not count. Only tensors reach the model.
        num_samples: posterior samples a sentence, S.
        seed: of the posterior noise.
        gather: concatenates equally shaped tensors of all processes along axis 0
            (`accelerator.gather`). Every process must call this function, with whatever share of
            the rows; `index` is then required, and a row that came twice counts once.

    Returns:
        Means per sentence "eval/elbo", "eval/reconstruction_nll", "eval/kl"; and, for two sentences
        or more and a model with latents, "eval/mutual_information" (over all N sentences, at most
        ln N), "eval/active_units" (at 0.01) and, of a `SeqVAEModel`, the dispersion of its pooled
        features by three statistics, "eval/pooled_variance" (tr Cov),
        "eval/pooled_relative_variance" and "eval/pooled_mean_cosine". The same on every process.
    """
    device = next(model.parameters()).device
    indices, tables, seen = [], [], 0
    with evaluation_mode(model):
        for batch in batches:
            batch = {
                name: value.to(device) for name, value in batch.items() if isinstance(value, Tensor)
            }
            index = batch.pop("index", None)
            if index is None:
                if gather is not None:
                    raise ValueError(
                        "batches of several processes need an `index`: the row of each sentence in "
                        "the data set, by which repeated rows are told apart."
                    )
                index = torch.arange(seen, seen + len(batch["labels"]), device=device)
            seen += len(index)
            real = (batch["labels"] != -100).any(1)  # (B,)
            index = torch.where(real, index, -1)
            indices.append(index[real])
            tables.append(_table(model, batch, index, num_samples, seed)[real])
        index = torch.cat(indices) if indices else torch.empty(0, dtype=torch.long, device=device)
        table = torch.cat(tables) if tables else torch.empty(0, 0, device=device)
        if gather is not None:
            index, table = _gather_rows(index, table, gather)
    latent_size = 0 if has_exact_likelihood(model) else model.prior().mean.shape[-1]
    return _summary(_each_row_once(index.cpu(), table.cpu()), num_samples, latent_size)


def _table(
    model: Any, batch: Mapping[str, Tensor], index: Tensor, num_samples: int, seed: int
) -> Tensor:
    """A line for each row: nll, kl, mean (Z), logvar (Z), latents (S * Z), pooled, in float32."""
    if has_exact_likelihood(model):
        nll = exact_nll(model, batch).float()
        return torch.stack([nll, torch.zeros_like(nll)], dim=1)
    posterior, pooled = _encode(model, batch)
    rows = index.clamp(min=0).tolist()
    noise = row_noise(rows, num_samples, posterior.mean.shape[1], seed=seed)
    latents = sample_with_noise(posterior, noise)  # (S, B, Z)
    columns = (
        reconstruction_nll(model, batch, latents).unsqueeze(1),
        posterior.kl().sum(1, keepdim=True),
        posterior.mean,
        posterior.logvar,
        latents.transpose(0, 1).flatten(1),
        pooled,
    )
    return torch.cat([column.float() for column in columns], dim=1)


def _encode(model: Any, batch: Mapping[str, Tensor]) -> tuple[DiagonalGaussian, Tensor]:
    """q(z|x) of a batch, and its pooled features (B, H): (B, 0) of a model that is not ours."""
    if not isinstance(model, SeqVAEModel):
        posterior = model.posterior(batch)
        return posterior, posterior.mean[:, :0]
    encoded = model.encoder(batch["input_ids"], batch.get("attention_mask"))
    return DiagonalGaussian(encoded.posterior_mean, encoded.posterior_logvar), encoded.pooled


def _gather_rows(
    index: Tensor, table: Tensor, gather: Callable[[Tensor], Tensor]
) -> tuple[Tensor, Tensor]:
    """Rows of every process; shares differ in length, so each travels padded to the longest."""
    sizes = gather(torch.tensor([table.shape], device=table.device)).reshape(-1, 2)
    longest, width = sizes.max(0).values.tolist()
    padded_index = index.new_full((longest,), -1)
    padded_table = table.new_zeros(longest, width)
    padded_index[: len(index)] = index
    padded_table[: len(table), : table.shape[1]] = table
    index, table = gather(padded_index), gather(padded_table)
    return index[index >= 0], table[index >= 0]


def _each_row_once(index: Tensor, table: Tensor) -> Tensor:
    """The table in the order of the data set, in float64, without repeated rows."""
    order = torch.argsort(index, stable=True)
    index = index[order]
    first = torch.ones_like(index, dtype=torch.bool)
    first[1:] = index[1:] != index[:-1]
    return table[order[first]].double()


def _summary(table: Tensor, num_samples: int, latent_size: int) -> dict[str, float]:
    if not len(table):
        raise ValueError("nothing to evaluate: the batches hold no sentence with a label.")
    nll, kl = table[:, 0], table[:, 1]
    figures = {
        "eval/elbo": -float((nll + kl).mean()),
        "eval/reconstruction_nll": float(nll.mean()),
        "eval/kl": float(kl.mean()),
    }
    if len(table) > 1 and latent_size:
        own, pooled = table[:, 2:].tensor_split([(2 + num_samples) * latent_size], dim=1)
        mean, logvar, *latents = own.split(latent_size, dim=1)  # (N, Z) each
        information = mutual_information(mean, logvar, torch.stack(latents))
        figures["eval/mutual_information"] = float(information)
        figures["eval/active_units"] = float(active_units(mean))
        if pooled.shape[1] and pooled.any(1).all():  # a zero feature has no direction
            figures["eval/pooled_variance"] = float(total_variance(pooled))
            figures["eval/pooled_relative_variance"] = float(relative_variance(pooled))
            figures["eval/pooled_mean_cosine"] = float(mean_pairwise_cosine(pooled))
    return figures
