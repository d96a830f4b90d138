"""What the model writes, for its card: drawn with a seed by a rule that is told, never picked."""

import random
from typing import Any

from hf_seqvae.hub.source import Source
from hf_seqvae.language_model import sample_texts
from hf_seqvae.latent_space import LatentSpace

WALKS, STEPS = 3, 7
LONGEST = 64  # tokens of a sentence
LONGEST_EXAMPLE = 120  # characters of a sentence in the card's code


def samples(source: Source, *, num_samples: int, seed: int) -> dict[str, Any]:
    """The first `num_samples` sentences of the prior, and how they were drawn."""
    if source.space is None:
        rule = f"the first {num_samples} texts, word by word at random"
        sentences = sample_texts(
            source.model, source.tokenizer, num_samples, seed=seed, max_new_tokens=LONGEST
        )
    else:
        rule = f"the first {num_samples} draws of z from the prior N(0, I) by torch's generator on "
        rule += "the CPU; the likeliest word at each place"
        sentences = source.space.sample(num_samples, seed=seed, max_new_tokens=LONGEST)
    return {"seed": seed, "rule": f"{rule}; none left out", "sentences": sentences}


def interpolations(source: Source, *, seed: int) -> dict[str, Any] | None:
    """Three walks between sentences of the held-out text; None without text or latents."""
    space = source.space
    if source.texts is None or space is None:
        return None
    rows = list(range(len(source.texts)))
    random.Random(seed).shuffle(rows)
    ends: list[str] = []
    for row in rows:
        text = source.texts[row]["text"]
        if text not in ends and is_readable(space, text):
            ends.append(text)
        if len(ends) == 2 * WALKS:
            break
    pairs = list(zip(ends[::2], ends[1::2], strict=False))
    if not pairs:
        return None
    return {
        "seed": seed,
        "rule": f"the {len(rows)} {source.split} sentences shuffled by Python's "
        f"random.Random({seed}); of those the first {2 * len(pairs)} that differ and that the "
        "model can read, two a walk",
        "split": source.split,
        "method": "straight line between the posterior means, the likeliest word at each place",
        "steps": STEPS,
        "walks": [
            {
                "a": a,
                "b": b,
                "sentences": space.interpolate(a, b, STEPS, max_new_tokens=LONGEST),
            }
            for a, b in pairs
        ],
    }


def example_sentences(
    source: Source, walks: dict[str, Any] | None, drawn: dict[str, Any]
) -> list[str]:
    """Two sentences that the model can read, for the code of the card; none without latents.

    Ends of the walks, or else what the model wrote, or else words of its vocabulary.
    """
    if source.space is None:
        return []
    pairs = [] if walks is None else walks["walks"]
    candidates = [text for walk in pairs for text in (walk["a"], walk["b"])]
    candidates += drawn["sentences"]
    ordinary = set(range(len(source.tokenizer))) - set(source.tokenizer.all_special_ids)
    candidates += [source.tokenizer.decode([token]) for token in sorted(ordinary)[:50]]
    short = [text for text in dict.fromkeys(candidates) if len(text) <= LONGEST_EXAMPLE]
    return ([text for text in short if is_readable(source.space, text)] * 2)[:2]


def is_readable(space: LatentSpace, text: str) -> bool:
    """Whether the model takes the sentence: not empty, not too long, a word of it known."""
    try:
        space.encode([text])
    except ValueError:
        return False
    return True
