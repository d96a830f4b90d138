"""publish: a trained model to the Hub, in one commit, with code, card, recipe and report."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from hf_seqvae.cli.options import Json
from hf_seqvae.cli.screen import keep_on_a_line, plain_table, print_json, quiet, stdout

if TYPE_CHECKING:
    from hf_seqvae.hub import Publication


def publish(
    run: Annotated[
        str,
        typer.Argument(help="A run folder (its best/ is published) or a model folder."),
    ],
    repo: Annotated[
        str, typer.Argument(help="OWNER/NAME on the Hub, or NAME under your own account.")
    ],
    private: Annotated[
        bool, typer.Option("--private", help="Make a new repository private.")
    ] = False,
    tag: Annotated[
        str | None,
        typer.Option(help="Name for this commit, such as v1.0; never moved.", metavar="NAME"),
    ] = None,
    revision: Annotated[
        str | None,
        typer.Option(
            help="Branch; by default main. Made from main if it is not there.", metavar="NAME"
        ),
    ] = None,
    message: Annotated[str | None, typer.Option(help="First line of the commit.")] = None,
    max_shard_size: Annotated[
        str, typer.Option(help="Of a file of weights.", metavar="SIZE")
    ] = "5GB",
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="List the files and what would be sent; change nothing."),
    ] = False,
    license: Annotated[
        str | None,
        typer.Option(help="Of the model, for its card, such as apache-2.0.", metavar="ID"),
    ] = None,
    language: Annotated[
        list[str] | None,
        typer.Option(help="Of the text, for the card, such as en. As often as you like."),
    ] = None,
    data_origin: Annotated[
        str | None, typer.Option(help="Where the text comes from, for the card.", metavar="TEXT")
    ] = None,
    data_license: Annotated[
        str | None, typer.Option(help="Of the text, for the card.", metavar="TEXT")
    ] = None,
    evaluation: Annotated[
        Path | None,
        typer.Option(help="Folder of a finished hf-seqvae evaluate, for the figures of the card."),
    ] = None,
    hide_data: Annotated[
        bool, typer.Option("--hide-data", help="Show no sentence of the data in the card.")
    ] = False,
    json: Json = False,
) -> None:
    """Put a trained model on the Hub: all of it in one commit, or nothing.

    What goes up: weights as safetensors, config, tokenizers, the model's code (so that it loads
    without this package, with trust_remote_code=True), recipe, report, curves, and a model card
    with samples, pictures and every figure. Nothing else of the folder: no checkpoints, no logs;
    paths of your machine are cut to names, and a file with a token in it is refused.

    You need a token with write access: run `hf auth login`, or set HF_TOKEN. What the Hub has is
    not sent again; with nothing new nothing is committed, so the same command may be repeated after
    any failure. Files of an earlier publish that are no more go; those that others added stay.
    """
    quiet()
    from datasets import disable_progress_bars

    from hf_seqvae.hub import publish as publish_folder

    disable_progress_bars()

    card: dict[str, Any] = {
        "license": license,
        "language": language,
        "data_origin": data_origin,
        "data_license": data_license,
        "evaluation": evaluation,
        "show_data": not hide_data,
    }
    found = publish_folder(
        run,
        repo,
        private=private,
        revision=revision,
        tag=tag,
        message=message,
        max_shard_size=max_shard_size,
        dry_run=dry_run,
        card=card,
    )
    if json:
        print_json(found.to_dict())
        return
    if dry_run:
        print_files(stdout(), found)
    print_result(stdout(), found)


def print_files(console: Console, found: "Publication") -> None:
    """Every file with its size, and what would become of it."""
    table = plain_table("file", "size", "")
    table.columns[1].justify = "right"
    keep_on_a_line(table.columns[0])
    for file in found.files:
        state = Text("send", style="green") if file.sent else Text("there already", style="dim")
        table.add_row(Text(file.path), size_text(file.size), state)
    for path in found.deleted:
        table.add_row(Text(path), "", Text("delete", style="red"))
    console.print(table)


def print_result(console: Console, found: "Publication") -> None:
    """One line: what was done, and where it is."""
    sent = [file for file in found.files if file.sent]
    amount = f"{len(sent)} of {len(found.files)} files, {size_text(sum(f.size for f in sent))}"
    where = f" on branch {found.branch}" if found.branch != "main" else ""
    tagged = f", tagged {found.tag}" if found.tag else ""
    if found.dry_run:
        line = f"would send {amount} to {found.repo_id}{where}{tagged}; nothing was changed"
    elif found.committed:
        line = f"published {amount}: {found.url}{where}{tagged}"
    else:
        line = f"nothing new to publish: {found.url}{where}{tagged}"
    console.print(Text(line), soft_wrap=True)


def size_text(size: int) -> str:
    """Bytes in the largest decimal unit that fits."""
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size} B"
