"""diagnose: whether the latent of a model is used, why it is believed, and what to try next."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from hf_seqvae.cli.opening import open_space
from hf_seqvae.cli.options import (
    Data,
    Device,
    Json,
    Lowercase,
    MaxLength,
    Model,
    NumTexts,
    Seed,
    Split,
    TextColumn,
    Truncate,
)
from hf_seqvae.cli.screen import keep_on_a_line, plain_table, print_json, stderr, stdout
from hf_seqvae.cli.texts import EVERYDAY, load_texts

if TYPE_CHECKING:
    from datasets import Dataset

    from hf_seqvae.diagnosis import Diagnosis, Evidence, Remedy


def diagnose(
    model: Model,
    data: Data,
    text_column: TextColumn = "text",
    split: Split = "test",
    num_texts: NumTexts = None,
    seed: Seed = 0,
    batch_size: Annotated[int, typer.Option(help="Sentences at once.", min=1)] = 64,
    truncate: Truncate = False,
    max_length: MaxLength = None,
    lowercase: Lowercase = False,
    color_by: Annotated[
        str | None,
        typer.Option(
            help="Colours of the latent map: a factor of everyday (tense, subject, ...), or a "
            "second column of a file.",
            metavar="NAME",
        ),
    ] = None,
    output_dir: Annotated[
        Path | None,
        typer.Option(help="Folder of the pictures; by default diagnosis/ beside the model."),
    ] = None,
    device: Device = None,
    json: Json = False,
) -> None:
    """Say whether the latent is used: a verdict, its evidence, and what to try next.

    Healthy, partly collapsed, collapsed, latent ignored by decoder, or paid but unused rate. Give
    the text the model was trained for, best a part that it has not seen. Pictures are PNG files.
    """
    space = open_space(model, device)
    from datasets import disable_progress_bars

    from hf_seqvae.cli.pictures import draw_pictures
    from hf_seqvae.data import Collator, tokenize
    from hf_seqvae.diagnosis import diagnose as diagnose_report
    from hf_seqvae.diagnosis import known_setup
    from hf_seqvae.engine.files import require_writable
    from hf_seqvae.evaluation import evaluate

    disable_progress_bars()
    run = run_folder(model)
    folder = picture_folder(model, run) if output_dir is None else output_dir
    require_writable(folder)
    texts = load_texts(data, text_column, split, num_texts, lowercase)
    check_texts(texts)
    labels = None
    if color_by is not None:
        labels = read_labels(data, color_by, texts, text_column, lowercase)
    rows = tokenize(
        texts,
        space.tokenizer,
        None if space.decoder_tokenizer is space.tokenizer else space.decoder_tokenizer,
        max_length=max_length,
        truncate=truncate,
    )
    check_rows(rows)
    collator = Collator.from_tokenizer(space.tokenizer)
    report = evaluate(space.model, rows, collator=collator, seed=seed, batch_size=batch_size)
    setup = known_setup(space.model.config, read_recipe(run))
    found = diagnose_report(report, setup=setup)
    pictures = draw_pictures(
        folder,
        report,
        space.model,
        rows,
        collator,
        batch_size=batch_size,
        log=None if run is None else run / "log.jsonl",
        labels=labels,
        label_name=color_by or "",
    )
    if json:
        paths = {name: str(path) for name, path in pictures.items()}
        about = {"model": model, "data": data, "num_sentences": report.num_sentences}
        print_json({**about, **found.to_dict(), "plots": paths})
        return
    title = f"{model} on {report.num_sentences:,} sentences of {data}"
    print_diagnosis(stdout(), found, title, run=run)
    print_pictures(stdout(), pictures)


def print_diagnosis(
    console: Console, found: "Diagnosis", title: str, *, run: Path | None = None
) -> None:
    """Verdict on top, then evidence, meaning and remedies, as commands where the run is known."""
    console.print()
    console.print(Text(title, style="dim"))
    console.print(Text.assemble((found.verdict.upper(), f"bold {colour_of(found.verdict)}")))
    console.print(Text(f"by the rule: {found.rule}\n", style="dim"))
    table = plain_table("evidence", "figure", "how to read it")
    keep_on_a_line(*table.columns[:2])
    table.columns[1].justify = "right"
    table.columns[2].style = "dim"
    for line in found.evidence:
        table.add_row(line.label, Text(figure_text(line)), Text(line.reading))
    console.print(table)
    console.print("[bold]What it means[/]\n")
    console.print(Text(found.meaning + "\n"))
    if not found.remedies:
        return
    console.print("[bold]What to try next, one at a time and in this order[/]\n")
    for number, remedy in enumerate(found.remedies, start=1):
        console.print(Text.assemble(f"{number}. ", (remedy.name, "bold"), f": {remedy.why}"))
        console.print(Text(f"   {command_of(remedy, run)}"), soft_wrap=True)
    console.print()


def print_pictures(console: Console, pictures: dict[str, Path]) -> None:
    """Where the pictures lie."""
    console.print("[bold]Pictures[/]\n")
    for name, path in pictures.items():
        console.print(Text.assemble((f"{name:<26}", "dim"), str(path)), soft_wrap=True)


def command_of(remedy: "Remedy", run: Path | None) -> str:
    """The command that tries a remedy: the recipe of the run with one change, in a new folder."""
    if run is None:
        return f"hf-seqvae train ... {remedy.line}"
    other = f"{run.absolute()}-{remedy.name.replace(' ', '-')}"
    recipe = shlex.quote(str(run / "recipe.yaml"))
    return f"hf-seqvae train {recipe} {remedy.line} --output-dir {shlex.quote(other)}"


def colour_of(verdict: str) -> str:
    """Green for healthy, yellow for partly, red for the rest."""
    return {"healthy": "green", "partly collapsed": "yellow"}.get(verdict, "red")


def figure_text(line: "Evidence") -> str:
    """The figure of a line of evidence with its standard error, or its range."""
    value = line.value
    if value is None:
        return "-"
    if isinstance(value, list):
        return f"{min(value):.2f} to {max(value):.2f}"
    if isinstance(value, int):
        return f"{value}" if line.cap is None else f"{value} of {line.cap:.0f}"
    if isinstance(line.standard_error, float):
        return f"{value:.2f} ± {line.standard_error:.2f}"
    return f"{value:.2f}"


def check_texts(texts: "Dataset") -> None:
    """Refuse texts that cannot be told apart.

    Raises:
        ValueError: one text alone, or all equal.
    """
    if len(texts) < 2:
        raise ValueError(
            "a diagnosis compares sentences with each other, got one. Give two or more, best some "
            "hundred."
        )
    first = texts[0]["text"]
    if all(text == first for text in texts["text"][:]):
        raise ValueError(
            f"all {len(texts)} sentences are equal, so no latent could tell them apart. Give text "
            "with different sentences."
        )


def check_rows(rows: "Dataset") -> None:
    """Refuse texts that are the same tokens to the model."""
    first = rows[0]["input_ids"]
    if all(ids == first for ids in rows["input_ids"][:]):
        raise ValueError(
            f"the model reads all {len(rows)} sentences alike: their words are unknown to it, or "
            "were cut off. Give text like that it was trained on, in the same case."
        )


def read_labels(
    data: str, name: str, texts: "Dataset", text_column: str, lowercase: bool
) -> list[str]:
    """A label for each text: a factor of everyday, or the value in another column of the file.

    Raises:
        ValueError: no such factor or column, or data that has none.
    """
    from hf_seqvae import everyday
    from hf_seqvae.data.files import FORMATS

    if data == EVERYDAY:
        if name not in everyday.FACTORS:
            raise ValueError(
                f"--color-by must be a factor of everyday, one of {list(everyday.FACTORS)}, got "
                f"{name!r}."
            )
        return [everyday.parse(text)[name] for text in texts["text"][:]]
    if FORMATS.get(Path(data).suffix.lower()) in (None, "text"):
        raise ValueError(
            f"--color-by {name!r} needs a file with a second column (csv, tsv, jsonl, json or "
            f"parquet) or everyday, got {data!r}."
        )
    columns = [_column(data, column) for column in (text_column, name)]
    cleaned = [("" if text is None else text.strip()) for text in columns[0]]
    cleaned = [text.lower() if lowercase else text for text in cleaned]
    labels = [str(label) for text, label in zip(cleaned, columns[1], strict=True) if text]
    return labels[: len(texts)]


def _column(data: str, name: str) -> list[Any]:
    from hf_seqvae.data.files import read_file

    try:
        rows: Any = read_file(data, name, False, None)
    except ValueError as error:
        raise ValueError(f"--color-by or --text-column {name!r}: {error}") from error
    if name not in rows.column_names:
        raise ValueError(
            f"--color-by {name!r} is no column of {data!r}, which has {rows.column_names}."
        )
    return rows[name][:]


def run_folder(model: str) -> Path | None:
    """The run a local model belongs to: its own folder or the one above; None where there is none.

    It is known by the recipe.yaml that training leaves.
    """
    folder = Path(model).expanduser()
    for candidate in (folder, folder.resolve().parent):
        if folder.is_dir() and (candidate / "recipe.yaml").is_file():
            return candidate
    return None


def picture_folder(model: str, run: Path | None) -> Path:
    """diagnosis/ in the run or model folder, or runs/diagnosis/NAME for a model of the Hub."""
    folder = Path(model).expanduser()
    if run is not None:
        return run / "diagnosis"
    if folder.is_dir():
        return folder / "diagnosis"
    return Path("runs") / "diagnosis" / model.replace("/", "--")


def read_recipe(run: Path | None) -> dict[str, Any] | None:
    """The recipe of a run as nested values; a note on stderr where it cannot be read."""
    from hf_seqvae import recipe as recipes

    if run is None:
        return None
    try:
        return recipes.load(run / "recipe.yaml").to_dict()
    except ValueError as error:
        stderr().print(Text(f"note: remedies do not know the recipe: {error}"), soft_wrap=True)
        return None
