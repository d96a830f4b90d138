"""The end of `train`: figures, walks between sentences, samples, and what to do next.

A language model has no latents to walk through: figures, samples, and what to do next.
"""

import dataclasses
import inspect
import shlex
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from hf_seqvae.cli.figures import figures_table
from hf_seqvae.cli.opening import open_scorable, open_space
from hf_seqvae.cli.screen import walk_table

if TYPE_CHECKING:
    from hf_seqvae.engine import TrainingResult
    from hf_seqvae.latent_space import LatentSpace
    from hf_seqvae.recipe import Recipe

WALKS = 5
STEPS = 7
SAMPLES = 3
LONGEST = 14  # words of a sentence that is shown


def print_closing(
    console: Console, recipe: "Recipe", result: "TrainingResult", device: str | None
) -> None:
    """Print the end of a run: see the first lines of this file."""
    if recipe.is_language_model:
        from hf_seqvae.language_model import sample_texts

        print_figures(console, recipe, result)
        model, tokenizer, _ = open_scorable(str(result.best_dir), device)
        print_samples(console, sample_texts(model, tokenizer, SAMPLES, seed=recipe.seed))
        print_next(console, result, [])
        return
    space = open_space(str(result.best_dir), device)
    print_figures(console, recipe, result)
    if result.report:
        print_verdict(console, result)
    sentences = shown_sentences(held_out_texts(recipe), space)
    if len(sentences) > 1:
        ends = list(pairwise(sentences))[::2]
        source = "validation" if "validation" in result.report else "training"
        console.print(f"[bold]On the way from one {source} sentence to another[/]\n")
        for a, b in ends:
            path = space.interpolate(a, b, STEPS)
            weights = [f"{step / (STEPS - 1):.0%}" for step in range(STEPS)]
            console.print(walk_table(weights, path, ends=(a, b)))
            console.print()
    print_samples(console, space.sample(SAMPLES, seed=recipe.seed))
    print_next(console, result, sentences)


def print_figures(console: Console, recipe: "Recipe", result: "TrainingResult") -> None:
    """The report of the best weights, if there was text to measure them on."""
    from hf_seqvae import everyday

    if not result.report:
        return
    # the floor is known where the report has it: the text must be the grammar's own, and whole
    floored = any("exact_nll" in report.figures for report in result.report.values())
    entropy = everyday.entropy() if floored else None
    title = f"\nThe best weights of {recipe.name}, at step {result.progress.best_step}"
    console.print(figures_table(result.report, title, entropy=entropy))


def print_samples(console: Console, sentences: Sequence[str]) -> None:
    """What the model writes by itself."""
    console.print("[bold]Out of nothing: samples[/]\n")
    for sentence in sentences:
        console.print(Text(f"  {sentence}"))
    console.print()


def print_verdict(console: Console, result: "TrainingResult") -> None:
    """One line on the use of the latent, of the last split with two sentences or more."""
    from hf_seqvae.cli.diagnosing import colour_of
    from hf_seqvae.diagnosis import judge, measured_in

    known = [report for report in result.report.values() if report.num_sentences > 1]
    if known:
        found = judge(measured_in(known[-1]))
        verdict = (found.verdict, f"bold {colour_of(found.verdict)}")
        console.print(Text.assemble("The latent: ", verdict, (f" ({found.rule})\n", "dim")))


def print_next(console: Console, result: "TrainingResult", sentences: Sequence[str]) -> None:
    """Where everything lies, and the commands to try."""
    folder = shlex.quote(str(result.output_dir))
    lines = [("run folder", str(result.output_dir)), ("model", str(result.best_dir))]
    curves = result.output_dir / "curves.png"
    if curves.is_file():
        lines.append(("curves", str(curves)))
    lines.append(("all figures", str(result.report_path)))
    for name, path in lines:
        console.print(Text.assemble((f"{name:<12}", "dim"), path), soft_wrap=True)
    console.print("\n[bold]Next[/]")
    commands = [f"hf-seqvae sample {folder} -n 10 --temperature 0.8"]
    if len(sentences) > 1:
        a, b = (shlex.quote(sentence) for sentence in sentences[:2])
        commands += [
            f"hf-seqvae interpolate {folder} {a} {b}",
            f"hf-seqvae traverse {folder} {a} --dim {most_used_dimension(result)}",
        ]
    for command in commands:
        console.print(Text(f"  {command}"), soft_wrap=True)


def most_used_dimension(result: "TrainingResult") -> int:
    """The latent dimension with the largest KL, worth a traverse; 0 where nothing was measured."""
    for report in result.report.values():
        values: Any = report["kl_per_dimension"].value
        return values.index(max(values))
    return 0


def held_out_texts(recipe: "Recipe") -> Sequence[str]:
    """The validation sentences of a recipe; those it trains on where it validates on none."""
    from hf_seqvae.data import load_splits

    accepted = inspect.signature(load_splits).parameters
    section = {
        item.name: getattr(recipe.data, item.name) for item in dataclasses.fields(recipe.data)
    }
    splits = load_splits(**{name: value for name, value in section.items() if name in accepted})
    rows = splits["validation" if "validation" in splits else "train"]
    return [row["text"] for row, _ in zip(rows, range(50 * WALKS), strict=False)]


def shown_sentences(texts: Sequence[str], space: "LatentSpace") -> list[str]:
    """The first different sentences that fit a line and that the model can read, two a walk."""
    found: list[str] = []
    for text in dict.fromkeys(texts):
        if len(found) == 2 * WALKS:
            break
        ids = space.tokenizer(text)["input_ids"]
        unknown = space.tokenizer.unk_token_id in ids
        too_long = len(ids) > space.tokenizer.model_max_length
        if 3 < len(text.split()) <= LONGEST and not unknown and not too_long:
            found.append(text)
    return found[: len(found) // 2 * 2]
