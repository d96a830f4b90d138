"""card: the model card of a run, with its facts and pictures, written and not published."""

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from hf_seqvae.cli.opening import damage_explained
from hf_seqvae.cli.options import Json, Seed
from hf_seqvae.cli.screen import print_json, quiet, stdout


def card(
    model: Annotated[Path, typer.Argument(help="A run folder (its best/ is taken) or a model's.")],
    repo_id: Annotated[
        str | None, typer.Option(help="Where the model will be on the Hub.", metavar="OWNER/NAME")
    ] = None,
    output_dir: Annotated[
        Path | None, typer.Option(help="Where the card goes, in place of MODEL/card.")
    ] = None,
    evaluation: Annotated[
        Path | None,
        typer.Option(
            help="Folder that evaluate wrote; by default MODEL/evaluation, or else what training "
            "measured."
        ),
    ] = None,
    license: Annotated[
        str | None,
        typer.Option(help="Such as mit; by default none, on everyday apache-2.0.", metavar="ID"),
    ] = None,
    language: Annotated[
        list[str] | None,
        typer.Option(help="Of the text, such as en. As often as there are.", metavar="CODE"),
    ] = None,
    data_origin: Annotated[
        str | None, typer.Option(help="Where the text comes from, in words.")
    ] = None,
    data_license: Annotated[str | None, typer.Option(help="The license of the text.")] = None,
    num_samples: Annotated[int, typer.Option(help="Sentences of the prior to show.", min=1)] = 8,
    seed: Seed = 0,
    hide_data: Annotated[
        bool,
        typer.Option("--hide-data", help="No sentence of the data in the card, and so no walks."),
    ] = False,
    json: Json = False,
) -> None:
    """Write the model card of a run: README.md, facts.json and assets/.

    What was not measured, or nobody said, is said to be unknown. hf-seqvae evaluate MODEL DATA
    --iw-samples 500 --output-dir MODEL/evaluation measures more than training does.
    """
    quiet()
    from datasets import disable_progress_bars

    from hf_seqvae.hub.card import FACTS_NAME, read_facts, write_card
    from hf_seqvae.hub.metadata import missing_fields

    disable_progress_bars()
    folder = model / "card" if output_dir is None else output_dir
    with damage_explained(str(model)):
        path = write_card(
            model,
            folder,
            repo_id=repo_id,
            evaluation=evaluation,
            license=license,
            language=language,
            data_origin=data_origin,
            data_license=data_license,
            seed=seed,
            num_samples=num_samples,
            show_data=not hide_data,
        )
    missing = missing_fields(read_facts(folder))
    if json:
        print_json({"card": str(path), "facts": str(folder / FACTS_NAME), "missing": missing})
        return
    console = stdout()
    for name, shown in (("card", path), ("facts", folder / FACTS_NAME)):
        console.print(Text.assemble((f"{name:<6}", "dim"), str(shown)), soft_wrap=True)
    for name, cure in missing.items():
        console.print(
            Text.assemble((f"no {name} in its metadata", "yellow"), f": {cure}"), soft_wrap=True
        )
