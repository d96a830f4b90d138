"""A model on texts, from tokens to a finished report in a folder that outlives a kill."""

import dataclasses
import json
import logging
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from hf_seqvae.data import Collator, tokenize
from hf_seqvae.data.encoding import unknown_token
from hf_seqvae.evaluation.bound import evaluation_mode
from hf_seqvae.evaluation.corpus import evaluate, evaluation_key
from hf_seqvae.evaluation.fingerprint import text_fingerprint
from hf_seqvae.evaluation.floor import ChangedTextError, exact_nlls
from hf_seqvae.evaluation.generation import Generated, generated_figures
from hf_seqvae.evaluation.processes import Processes
from hf_seqvae.evaluation.report import Figure, Report
from hf_seqvae.evaluation.store import remove_parts, write_atomically
from hf_seqvae.latent_space import LatentSpace
from hf_seqvae.metrics import has_exact_likelihood, ratio_and_standard_error
from hf_seqvae.model.modeling_seqvae import SeqVAEModel

logger = logging.getLogger(__name__)

REPORT, SENTENCES, GENERATED = "report.json", "per_sentence.safetensors", "generated.json"


def measure(
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    texts: Dataset,
    *,
    decoder_tokenizer: PreTrainedTokenizerBase | None = None,
    names: tuple[str, str] = ("", ""),
    folder: str | Path | None = None,
    fresh: bool = False,
    is_everyday: bool = False,
    max_length: int | None = None,
    truncate: bool = False,
    num_samples: int = 1,
    iw_samples: int | None = None,
    num_generated: int = 0,
    seed: int = 0,
    batch_size: int = 64,
    decode_size: int = 512,
    progress: bool = False,
    processes: Processes | None = None,
) -> Report:
    """The report of a model on texts, measured, or read where the folder holds it finished.

    Args:
        model: a `SeqVAEModel` or a `LanguageModel`, on its device.
        tokenizer: the encoder's.
        texts: a column "text".
        decoder_tokenizer: the decoder's, where it is another one.
        names: of model and data, for the report.
        folder: where results go as they come, and the report in the end; None for nowhere.
        fresh: drop what the folder holds.
        is_everyday: the exact probability of each sentence is known from the grammar.
        max_length: most tokens of a text.
        truncate: cut texts that are too long instead of refusing them.
        num_samples, iw_samples, seed, batch_size, decode_size, progress, processes: of `evaluate`.
        num_generated: reconstructions and samples that are measured as text; 0 for none.

    Raises:
        ValueError: texts that cannot be evaluated, a tokenizer of another model, or a folder that
            holds another evaluation.
        OSError: the folder cannot be written to; what was measured before is kept.
    """
    processes = processes or Processes()
    folder = None if folder is None else Path(folder)
    target = tokenizer if decoder_tokenizer is None else decoder_tokenizer
    with processes.first_before_others():
        rows = tokenize(
            texts, tokenizer, decoder_tokenizer, max_length=max_length, truncate=truncate
        )
    _check_ids(model, rows)
    settings = {
        "num_samples": num_samples,
        "iw_samples": iw_samples,
        "seed": seed,
    }
    key = evaluation_key(model, rows, **settings)
    asked = {"num_generated": num_generated, "max_length": max_length, "truncate": truncate}
    asked["is_everyday"] = is_everyday
    data = {"name": names[1], "texts_sha256": text_fingerprint(texts["text"][:])}
    if folder is not None and fresh:
        _written(folder)  # refuses what is not ours
        processes.gather(None)  # all have looked
        for name in (REPORT, SENTENCES, GENERATED) if processes.is_first else ():
            (folder / name).unlink(missing_ok=True)
    elif folder is not None:
        finished = processes.gather(_finished(folder, key, asked, data["texts_sha256"]))[0]
        if finished is not None:
            return finished
    floor = None
    if is_everyday:
        try:
            floor = exact_nlls(texts["text"][:], rows["labels"][:], target)
        except ChangedTextError as error:
            logger.warning("%s", error)
    report = evaluate(
        model,
        rows,
        collator=Collator.from_tokenizer(tokenizer),
        **settings,
        batch_size=batch_size,
        decode_size=decode_size,
        progress=progress,
        floor=floor,
        folder=folder,
        fresh=fresh,
        processes=processes,
    )
    figures, wall, cpu = dict(report.figures), time.monotonic(), time.process_time()
    figures["unknown_share"] = _unknown_share(rows["labels"][:], unknown_token(target))
    if num_generated and not has_exact_likelihood(model) and processes.is_first:
        with evaluation_mode(model):
            space = LatentSpace(model, tokenizer, decoder_tokenizer=decoder_tokenizer)
            figures |= generated_figures(
                space,
                [space.text(ids) for ids in rows["labels"][:]],
                torch.from_numpy(report.per_sentence["posterior_mean"]),
                num_generated=num_generated,
                longest=max(rows["length"]),
                seed=seed,
                generated=Generated(None if folder is None else folder / GENERATED),
            )
    report = dataclasses.replace(
        report,
        figures=processes.gather(figures)[0],
        model={"name": names[0], **report.model},
        data={**data, **report.data},
        settings={**report.settings, **asked},
        wall_seconds=report.wall_seconds + time.monotonic() - wall,
        cpu_seconds=report.cpu_seconds + time.process_time() - cpu,
        peak_memory_mib=_peak_memory_mib(),
    )
    if folder is not None and processes.is_first:
        _write(folder, report, key)
        remove_parts(folder)
    return report


def _unknown_share(labels: Sequence[Sequence[int]], unknown: int | None) -> Figure:
    """Share of the labels, EOS included, that are the unknown token."""
    counts = torch.tensor([sum(token == unknown for token in ids) for ids in labels])
    lengths = torch.tensor([len(ids) for ids in labels])
    share, error = ratio_and_standard_error(counts, lengths)
    definition = "share of the tokens, EOS included, that are unknown to the decoder's tokenizer"
    return Figure(share, definition, error, 1.0)


def _peak_memory_mib() -> float | None:
    """The most that this process ever held, MiB; None where the system does not tell."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / (1024**2 if sys.platform == "darwin" else 1024)


def read_report(folder: str | Path) -> Report:
    """The finished report of a folder, with its arrays by sentence.

    Raises:
        ValueError: there is none, or one of something else, or its arrays are damaged.
    """
    folder = Path(folder)
    values = _written(folder)
    if values is None:
        raise ValueError(
            f"{folder} holds no {REPORT}: give the folder of a finished evaluation "
            "(hf-seqvae evaluate --output-dir), or name DATA to measure a model on it."
        )
    path = folder / SENTENCES
    try:
        arrays = load_file(path)
    except (SafetensorError, FileNotFoundError) as error:
        raise ValueError(
            f"{path} is damaged ({error}). Measure again into this folder with --fresh."
        ) from error
    return Report.from_dict(values, arrays)


def _written(folder: Path) -> dict[str, Any] | None:
    """What the report of a finished evaluation says, if it is there."""
    path = folder / REPORT
    if not path.is_file():
        return None
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        values = {}
    if "key" not in values:
        raise ValueError(
            f"{path} is not the report of an evaluation: a training run has one of that name, too. "
            "Give the folder that hf-seqvae evaluate wrote, or another --output-dir."
        )
    return values


def _finished(
    folder: Path, key: dict[str, Any], asked: dict[str, Any], texts_sha256: str
) -> Report | None:
    """The report that answers this very question, if it is there."""
    values = _written(folder)
    if values is None or values["key"] != key or values["data"]["texts_sha256"] != texts_sha256:
        return None
    same = all(values["settings"][name] == value for name, value in asked.items())
    return read_report(folder) if same else None


def _write(folder: Path, report: Report, key: dict[str, Any]) -> None:
    """The report last: where it stands, all else is there."""
    values = report.to_dict() | {"key": key}
    text = json.dumps(values, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    try:
        save_file(dict(report.per_sentence), folder / SENTENCES)
        write_atomically(folder / REPORT, text)
    except (OSError, SafetensorError) as error:
        raise OSError(
            f"{folder} could not be written to: {error}. Free some disk space and start the same "
            f"command again: all {report.num_sentences} sentences are kept and not measured again."
        ) from error


def _check_ids(model: Any, rows: Dataset) -> None:
    """Raises where the tokenizer gives a token that the model does not have."""
    if isinstance(model, SeqVAEModel):
        sizes = {
            "input_ids": ("encoder", model.config.encoder.vocab_size),
            "labels": ("decoder", model.config.decoder.vocab_size),
        }
    elif isinstance(model, PreTrainedModel):
        sizes = {"labels": ("model", model.config.vocab_size)}
    else:
        return
    for column, (part, size) in sizes.items():
        largest = max(map(max, rows[column]))
        if largest >= size:
            raise ValueError(
                f"the tokenizer gives token {largest}, and the {part} has {size}: they do not "
                "belong together. Take both from one folder."
            )
