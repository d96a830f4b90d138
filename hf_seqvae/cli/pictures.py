"""The pictures of `diagnose`: what can be drawn of a report, a model and a log, as PNG files."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datasets import Dataset

    from hf_seqvae.evaluation import Report


def draw_pictures(
    folder: Path,
    report: "Report",
    model: Any,
    rows: "Dataset",
    collator: Callable[[list[dict[str, Any]]], Any],
    *,
    batch_size: int,
    log: Path | None,
    labels: Sequence[str] | None,
    label_name: str,
) -> dict[str, Path]:
    """What each picture shows -> its file; a picture without its figures is left out.

    Args:
        folder: where the files go.
        report: of `evaluate`, with its values per sentence.
        model: the SeqVAEModel, for the pooling operators.
        rows: the tokenised sentences.
        collator: rows -> a batch.
        batch_size: sentences encoded at once.
        log: log.jsonl of the run, where there is one.
        labels: one a sentence, for the latent map.
        label_name: what they are.
    """
    import torch

    from hf_seqvae import plots
    from hf_seqvae.diagnosis import dispersion_by_pooling, signal_to_noise
    from hf_seqvae.run_log import read_log

    def value(name: str) -> Any:
        return report.figures[name].value if name in report.figures else None

    pictures = {
        "KL of each dimension": plots.kl_per_dimension(
            value("kl_per_dimension"), folder / "kl_per_dimension.png"
        )
    }
    spectra, totals, ratios = {}, {}, {}
    for name, what in (("pooled", "pooled features"), ("posterior_mean", "posterior means")):
        if value(f"{name}_participation_ratio") is not None:
            spectra[what], totals[what] = value(f"{name}_spectrum"), value(f"{name}_variance")
            ratios[what] = value(f"{name}_participation_ratio")
    if spectra:
        pictures["eigenvalues"] = plots.spectrum(
            spectra, folder / "spectrum.png", totals=totals, participation=ratios
        )
    mean, logvar = (
        torch.from_numpy(report.per_sentence[name])
        for name in ("posterior_mean", "posterior_logvar")
    )
    pictures["water level (a picture)"] = plots.water_level(
        signal_to_noise(mean, logvar).tolist(),
        1.0,
        folder / "water_level.png",
        title="Spread of z over its own noise",
        unit="variance / posterior variance",
        level_name="noise alone",
    )
    if log is not None and log.is_file():
        records = read_log(log)
        if any(record.get("eval/kl") is not None for record in records):
            pictures["MI and KL over training"] = plots.information_over_training(
                records, folder / "information.png"
            )
    pictures["latent map"] = plots.latent_map(
        mean.numpy(), folder / "latent_map.png", labels=labels, label_name=label_name
    )
    pictures["dispersion by pooling"] = plots.dispersion_by_pooling(
        dispersion_by_pooling(model, _batches(rows, collator, batch_size)),
        folder / "dispersion.png",
        own=model.config.pooling,
    )
    if value("position_savings") is not None:
        saved, length = report["position_savings"], report["length_saving"]
        errors: Any = (saved.standard_error, length.standard_error)
        pictures["saved by position"] = plots.position_profile(
            value("position_savings"),
            folder / "position_profile.png",
            standard_errors=errors[0],
            length_saving=value("length_saving"),
            length_error=errors[1],
        )
    return pictures


def _batches(rows: "Dataset", collator: Callable[..., Any], batch_size: int) -> Iterator[Any]:
    """Sentences in batches of similar length."""
    order = sorted(range(len(rows)), key=rows["length"][:].__getitem__)
    tokens = rows.select_columns(["input_ids", "labels"])
    for start in range(0, len(order), batch_size):
        columns = tokens[order[start : start + batch_size]]
        yield collator(
            [
                {"input_ids": ids, "labels": labels}
                for ids, labels in zip(columns["input_ids"], columns["labels"], strict=True)
            ]
        )
