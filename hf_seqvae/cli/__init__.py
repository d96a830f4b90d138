"""The command line: hf-seqvae train | evaluate | reconstruct | sample | interpolate | ..."""

import sys
from io import TextIOWrapper
from typing import Annotated

import typer

from hf_seqvae.cli.carding import card
from hf_seqvae.cli.checking import selfcheck
from hf_seqvae.cli.comparing import compare
from hf_seqvae.cli.diagnosing import diagnose
from hf_seqvae.cli.errors import ErrorGroup
from hf_seqvae.cli.evaluating import evaluate
from hf_seqvae.cli.exploring import (
    analogy,
    interpolate,
    neighbours,
    reconstruct,
    sample,
    traverse,
)
from hf_seqvae.cli.publishing import publish
from hf_seqvae.cli.training import recipe, train

__all__ = ["app"]

app = typer.Typer(
    name="hf-seqvae",
    cls=ErrorGroup,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_show_locals=False,
    epilog="Begin with [bold]hf-seqvae train[/]: it needs no data, no network and no GPU. "
    "Every command explains itself: [bold]hf-seqvae sample --help[/].",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from hf_seqvae import __version__

        typer.echo(f"hf-seqvae {__version__}")
        raise typer.Exit()


@app.callback()
def main(
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the whole traceback of an error.")
    ] = False,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and leave."
        ),
    ] = False,
) -> None:
    """Sequence VAEs whose latent variable is used: train one, measure it, walk through its space.

    MODEL is the folder of a run (its best/ is taken), the folder of a model, or a Hub id.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # no result is lost to a terminal of few letters
            stream.reconfigure(errors="replace")


for _function, _example in (
    (train, "hf-seqvae train quickstart --set training.epochs=5 --output-dir runs/short"),
    (recipe, "hf-seqvae recipe"),
    (evaluate, "hf-seqvae evaluate runs/quickstart my_text.csv --text-column review"),
    (compare, "hf-seqvae compare training/studies/tatoeba.yaml --jobs 2"),
    (diagnose, "hf-seqvae diagnose runs/quickstart everyday --color-by tense"),
    (reconstruct, 'hf-seqvae reconstruct runs/quickstart "the girl reads a book ."'),
    (sample, "hf-seqvae sample runs/quickstart -n 5 --temperature 0.8"),
    (
        interpolate,
        'hf-seqvae interpolate runs/quickstart "the girl reads a book ." "did they sleep ?"',
    ),
    (
        analogy,
        'hf-seqvae analogy runs/quickstart "the girl reads ." "the girl does not read ." '
        '"a dog sleeps ."',
    ),
    (
        traverse,
        'hf-seqvae traverse runs/quickstart "the girl reads a book ." --dim 3 --range -2:2:5',
    ),
    (
        neighbours,
        'hf-seqvae neighbours runs/quickstart "the girl reads a book ." --scale 0.4',
    ),
    (card, "hf-seqvae card runs/quickstart --repo-id me/quickstart --output-dir cards/quickstart"),
    (publish, "hf-seqvae publish runs/quickstart my-name/everyday-vae --private --dry-run"),
    (selfcheck, "hf-seqvae selfcheck --only iw_nll --only kl"),
):
    app.command(epilog=f"[bold]Example:[/] {_example}")(_function)
