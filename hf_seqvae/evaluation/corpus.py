"""The full evaluation: a data set is encoded once, decoded from samples, and all is measured."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from rich.progress import track
from torch import Tensor

from hf_seqvae.data.collate import Collator
from hf_seqvae.evaluation.bound import evaluation_mode
from hf_seqvae.evaluation.figures import all_figures
from hf_seqvae.evaluation.report import Report
from hf_seqvae.metrics import (
    exchange_partners,
    pointwise_mutual_information,
    reconstruction_nll,
    row_noise,
    sample_with_noise,
    swap_gap,
)
from hf_seqvae.model.posterior import DiagonalGaussian

Collate = Callable[[list[dict[str, Any]]], Mapping[str, Tensor]]


def evaluate(
    model: Any,
    dataset: Dataset,
    *,
    collator: Collate | None = None,
    num_samples: int = 1,
    seed: int = 0,
    batch_size: int = 64,
    device: str | torch.device | None = None,
    progress: bool = False,
    floor: Sequence[float] | np.ndarray | Tensor | None = None,
) -> Report:
    """Measures the likelihood bound and the use of the latents on a tokenised data set.

    The posterior noise is keyed by (seed, row): no figure depends on batch size or order. Latents
    are always sampled, since at the posterior mean the ELBO is no bound. The model runs in `eval()`
    and is given back in the mode, and on the device, it came in.

    Args:
        model: a `SeqVAEModel`, or a module with the estimators' protocol and an
            `encoder(input_ids=, attention_mask=)` that returns pooled, posterior_mean and
            posterior_logvar.
        dataset: columns input_ids, labels (EOS last), length; num_words for the word perplexity.
        collator: list of {"input_ids", "labels"} -> tensors input_ids, attention_mask, labels;
            default: padding on the right.
        num_samples: posterior samples a sentence, S.
        seed: of the posterior noise and of the exchange of latents.
        batch_size: sentences encoded or decoded at once.
        device: where to run; None for where the model is.
        progress: show progress bars.
        floor: exact -log p(x) of each row in nats (N,), where the source of the text is known: the
            bound is then compared with it sentence by sentence.
    """
    started = time.perf_counter()
    lengths, words, exact_nll = _checked_columns(dataset, floor)
    # masks tell what is padding, so any id pads
    collator = Collator(pad_token_id=0) if collator is None else collator
    count = len(dataset)
    here = next(model.parameters()).device
    there = here if device is None else torch.device(device)
    if there != here:
        model.to(there)
    try:
        with evaluation_mode(model):
            batches = _Batches(dataset, lengths, collator, batch_size, there, progress)
            pooled, mean, logvar = _encode(model, batches)
            posterior = DiagonalGaussian(mean, logvar)
            noise = row_noise(range(count), num_samples, mean.shape[1], seed=seed)
            latents = sample_with_noise(posterior, noise)  # (S, N, Z)
            partners = exchange_partners(count, seed=seed) if count > 1 else None
            nll, gap = _decode(model, batches, latents, partners)
            per_sentence = {
                "reconstruction_nll": nll,
                "kl": posterior.kl().double().sum(1),
                "posterior_mean": mean,
                "posterior_logvar": logvar,
            }
            per_sentence["negative_elbo"] = nll + per_sentence["kl"]
            if gap is not None:
                per_sentence["swap_gap"] = gap
                per_sentence["mutual_information"] = pointwise_mutual_information(
                    mean, logvar, latents
                )
            if exact_nll is not None:
                per_sentence["exact_nll"] = exact_nll
            for name, values in per_sentence.items():
                _check_finite(name, values)
            figures = all_figures(per_sentence, pooled, lengths, words, num_samples)
    finally:
        if there != here:
            model.to(here)
    return Report(
        figures=figures,
        num_sentences=count,
        num_tokens=int(lengths.sum()),
        num_words=None if words is None else int(words.sum()),
        settings={"seed": seed, "num_samples": num_samples},
        wall_seconds=time.perf_counter() - started,
        per_sentence={name: values.numpy().copy() for name, values in per_sentence.items()},
    )


class _Batches:
    """Sentences in batches of similar length; iterating gives (rows, batch on the device)."""

    def __init__(
        self,
        dataset: Dataset,
        lengths: Tensor,
        collator: Collate,
        batch_size: int,
        device: torch.device,
        progress: bool,
    ):
        if batch_size < 1:
            raise ValueError(f"batch_size must be 1 or more, got {batch_size}.")
        self.rows = torch.argsort(lengths, stable=True).split(batch_size)
        self.dataset = dataset.select_columns(["input_ids", "labels"])
        self.collator = collator
        self.device = device
        self.progress = progress

    def __call__(self, description: str) -> Iterable[tuple[Tensor, dict[str, Tensor]]]:
        for rows in track(self.rows, description=description, disable=not self.progress):
            columns = self.dataset[rows.tolist()]
            features = [
                {"input_ids": ids, "labels": labels}
                for ids, labels in zip(columns["input_ids"], columns["labels"], strict=True)
            ]
            batch = {name: value.to(self.device) for name, value in self.collator(features).items()}
            yield rows, batch

    def in_order(self, chunks: list[Tensor]) -> Tensor:
        """Chunks of rows as they were visited -> one tensor in the order of the data set."""
        values = torch.cat(chunks)
        restored = torch.empty_like(values)
        restored[torch.cat(self.rows)] = values
        return restored


def _encode(model: Any, batches: _Batches) -> tuple[Tensor, Tensor, Tensor]:
    """Pooled features (N, H), posterior means and log variances (N, Z)."""
    pooled, means, logvars = [], [], []
    for _, batch in batches("encoding"):
        output = model.encoder(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"])
        pooled.append(output.pooled.float().cpu())
        means.append(output.posterior_mean.float().cpu())
        logvars.append(output.posterior_logvar.float().cpu())
    return batches.in_order(pooled), batches.in_order(means), batches.in_order(logvars)


def _decode(
    model: Any, batches: _Batches, latents: Tensor, partners: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    """Each sentence's nll at its own latents, and what it loses at its partner's: (N,) each."""
    nlls, gaps = [], []
    for rows, batch in batches("decoding"):
        nll = torch.zeros(len(rows), dtype=torch.float64)
        gap = torch.zeros_like(nll)
        for sample in latents:  # one sample at a time: memory does not grow with S
            own = sample[rows].unsqueeze(0).to(batches.device)
            own_nll = reconstruction_nll(model, batch, own)
            nll += own_nll.cpu().double()
            if partners is not None:
                exchanged = sample[partners[rows]].unsqueeze(0).to(batches.device)
                gap += swap_gap(model, batch, exchanged=exchanged, own_nll=own_nll).cpu().double()
        nlls.append(nll / len(latents))
        gaps.append(gap / len(latents))
    return batches.in_order(nlls), None if partners is None else batches.in_order(gaps)


def _checked_columns(dataset: Dataset, floor: Any) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Lengths, words and exact nll of each row, (N,); the latter two where they are known."""
    missing = sorted({"input_ids", "labels", "length"} - set(dataset.column_names))
    if missing:
        raise ValueError(
            f"the data set has no column {missing}, only {dataset.column_names}: tokenise it first."
        )
    if len(dataset) == 0:
        raise ValueError("the data set is empty: there is nothing to evaluate.")
    lengths = torch.tensor(dataset["length"][:])
    if (lengths < 1).any():
        row = int((lengths < 1).nonzero()[0])
        raise ValueError(f"row {row} has no label: labels are the text's tokens and one EOS.")
    words = torch.tensor(dataset["num_words"][:]) if "num_words" in dataset.column_names else None
    if floor is None:
        return lengths, words, None
    exact_nll = torch.as_tensor(floor, dtype=torch.float64).cpu()
    if exact_nll.shape != (len(dataset),):
        raise ValueError(
            f"floor must hold -log p(x) of each of the {len(dataset)} rows, "
            f"got shape {tuple(exact_nll.shape)}."
        )
    if not (exact_nll >= 0).all():
        row = int((~(exact_nll >= 0)).nonzero()[0])
        raise ValueError(
            f"floor must be -log p(x), which is 0 or more for text; row {row} has "
            f"{float(exact_nll[row])}. If these are log probabilities, negate them."
        )
    return lengths, words, exact_nll


def _check_finite(name: str, values: Tensor) -> None:
    if not torch.isfinite(values).all():
        row = int((~torch.isfinite(values)).nonzero()[0, 0])
        raise ValueError(
            f"{name} is not finite at row {row}: the weights have diverged, or the sentence has "
            "probability 0. Evaluate an earlier checkpoint."
        )
