"""evaluate: the likelihood bound of a model on text, and what its latents carry."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hf_seqvae.cli.figures import figures_table
from hf_seqvae.cli.opening import open_space
from hf_seqvae.cli.options import Device, Json, Model, Seed
from hf_seqvae.cli.screen import print_json, stderr, stdout

if TYPE_CHECKING:
    from datasets import Dataset

EVERYDAY = "everyday"
EVERYDAY_SIZE = 2000


def evaluate(
    model: Model,
    data: Annotated[
        str,
        typer.Argument(
            help="A txt, csv, tsv, jsonl, json or parquet file, everyday, or a Hub data set."
        ),
    ],
    text_column: Annotated[str, typer.Option(help="Column that holds the text.")] = "text",
    split: Annotated[str, typer.Option(help="Split of everyday or of a Hub data set.")] = "test",
    num_texts: Annotated[
        int | None,
        typer.Option(help="Only the first texts; everyday: how many, by default 2000.", min=1),
    ] = None,
    num_samples: Annotated[int, typer.Option(help="Posterior samples a sentence.", min=1)] = 1,
    seed: Seed = 0,
    batch_size: Annotated[int, typer.Option(help="Sentences at once.", min=1)] = 64,
    truncate: Annotated[
        bool, typer.Option("--truncate", help="Cut texts that are too long instead of refusing.")
    ] = False,
    max_length: Annotated[
        int | None, typer.Option(help="Most tokens of a text, if fewer than the model's.", min=1)
    ] = None,
    lowercase: Annotated[
        bool, typer.Option("--lowercase", help="Lower-case the text first.")
    ] = False,
    device: Device = None,
    json: Json = False,
) -> None:
    """Measure a model on text: bound, reconstruction, KL, mutual information, perplexity.

    Figures are nats a sentence unless they say otherwise. On everyday the exact probability of each
    sentence is known and stands beside the bound. More figures, each with its definition: --json.
    """
    space = open_space(model, device)
    from datasets import disable_progress_bars

    from hf_seqvae import everyday
    from hf_seqvae.data import Collator, tokenize
    from hf_seqvae.evaluation import ChangedTextError, exact_nlls
    from hf_seqvae.evaluation import evaluate as evaluate_model

    disable_progress_bars()
    texts = load_texts(data, text_column, split, num_texts, lowercase)
    rows = tokenize(
        texts,
        space.tokenizer,
        None if space.decoder_tokenizer is space.tokenizer else space.decoder_tokenizer,
        max_length=max_length,
        truncate=truncate,
    )
    floor = None
    if data == EVERYDAY:
        try:
            floor = exact_nlls(texts["text"][:], rows["labels"][:], space.decoder_tokenizer)
        except ChangedTextError as error:
            stderr().print(f"[yellow]note:[/] {error}", soft_wrap=True)
    report = evaluate_model(
        space.model,
        rows,
        collator=Collator.from_tokenizer(space.tokenizer),
        num_samples=num_samples,
        seed=seed,
        batch_size=batch_size,
        progress=not json and sys.stdout.isatty(),
        floor=floor,
    )
    if json:
        print_json({"model": model, "data": data, "split": split, **report.to_dict()})
        return
    entropy = None if floor is None else everyday.entropy()
    heading = split if data == EVERYDAY or not Path(data).is_file() else Path(data).name
    stdout().print(figures_table({heading: report}, f"\n{model} on {data}", entropy=entropy))


def load_texts(
    data: str, text_column: str, split: str, num_texts: int | None, lowercase: bool
) -> "Dataset":
    """The texts to evaluate on, in a column "text"."""
    from hf_seqvae.data import load_splits
    from hf_seqvae.data.files import FORMATS

    if data == EVERYDAY:
        count = EVERYDAY_SIZE if num_texts is None else num_texts
        sizes = {f"num_{name}": count if name == split else 1 for name in everyday_splits(split)}
        found = load_splits(dataset=EVERYDAY, lowercase=lowercase, **sizes)[split]  # pyright: ignore[reportArgumentType]
    elif Path(data).expanduser().is_file() or Path(data).suffix.lower() in FORMATS:
        found = load_splits(
            test_file=data, text_column=text_column, num_test=num_texts, lowercase=lowercase
        )["test"]
    else:
        # not the name "test": a missing default test split would be passed over in silence
        found = load_splits(
            dataset=data,
            text_column=text_column,
            train_split=None,
            validation_split=split,
            test_split=None,
            num_validation=num_texts,
            lowercase=lowercase,
        )["validation"]
    return found  # pyright: ignore[reportReturnType]


def everyday_splits(split: str) -> tuple[str, ...]:
    """The splits of everyday, after a look whether `split` is one."""
    from hf_seqvae.data.sources import SPLITS

    if split not in SPLITS:
        raise ValueError(f"--split of everyday must be one of {list(SPLITS)}, got {split!r}.")
    return SPLITS
