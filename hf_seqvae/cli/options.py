"""Arguments and options that several commands share."""

from typing import Annotated

import typer

MODEL = "A run folder (its best/ is taken), a model folder or a Hub id."
DATA = "A txt, csv, tsv, jsonl, json or parquet file, everyday, or a Hub data set."

Model = Annotated[str, typer.Argument(help=MODEL)]
Data = Annotated[str, typer.Argument(help=DATA)]
TextColumn = Annotated[str, typer.Option(help="Column that holds the text.")]
Split = Annotated[str, typer.Option(help="Split of everyday or of a Hub data set.")]
NumTexts = Annotated[
    int | None,
    typer.Option(help="Only the first texts; everyday: how many, by default 2000.", min=1),
]
Truncate = Annotated[
    bool, typer.Option("--truncate", help="Cut texts that are too long instead of refusing.")
]
MaxLength = Annotated[
    int | None, typer.Option(help="Most tokens of a text, if fewer than the model's.", min=1)
]
Lowercase = Annotated[bool, typer.Option("--lowercase", help="Lower-case the text first.")]
Device = Annotated[
    str | None,
    typer.Option(help="cpu, cuda or cuda:1. By default a GPU where there is one.", metavar="NAME"),
]
Seed = Annotated[int, typer.Option(help="The same seed gives the same result.", min=0)]
Json = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else on stdout.")]
DoSample = Annotated[
    bool,
    typer.Option(
        "--do-sample", help="Draw words at random instead of the likeliest at each place."
    ),
]
NumBeams = Annotated[int, typer.Option(help="Beams of the search; 1 is greedy.", min=1)]
MaxNewTokens = Annotated[int, typer.Option(help="Most tokens of a sentence.", min=1)]


def check_device(name: str | None) -> str:
    """The name of a device that is there: the GPU by default where there is one.

    Raises:
        ValueError: no such device on this machine.
    """
    import torch

    if name is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ValueError(f"--device must be cpu, cuda or cuda:NUMBER, got {name!r}.") from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ValueError(
            f"--device {name} is not on this machine, which has {torch.cuda.device_count()} CUDA "
            "devices. Use another, or cpu."
        )
    try:
        torch.empty(1, device=device)
    except (RuntimeError, NotImplementedError, AssertionError) as error:  # another build of torch
        raise ValueError(f"--device {name} is not on this machine. Use cpu.") from error
    return name
