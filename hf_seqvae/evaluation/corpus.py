"""The full evaluation: a data set is encoded once, decoded from samples, and all is measured."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from torch import Tensor

from hf_seqvae.data.collate import Collator
from hf_seqvae.evaluation.bound import evaluation_mode
from hf_seqvae.evaluation.checks import (
    check_counts,
    check_finite,
    check_protocol,
    checked_columns,
)
from hf_seqvae.evaluation.conventions import literature_figures
from hf_seqvae.evaluation.figures import (
    MINIBATCH,
    floor_figures,
    likelihood_figures,
    mean_figure,
    perplexity_figures,
    usage_figures,
)
from hf_seqvae.evaluation.fingerprint import (
    config_fingerprint,
    model_fingerprint,
    token_fingerprint,
    versions,
)
from hf_seqvae.evaluation.passes import Collate, Sentences, decode, encode, score
from hf_seqvae.evaluation.processes import Processes
from hf_seqvae.evaluation.report import Figure, Report
from hf_seqvae.evaluation.spread import dispersion_figures
from hf_seqvae.evaluation.store import Store, Table
from hf_seqvae.metrics import (
    exchange_partners,
    has_exact_likelihood,
    minibatch_mutual_information,
    pointwise_mutual_information,
    row_noise,
    sample_with_noise,
)
from hf_seqvae.model.posterior import DiagonalGaussian


def evaluate(
    model: Any,
    dataset: Dataset,
    *,
    collator: Collate | None = None,
    num_samples: int = 1,
    iw_samples: int | None = None,
    seed: int = 0,
    batch_size: int = 64,
    decode_size: int = 512,
    device: str | torch.device | None = None,
    progress: bool = False,
    floor: Sequence[float] | np.ndarray | Tensor | None = None,
    folder: str | Path | None = None,
    fresh: bool = False,
    processes: Processes | None = None,
) -> Report:
    """Measures the likelihood and the use of the latents on a tokenised data set.

    Every sentence is encoded once; then it is decoded from its own samples, from those of another
    sentence, and at z = 0. The posterior noise is keyed by (seed, row): no figure depends on batch
    size, chunk, order or number of processes, but for rounding. Latents are always sampled, since
    at the posterior mean the ELBO is no bound. The model runs in `eval()` and is given back in the
    mode, and on the device, it came in.

    Args:
        model: a `SeqVAEModel`, or a module with the estimators' protocol and an
            `encoder(input_ids=, attention_mask=)` that returns last_hidden_state, pooled,
            posterior_mean and posterior_logvar; or a `LanguageModel`, whose likelihood is exact.
        dataset: columns input_ids, labels (EOS last), length; num_words for the word perplexity.
        collator: list of {"input_ids", "labels"} -> tensors input_ids, attention_mask, labels;
            default: padding on the right.
        num_samples: posterior samples a sentence of the bound, S.
        iw_samples: importance samples a sentence, K >= S; None leaves iw_nll out, which costs K
            decodings of the data set.
        seed: of the posterior noise and of the exchange of latents.
        batch_size: sentences encoded at once.
        decode_size: sequences decoded at once (sentences times samples): what memory grows with, in
            place of K.
        device: where to run; None for where the model is.
        progress: show progress bars.
        floor: exact -log p(x) of each row in nats (N,), where the source of the text is known: the
            bound is then compared with it sentence by sentence.
        folder: where results go sentence by sentence, and a killed evaluation is taken up again;
            None for nowhere.
        fresh: drop what the folder holds.
        processes: those that evaluate together; each must call this function. The report is the
            same on all.
    """
    check_protocol(model)
    lengths, words, exact_nll = checked_columns(dataset, floor)
    check_counts(num_samples, iw_samples, batch_size, decode_size, seed)
    processes = processes or Processes()
    count = len(dataset)
    here = next(model.parameters()).device
    there = here if device is None else torch.device(device)
    settings = {"seed": seed, "num_samples": num_samples, "iw_samples": iw_samples}
    key = evaluation_key(model, dataset, **settings)
    store = _opened(folder, key, processes, fresh)
    sentences = Sentences(
        dataset.select_columns(["input_ids", "labels"]),
        lengths,
        max(map(len, dataset["input_ids"])),
        # masks tell what is padding, so any id pads
        Collator(pad_token_id=0) if collator is None else collator,
        batch_size,
        there,
        progress,
    )
    if there != here:
        model.to(there)
    try:
        with evaluation_mode(model):
            if has_exact_likelihood(model):
                columns = {"nll": score(model, sentences, store, processes)["nll"]}
                check_finite(columns)
                if exact_nll is not None:
                    columns["exact_nll"] = exact_nll
                figures = _exact_figures(columns, lengths, words)
            else:
                columns, figures = _measure(
                    model,
                    sentences,
                    store,
                    processes,
                    words=words,
                    exact_nll=exact_nll,
                    num_samples=num_samples,
                    iw_samples=iw_samples,
                    decode_size=decode_size,
                    seed=seed,
                )
    finally:
        if there != here:
            model.to(here)
    store.flush("decoded")
    return Report(
        figures=figures,
        num_sentences=count,
        num_tokens=int(lengths.sum()),
        num_words=None if words is None else int(words.sum()),
        settings=settings | {"batch_size": batch_size, "decode_size": decode_size},
        model={"sha256": key["model_sha256"], "num_parameters": _num_parameters(model)},
        data={"tokens_sha256": key["tokens_sha256"]},
        versions=versions(),
        device=str(there),
        wall_seconds=max(processes.gather(store.wall_seconds)),
        cpu_seconds=sum(processes.gather(store.cpu_seconds)),
        num_processes=processes.count,
        per_sentence={name: values.numpy().copy() for name, values in columns.items()},
    )


def _opened(
    folder: str | Path | None, key: dict[str, Any], processes: Processes, fresh: bool
) -> Store:
    """The store of this process: the first one prepares the folder, and its error is everyone's."""
    store, error = None, None
    if processes.is_first:
        try:
            store = Store(folder, key, count=processes.count, fresh=fresh)
        except (OSError, ValueError) as refusal:
            error = refusal
    error = processes.gather(error)[0]
    if error is not None:
        raise error
    return store or Store(folder, key, rank=processes.rank, count=processes.count)


def evaluation_key(
    model: torch.nn.Module,
    dataset: Dataset,
    *,
    num_samples: int,
    iw_samples: int | None,
    seed: int,
) -> dict[str, Any]:
    """Everything that the figures of `evaluate` depend on, as plain values."""
    return {
        "model_sha256": model_fingerprint(model),
        "config_sha256": config_fingerprint(model),
        "tokens_sha256": token_fingerprint(dataset),
        "num_sentences": len(dataset),
        "num_samples": num_samples,
        "iw_samples": iw_samples,
        "seed": seed,
        "hf_seqvae": versions()["hf_seqvae"],
    }


def _measure(
    model: Any,
    sentences: Sentences,
    store: Store,
    processes: Processes,
    *,
    words: Tensor | None,
    exact_nll: Tensor | None,
    num_samples: int,
    iw_samples: int | None,
    decode_size: int,
    seed: int,
) -> tuple[dict[str, Tensor], dict[str, Figure]]:
    """Columns by sentence and figures of a model with latents."""
    count = len(sentences.lengths)
    encoded = encode(model, sentences, store, processes)
    check_finite({name: encoded[name] for name in ("posterior_mean", "posterior_logvar")})
    posterior = DiagonalGaussian(encoded["posterior_mean"], encoded["posterior_logvar"])
    partners = exchange_partners(count, seed=seed) if count > 1 else None
    decoded = decode(
        model,
        sentences,
        store,
        processes,
        posterior=posterior,
        partners=partners,
        num_samples=num_samples,
        iw_samples=iw_samples,
        decode_size=decode_size,
        seed=seed,
    )
    columns = _columns(decoded, posterior, num_samples, seed)
    if exact_nll is not None:
        columns["exact_nll"] = exact_nll
    check_finite(columns)
    figures = likelihood_figures(columns, sentences.lengths, words, num_samples, iw_samples)
    figures |= usage_figures(columns, sentences.lengths, num_samples)
    figures |= dispersion_figures(encoded)
    figures |= literature_figures(columns, sentences.lengths, words, iw_samples, seed=seed)
    return columns, figures


def _columns(
    decoded: Table, posterior: DiagonalGaussian, num_samples: int, seed: int
) -> dict[str, Tensor]:
    """What is known of each sentence, (N, ...), out of both passes."""
    count, latent_size = posterior.mean.shape
    kl = posterior.kl().double().sum(1)
    columns = {
        "reconstruction_nll": decoded["nll"],
        "kl": kl,
        "negative_elbo": decoded["nll"] + kl,
        "zero_nll": decoded["zero_nll"],
        "zero_gap": decoded["zero_nll"] - decoded["nll"],
        "posterior_mean": posterior.mean,
        "posterior_logvar": posterior.logvar,
    }
    kept = ("iw_nll", "effective_sample_size", "saved_tokens", "saved_words", "saved_length")
    columns |= {name: decoded[name] for name in kept if name in decoded}
    if count > 1:
        noise = row_noise(range(count), num_samples, latent_size, seed=seed)
        latents = sample_with_noise(posterior, noise)  # (S, N, Z)
        arguments = (posterior.mean, posterior.logvar, latents)
        columns |= {
            "exchanged_nll": decoded["exchanged_nll"],
            "swap_gap": decoded["exchanged_nll"] - decoded["nll"],
            "mutual_information": pointwise_mutual_information(*arguments),
            "minibatch_mutual_information": minibatch_mutual_information(
                *arguments, batch_size=MINIBATCH
            ),
        }
    return columns


def _exact_figures(
    columns: dict[str, Tensor], lengths: Tensor, words: Tensor | None
) -> dict[str, Figure]:
    """Figures of a model without latents."""
    nll = columns["nll"]
    return {
        "exact_model_nll": mean_figure(
            nll, "-log p(x) under the model, exact since it has no latents, nats a sentence"
        ),
        **floor_figures(columns),
        **perplexity_figures("", nll, lengths, words, "exact_model_nll"),
    }


def _num_parameters(model: torch.nn.Module) -> int:
    return sum(value.numel() for value in model.parameters())
