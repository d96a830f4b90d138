"""evaluate: the likelihood of a model on text, what its latents carry, and what it writes."""

import hashlib
import logging
import os
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from hf_seqvae.cli.errors import CommandFailed
from hf_seqvae.cli.figures import comparison_table, figures_table
from hf_seqvae.cli.opening import open_scorable
from hf_seqvae.cli.options import (
    DATA,
    MODEL,
    Device,
    Json,
    Lowercase,
    MaxLength,
    NumTexts,
    Seed,
    Split,
    TextColumn,
    Truncate,
)
from hf_seqvae.cli.screen import print_json, stderr, stdout
from hf_seqvae.cli.texts import EVERYDAY, load_texts

if TYPE_CHECKING:
    from datasets import Dataset

    from hf_seqvae.evaluation import Processes, Report


def evaluate(
    model: Annotated[
        str | None,
        typer.Argument(help=MODEL),
    ] = None,
    data: Annotated[
        str | None,
        typer.Argument(help=DATA),
    ] = None,
    compare: Annotated[
        tuple[str, str] | None,
        typer.Option(
            metavar="A B",
            help="Two models, measured on DATA, or two folders of finished evaluations, side by "
            "side: differences sentence by sentence, in standard errors.",
        ),
    ] = None,
    text_column: TextColumn = "text",
    split: Split = "test",
    num_texts: NumTexts = None,
    num_samples: Annotated[
        int, typer.Option(help="Posterior samples a sentence of the bound.", min=1)
    ] = 1,
    iw_samples: Annotated[
        int,
        typer.Option(
            help="K, importance samples a sentence: each is one decoding of the data. The "
            "literature takes 500.",
            min=1,
        ),
    ] = 50,
    num_generated: Annotated[
        int,
        typer.Option(help="Reconstructions and samples that are measured as text.", min=1),
    ] = 500,
    bound_only: Annotated[
        bool,
        typer.Option("--bound-only", help="Neither importance samples nor generated text."),
    ] = False,
    seed: Seed = 0,
    batch_size: Annotated[int, typer.Option(help="Sentences encoded at once.", min=1)] = 64,
    decode_size: Annotated[
        int,
        typer.Option(help="Sequences decoded at once: memory grows with it, not with K.", min=1),
    ] = 512,
    truncate: Truncate = False,
    max_length: MaxLength = None,
    lowercase: Lowercase = False,
    output_dir: Annotated[
        Path | None,
        typer.Option(help="Where results go as they come; by default a folder in runs/evaluate/."),
    ] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Measure again what the folder holds already.")
    ] = False,
    device: Device = None,
    json: Json = False,
) -> None:
    """Measure a model on text: likelihood, use of the latents, dispersion, generated text.

    Figures are nats a sentence unless they say otherwise. On everyday the exact probability of each
    sentence is known and stands beside the bounds. A killed evaluation goes on with the same
    command; a finished one is read. Every figure with its definition: --json, or report.json.

    On several processes: python -m torch.distributed.run --nproc_per_node 2 --no-python hf-seqvae
    evaluate MODEL DATA.
    """
    from datasets import disable_progress_bars

    disable_progress_bars()
    if compare is not None and data is None:
        model, data = None, model  # hf-seqvae evaluate DATA --compare A B
    if compare is None and (model is None or data is None):
        raise ValueError(
            "evaluate needs MODEL and DATA, or --compare A B with DATA or with two folders of "
            "finished evaluations. See hf-seqvae evaluate --help."
        )
    if compare is not None and model is not None:
        raise ValueError(
            f"--compare {' '.join(compare)} names the models already: leave out {model!r}."
        )
    options = Options(
        text_column=text_column,
        split=split,
        num_texts=num_texts,
        lowercase=lowercase,
        max_length=max_length,
        truncate=truncate,
        num_samples=num_samples,
        iw_samples=None if bound_only else iw_samples,
        num_generated=0 if bound_only else num_generated,
        seed=seed,
        batch_size=batch_size,
        decode_size=decode_size,
        device=device,
        output_dir=output_dir,
        fresh=fresh,
        progress=not json and sys.stdout.isatty(),
    )
    if not options.processes.is_first:
        logging.getLogger("hf_seqvae").setLevel(logging.ERROR)  # one voice is enough
    if compare is not None:
        sides = zip(compare, _folder_names(*compare), strict=True)
        reports = [_report_of(name, data, options, folder) for name, folder in sides]
        if options.processes.is_first:
            _show_comparison(compare, reports, json)
        return
    assert model is not None and data is not None
    report, folder = _measured(model, data, options, output_dir)
    if not options.processes.is_first:
        return
    if json:
        values = report.to_dict()
        print_json({"output_dir": str(folder), **values})
        return
    _show(report, model, data, options, folder)


@dataclass(frozen=True)
class Options:
    """What the options of `evaluate` came to."""

    text_column: str
    split: str
    num_texts: int | None
    lowercase: bool
    max_length: int | None
    truncate: bool
    num_samples: int
    iw_samples: int | None
    num_generated: int
    seed: int
    batch_size: int
    decode_size: int
    device: str | None
    output_dir: Path | None
    fresh: bool
    progress: bool
    processes: "Processes" = field(init=False)

    def __post_init__(self) -> None:
        """Join the other processes, where a launcher started some."""
        import torch

        from hf_seqvae.evaluation import launched_processes

        processes = launched_processes(cpu=self.device == "cpu")
        object.__setattr__(self, "processes", processes)
        if processes.count > 1 and self.device in (None, "cuda") and torch.cuda.is_available():
            object.__setattr__(self, "device", f"cuda:{os.environ['LOCAL_RANK']}")

    @property
    def measuring(self) -> dict[str, Any]:
        """The arguments of `measure` among them."""
        names = ("max_length", "truncate", "num_samples", "iw_samples", "num_generated", "seed")
        names += ("batch_size", "decode_size", "fresh", "progress", "processes")
        return {name: getattr(self, name) for name in names}


def _report_of(name: str, data: str | None, options: Options, folder_name: str) -> "Report":
    """The report of one side of a comparison."""
    from hf_seqvae.evaluation import read_report

    if data is None:
        return read_report(Path(name))
    folder = None if options.output_dir is None else options.output_dir / folder_name
    return _measured(name, data, options, folder)[0]


def _measured(
    model: str, data: str, options: Options, folder: Path | None
) -> tuple["Report", Path]:
    """The report of a model on data, and its folder: by default one for exactly this question."""
    from hf_seqvae.evaluation import measure

    network, tokenizer, decoder_tokenizer = open_scorable(model, options.device)
    with options.processes.first_before_others():
        texts = load_texts(
            data, options.text_column, options.split, options.num_texts, options.lowercase
        )
    folder = folder or _default_folder(model, data, network, texts, options)
    if options.progress:
        stderr().print(
            f"results go to {folder}; {options.decode_size} sequences are decoded at once, "
            "whatever K (--decode-size)",
            style="dim",
            markup=False,
            soft_wrap=True,
        )
    try:
        report = measure(
            network,
            tokenizer,
            texts,
            decoder_tokenizer=None if decoder_tokenizer is tokenizer else decoder_tokenizer,
            names=(model, data),
            folder=folder,
            is_everyday=data == EVERYDAY,
            **options.measuring,
        )
    except KeyboardInterrupt as error:
        raise CommandFailed(
            f"interrupted. What was measured is kept in {folder}, but for the last seconds: the "
            "same command goes on.",
            exit_code=130,
        ) from error
    return report, folder


def _default_folder(
    model: str, data: str, network: Any, texts: "Dataset", options: Options
) -> Path:
    from hf_seqvae.evaluation.fingerprint import model_fingerprint, text_fingerprint

    asked = [getattr(options, name) for name in ("max_length", "truncate", "num_samples")]
    asked += [options.iw_samples, options.num_generated, options.seed]
    whole = f"{model_fingerprint(network)} {text_fingerprint(texts['text'][:])} {asked}"
    digest = hashlib.sha256(whole.encode()).hexdigest()[:8]
    return Path("runs/evaluate") / f"{_slug(model)}-{_slug(Path(data).stem)}-{digest}"


def _slug(name: str) -> str:
    """A folder's name for a model: of a path its last part."""
    name = Path(name).resolve().name if Path(name).exists() else name
    return re.sub(r"[^\w.]+", "-", name).strip("-")


def _folder_names(first: str, second: str) -> tuple[str, str]:
    """A folder's name for each of two models; the last parts of two paths may be the same."""
    names = _slug(first), _slug(second)
    return names if names[0] != names[1] else (f"{names[0]}-1", f"{names[1]}-2")


def _show(report: "Report", model: str, data: str, options: Options, folder: Path) -> None:
    from hf_seqvae import everyday

    entropy = everyday.entropy() if "exact_nll" in report.figures else None
    named = data == EVERYDAY or not Path(data).is_file()
    heading = options.split if named else Path(data).name
    console = stdout()
    console.print(figures_table({heading: report}, f"\n{model} on {data}", entropy=entropy))
    for name, path in _pictures(report, folder).items():
        console.print(Text.assemble((f"{name}  ", "dim"), str(path)), soft_wrap=True)
    spent = f"{report.wall_seconds:.0f} s, {report.cpu_seconds:.0f} s of CPU"
    if report.peak_memory_mib is not None:
        spent += f", at most {report.peak_memory_mib:,.0f} MiB in all"
    console.print(Text(spent, style="dim"))
    console.print(
        Text.assemble(("every figure and its definition  ", "dim"), str(folder)), soft_wrap=True
    )


def _pictures(report: "Report", folder: Path) -> dict[str, Path]:
    """The KL of each dimension and what z saves at each token, drawn where they are known."""
    from hf_seqvae import plots

    figures, pictures = report.figures, {}
    if "kl_per_dimension" in figures:
        values: Any = figures["kl_per_dimension"].value
        path = folder / "kl_per_dimension.png"
        pictures["KL of each dimension"] = plots.kl_per_dimension(values, path)
    if "position_savings" in figures:
        saved, length = figures["position_savings"], figures["length_saving"]
        numbers: Any = (saved.value, saved.standard_error, length.value, length.standard_error)
        pictures["saved by position"] = plots.position_profile(
            numbers[0],
            folder / "position_profile.png",
            standard_errors=numbers[1],
            length_saving=numbers[2],
            length_error=numbers[3],
        )
    return pictures


def _show_comparison(names: tuple[str, str], reports: list["Report"], json: bool) -> None:
    import dataclasses

    from hf_seqvae.evaluation import compare as differences

    found = differences(*reports)
    if json:
        rows = [
            {**dataclasses.asdict(item), "in_standard_errors": item.in_standard_errors}
            for item in found
        ]
        sides = {name: report.to_dict() for name, report in zip(names, reports, strict=True)}
        print_json({"reports": sides, "differences": rows})
        return
    console = stdout()
    console.print(comparison_table(_folder_names(*names), reports, found, width=console.width))
