"""Walks through the latent space: reconstruct, sample, interpolate, analogy, traverse, ..."""

from typing import Annotated, Any

import typer
from rich.text import Text

from hf_seqvae.cli.opening import open_scorable, open_space
from hf_seqvae.cli.options import Device, DoSample, Json, MaxNewTokens, Model, NumBeams, Seed
from hf_seqvae.cli.screen import changes, plain_table, print_json, stdout, walk_table

Sentence = Annotated[str, typer.Argument(help="A sentence, in quotes.")]


def reconstruct(
    model: Model,
    text: Annotated[list[str], typer.Argument(help="Sentences, each in quotes.")],
    num_beams: NumBeams = 1,
    max_new_tokens: MaxNewTokens = 64,
    device: Device = None,
    json: Json = False,
) -> None:
    """What the model makes of sentences: each is encoded and decoded from its posterior mean."""
    space = open_space(model, device, max_new_tokens=max_new_tokens)
    found = space.reconstruct(text, num_beams=num_beams)
    if json:
        pairs = zip(text, found, strict=True)
        print_json([{"text": given, "reconstruction": made} for given, made in pairs])
        return
    table = plain_table("", "sentence")
    for given, made in zip(text, found, strict=True):
        same = " ".join(given.split()) == made
        table.add_row("text", Text(given))
        table.add_row("[green]same[/]" if same else "model", changes(given, made))
        table.add_section()
    stdout().print(table)


def sample(
    model: Model,
    num: Annotated[int, typer.Option("--num", "-n", help="How many sentences.")] = 8,
    temperature: Annotated[
        float,
        typer.Option(
            help="Standard deviation of the latents; 1 is the prior itself. Of a language model, "
            "what its logits are divided by."
        ),
    ] = 1.0,
    do_sample: DoSample = False,
    num_beams: NumBeams = 1,
    max_new_tokens: MaxNewTokens = 64,
    seed: Seed = 0,
    device: Device = None,
    json: Json = False,
) -> None:
    """New sentences, decoded from draws of the prior, or drawn word by word of a language model."""
    from hf_seqvae.language_model import sample_texts
    from hf_seqvae.latent_space import LatentSpace
    from hf_seqvae.metrics import has_exact_likelihood

    network, tokenizer, decoder_tokenizer = open_scorable(model, device)
    if has_exact_likelihood(network):
        if num_beams != 1:
            raise ValueError(
                f"--num-beams {num_beams} searches for the likeliest sentence, and a language "
                "model without latents has only one: its samples are drawn. Leave it out."
            )
        found = sample_texts(
            network,
            tokenizer,
            num,
            temperature=temperature,
            seed=seed,
            max_new_tokens=max_new_tokens,
        )
    else:
        space = LatentSpace(
            network,
            tokenizer,
            decoder_tokenizer=decoder_tokenizer,
            max_new_tokens=max_new_tokens,
        )
        found = space.sample(num, temperature, seed, do_sample=do_sample, num_beams=num_beams)
    if json:
        print_json({"temperature": temperature, "seed": seed, "sentences": found})
        return
    table = plain_table("#", "sentence")
    for number, sentence in enumerate(found, start=1):
        table.add_row(str(number), Text(sentence))
    stdout().print(table)


def interpolate(
    model: Model,
    a: Sentence,
    b: Sentence,
    steps: Annotated[int, typer.Option(help="Sentences, both ends included.")] = 9,
    method: Annotated[
        str, typer.Option(help="lerp (straight line) or slerp (arc).", metavar="NAME")
    ] = "lerp",
    num_beams: NumBeams = 1,
    max_new_tokens: MaxNewTokens = 64,
    device: Device = None,
    json: Json = False,
) -> None:
    """The way from one sentence to another, in even steps; words that change are in colour."""
    space = open_space(model, device, max_new_tokens=max_new_tokens)
    found = space.interpolate(a, b, steps, method, num_beams=num_beams)
    weights = [step / (steps - 1) for step in range(steps)]
    if json:
        points = zip(weights, found, strict=True)
        path = [{"weight": weight, "sentence": made} for weight, made in points]
        print_json({"a": a, "b": b, "method": method, "path": path})
        return
    console = stdout()
    console.print()
    console.print(walk_table([f"{weight:.0%}" for weight in weights], found, ends=(a, b)))


def analogy(
    model: Model,
    a: Sentence,
    b: Sentence,
    c: Sentence,
    num_beams: NumBeams = 1,
    max_new_tokens: MaxNewTokens = 64,
    device: Device = None,
    json: Json = False,
) -> None:
    """A is to B as C is to what? The sentence at z(B) - z(A) + z(C)."""
    space = open_space(model, device, max_new_tokens=max_new_tokens)
    found = space.analogy(a, b, c, num_beams=num_beams)
    if json:
        print_json({"a": a, "b": b, "c": c, "sentence": found})
        return
    table = plain_table("", "sentence")
    table.add_row("[dim]as[/]", Text(a))
    table.add_row("[dim]is to[/]", changes(a, b))
    table.add_row("[dim]so is[/]", Text(c))
    table.add_row("[dim]to[/]", changes(c, found))
    stdout().print(table)


def traverse(
    model: Model,
    text: Sentence,
    dim: Annotated[int, typer.Option(help="Which coordinate of the latent, from 0.")],
    values: Annotated[
        str | None, typer.Option(help="Numbers with commas: --values -2,0,2.", metavar="LIST")
    ] = None,
    range_: Annotated[
        str, typer.Option("--range", help="START:STOP:COUNT, even steps.", metavar="RANGE")
    ] = "-3:3:7",
    num_beams: NumBeams = 1,
    max_new_tokens: MaxNewTokens = 64,
    device: Device = None,
    json: Json = False,
) -> None:
    """One coordinate of a sentence's latent moved through values, the others held."""
    numbers = read_range(range_) if values is None else read_values(values)
    space = open_space(model, device, max_new_tokens=max_new_tokens)
    found = space.traverse(text, dim, numbers, num_beams=num_beams)
    own = float(space.encode([text])[0, dim])
    if json:
        points: list[Any] = [
            {"value": value, "sentence": made} for value, made in zip(numbers, found, strict=True)
        ]
        print_json({"text": text, "dim": dim, "own_value": own, "path": points})
        return
    console = stdout()
    console.print()
    label = f"\nits own value of dimension {dim} is "
    console.print(Text.assemble(("text ", "dim"), text, (label, "dim"), f"{own:+.2f}\n"))
    console.print(walk_table([f"{value:+.2f}" for value in numbers], found))


def neighbours(
    model: Model,
    text: Sentence,
    num: Annotated[int, typer.Option("--num", "-n", help="How many sentences.")] = 8,
    scale: Annotated[
        float, typer.Option(help="How far: standard deviation of the steps; the prior's is 1.")
    ] = 0.5,
    do_sample: DoSample = False,
    num_beams: NumBeams = 1,
    max_new_tokens: MaxNewTokens = 64,
    seed: Seed = 0,
    device: Device = None,
    json: Json = False,
) -> None:
    """Sentences around a sentence: steps in random directions from its latent."""
    space = open_space(model, device, max_new_tokens=max_new_tokens)
    found = space.neighbours(text, scale, num, seed, do_sample=do_sample, num_beams=num_beams)
    if json:
        print_json({"text": text, "scale": scale, "seed": seed, "sentences": found})
        return
    table = plain_table("#", "sentence")
    table.add_row("[dim]text[/]", Text(text))
    for number, sentence in enumerate(found, start=1):
        table.add_row(str(number), changes(text, sentence))
    stdout().print(table)


def read_values(text: str) -> list[float]:
    """Numbers parted by commas."""
    try:
        return [float(part) for part in text.split(",")]
    except ValueError as error:
        raise ValueError(
            f"--values must be numbers with commas, such as -2,0,2, got {text!r}."
        ) from error


def read_range(text: str) -> list[float]:
    """START:STOP:COUNT as COUNT even steps, both ends included."""
    try:
        first, last, number = text.split(":")
        start, stop, count = float(first), float(last), int(number)
    except ValueError as error:
        raise ValueError(
            f"--range must be START:STOP:COUNT, such as -3:3:7, got {text!r}."
        ) from error
    if count < 2:
        raise ValueError(f"--range needs a COUNT of at least 2 (its two ends), got {count}.")
    return [start + (stop - start) * place / (count - 1) for place in range(count)]
