"""The two passes of an evaluation: every sentence is encoded once, then decoded from samples."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from datasets import Dataset
from rich.progress import track
from torch import Tensor

from hf_seqvae.evaluation.processes import Processes
from hf_seqvae.evaluation.store import Store, Table, each_row_once, joined
from hf_seqvae.metrics import (
    ImportanceSums,
    LanguageModel,
    RowNoise,
    SequenceModel,
    exact_nll,
    feature_sums,
    importance_log_weights,
    sample_with_noise,
    savings,
    winner_counts,
    winning_steps,
)
from hf_seqvae.model.modeling_seqvae import SeqVAEModel
from hf_seqvae.model.posterior import DiagonalGaussian

Collate = Callable[[list[dict[str, Any]]], Mapping[str, Tensor]]
ENCODED, DECODED = "encoded", "decoded"


@dataclass(frozen=True)
class Sentences:
    """The rows of a tokenised data set, and how they come: in batches of similar length.

    Attributes:
        dataset: input_ids and labels.
        lengths: labels of each row, (N,).
        longest_input: tokens of the longest row that the encoder reads.
        collator: rows -> padded tensors.
        batch_size: sentences at once.
        device: where the batches go.
        progress: show a bar.
    """

    dataset: Dataset
    lengths: Tensor
    longest_input: int
    collator: Collate
    batch_size: int
    device: torch.device
    progress: bool

    def batches(
        self, stage: str, store: Store, processes: Processes, *, most: int | None = None
    ) -> Iterator[tuple[Tensor, dict[str, Tensor]]]:
        """This process's share of what the store does not hold yet: (rows, batch).

        A batch has `batch_size` rows, or `most` if that is less.
        """
        size = self.batch_size if most is None else min(self.batch_size, most)
        store.load(stage)
        done = torch.cat(processes.gather(store.rows(stage)))
        left = torch.ones(len(self.lengths), dtype=torch.bool)
        left[done] = False
        rows = left.nonzero().squeeze(1)
        rows = rows[torch.argsort(self.lengths[rows], stable=True)]
        mine = rows.split(size)[processes.rank :: processes.count]
        mine = [part for part in mine if len(part)]
        shown = self.progress and processes.is_first
        for part in track(mine, description=stage.removesuffix("ed") + "ing", disable=not shown):
            columns = self.dataset[part.tolist()]
            features = [
                {"input_ids": ids, "labels": labels}
                for ids, labels in zip(columns["input_ids"], columns["labels"], strict=True)
            ]
            batch = {name: value.to(self.device) for name, value in self.collator(features).items()}
            yield part, batch


def gathered(store: Store, stage: str, processes: Processes, count: int) -> Table:
    """The whole table of a stage, of all processes and sittings, sorted by row."""
    store.flush(stage)
    table = store.take(stage)
    if processes.count > 1:
        tables = [dict(found) for found in processes.gather(table) if len(found["row"])]
        table = joined(tables)
    table = each_row_once(table)
    if len(table["row"]) != count:
        raise RuntimeError(f"{stage}: {len(table['row'])} of {count} sentences were measured.")
    return table


def encode(model: Any, sentences: Sentences, store: Store, processes: Processes) -> Table:
    """Posterior, pooled features and sums over encoder states of every sentence.

    Returns:
        posterior_mean, posterior_logvar (N, Z), pooled (N, H), features_count, features_squares
        (N,), features_total, features_directions (N, H); and, of max pooling, winners (N, P): how
        many coordinates each token gives.
    """
    for rows, batch in sentences.batches(ENCODED, store, processes):
        mask = batch["attention_mask"]
        output = model.encoder(input_ids=batch["input_ids"], attention_mask=mask)
        sums = feature_sums(output.last_hidden_state, mask)
        table = {
            "row": rows,
            "posterior_mean": output.posterior_mean.float(),
            "posterior_logvar": output.posterior_logvar.float(),
            "pooled": output.pooled.float(),
            **{f"features_{name}": value for name, value in sums._asdict().items()},
        }
        steps = _winners(model, batch, output.last_hidden_state)
        if steps is not None:
            table["winners"] = winner_counts(steps, sentences.longest_input)
        store.add(ENCODED, table)
    return gathered(store, ENCODED, processes, len(sentences.lengths))


def _winners(model: Any, batch: Mapping[str, Tensor], hidden: Tensor) -> Tensor | None:
    """Which token gives each coordinate, (B, H); None where nothing is won."""
    if not isinstance(model, SeqVAEModel) or "max" not in model.config.pooling:
        return None
    mask = model.encoder.pooling_mask(batch["input_ids"], batch["attention_mask"])
    return winning_steps(hidden, mask, by_magnitude=model.config.pooling == "abs_max")


def decode(
    model: Any,
    sentences: Sentences,
    store: Store,
    processes: Processes,
    *,
    posterior: DiagonalGaussian,
    partners: Tensor | None,
    num_samples: int,
    iw_samples: int | None,
    decode_size: int,
    seed: int,
) -> Table:
    """What each sentence costs at latents of its own, of another sentence's, at 0, and weighted.

    Args:
        posterior: of all N sentences.
        partners: whose latents each sentence is exchanged with, (N,).
        num_samples: S, posterior samples of the bound.
        iw_samples: K of the importance-weighted estimate, the S among them; None for none.
        decode_size: sequences decoded at once, so many samples of each sentence of a batch.
        seed: of the noise.

    Returns:
        nll, zero_nll (N,); exchanged_nll (N,) with partners, and saved_tokens, saved_words (N, L),
        saved_length (N,) of a `SequenceModel`; iw_nll, effective_sample_size (N,) with K.
    """
    longest, latent_size = int(sentences.lengths.max()), posterior.mean.shape[1]
    for rows, batch in sentences.batches(DECODED, store, processes, most=decode_size):
        device = sentences.device
        own = _rows_of(posterior, rows, device)
        noise = RowNoise(rows.tolist(), latent_size, seed=seed)
        foreign = foreign_noise = None
        if partners is not None:
            foreign = _rows_of(posterior, partners[rows], device)
            foreign_noise = RowNoise(partners[rows].tolist(), latent_size, seed=seed)
        chunk = max(1, decode_size // len(rows))
        sums, table = ImportanceSums(), _Means(len(rows), longest)
        for size in _chunks(num_samples, chunk):
            latents = sample_with_noise(own, noise.draw(size))  # (S, B, Z)
            at_own = _by_position(model, batch, latents)
            table.add("nll", -_whole(at_own), size / num_samples)
            if iw_samples is not None:
                sums.add(importance_log_weights(model, own, latents, _whole(at_own)))
            if foreign is not None and foreign_noise is not None:
                latents = sample_with_noise(foreign, foreign_noise.draw(size))
                at_foreign = _by_position(model, batch, latents)
                table.add("exchanged_nll", -_whole(at_foreign), size / num_samples)
                if isinstance(at_own, tuple) and isinstance(at_foreign, tuple):
                    saved = savings(at_own, at_foreign, batch["labels"])
                    table.add_savings(saved, size / num_samples)
        zeros = torch.zeros(1, len(rows), latent_size, device=device)
        table.add("zero_nll", -model.log_likelihood(batch, zeros), 1.0)
        if iw_samples is not None:
            for size in _chunks(iw_samples - num_samples, chunk):
                latents = sample_with_noise(own, noise.draw(size))
                likelihood = model.log_likelihood(batch, latents)
                sums.add(importance_log_weights(model, own, latents, likelihood))
            estimate = sums.estimate()
            table.columns["iw_nll"] = estimate.nll.cpu()
            table.columns["effective_sample_size"] = estimate.effective_sample_size.cpu()
        store.add(DECODED, {"row": rows, **table.columns})
    return gathered(store, DECODED, processes, len(sentences.lengths))


def score(model: LanguageModel, sentences: Sentences, store: Store, processes: Processes) -> Table:
    """The exact nll (N,) of every sentence under a model without latents."""
    for rows, batch in sentences.batches(DECODED, store, processes):
        store.add(DECODED, {"row": rows, "nll": exact_nll(model, batch).double()})
    return gathered(store, DECODED, processes, len(sentences.lengths))


class _Means:
    """Columns of a batch, added up sample chunk by sample chunk."""

    def __init__(self, num_rows: int, longest: int):
        self.num_rows = num_rows
        self.longest = longest
        self.columns: dict[str, Tensor] = {}

    def add(self, name: str, values: Tensor, share: float) -> None:
        """Adds the mean over samples (S, B), weighted."""
        mean = values.cpu().double().mean(0) * share
        self.columns[name] = self.columns.get(name, 0) + mean

    def add_savings(self, saved: Any, share: float) -> None:
        """Adds savings, padded to the longest sentence of the data set."""
        for name in ("tokens", "words"):
            values = getattr(saved, name).cpu().float() * share  # (B, L)
            wide = values.new_zeros(self.num_rows, self.longest)
            wide[:, : values.shape[1]] = values
            self.columns[f"saved_{name}"] = self.columns.get(f"saved_{name}", 0) + wide
        length = saved.length.cpu() * share
        self.columns["saved_length"] = self.columns.get("saved_length", 0) + length


def _by_position(
    model: Any, batch: Mapping[str, Tensor], latents: Tensor
) -> tuple[Tensor, Tensor] | Tensor:
    """By position (S, B, L) where the model tells it, else log p(x|z) as a whole (S, B)."""
    if isinstance(model, SequenceModel):
        return model.position_log_likelihood(batch, latents)
    return model.log_likelihood(batch, latents)


def _whole(log_likelihood: tuple[Tensor, Tensor] | Tensor) -> Tensor:
    """log p(x|z), (S, B)."""
    return log_likelihood[0].sum(-1) if isinstance(log_likelihood, tuple) else log_likelihood


def _rows_of(posterior: DiagonalGaussian, rows: Tensor, device: torch.device) -> DiagonalGaussian:
    return DiagonalGaussian(posterior.mean[rows].to(device), posterior.logvar[rows].to(device))


def _chunks(total: int, size: int) -> list[int]:
    """`total` in parts of `size`, the last one smaller where it does not divide."""
    whole, rest = divmod(max(0, total), size)
    return [size] * whole + ([rest] if rest else [])
