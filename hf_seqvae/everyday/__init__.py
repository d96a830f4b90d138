"""The embedded corpus: everyday English from an unambiguous grammar that knows its own entropy.

A sentence has 4 to 14 tokens, lower-case words and an end mark, parted by single spaces: splitting
on spaces is the tokenisation. Each sentence renders exactly one assignment of `FACTORS`, so
`log_prob` is the logarithm of that assignment's probability, and no model's mean log-likelihood on
fresh draws can exceed -`entropy()`, but by the luck of the draw. All figures are nats a sentence.
"""

import math
import random
from collections.abc import Mapping

from hf_seqvae.everyday.grammar import FACTORS, realize, render
from hf_seqvae.everyday.reading import parse, vocabulary
from hf_seqvae.everyday.tree import NODES, draw, hidden_values, summary

__all__ = [
    "FACTORS",
    "entropy",
    "generate",
    "log_prob",
    "marginal",
    "parse",
    "render",
    "vocabulary",
]


def generate(n: int, seed: int) -> tuple[list[str], list[dict[str, str]]]:
    """n independent draws from the language: the sentences and the factors of each.

    Repeated sentences are kept, so that the draws stay i.i.d. The numbers come from
    `random.Random(seed).random()`, whose sequence Python promises to keep; fewer sentences of a
    seed are the beginning of more.

    Raises:
        ValueError: n or seed is negative (`random.Random` would take -1 for 1).
    """
    for name, value in (("n", n), ("seed", seed)):
        if not isinstance(value, int) or value < 0:
            raise ValueError(f"{name} must be an integer, 0 or more, got {value!r}.")
    rng = random.Random(seed)
    sentences, factors = [], []
    for _ in range(n):
        values = draw(rng)
        sentences.append(" ".join(realize(values)))
        factors.append({name: values[name] for name in FACTORS})
    return sentences, factors


def log_prob(sentence: str) -> float:
    """The exact log-probability of a sentence, in nats.

    Raises:
        ValueError: the sentence is not in the language; the message names a word that shows it.
    """
    factors = parse(sentence)
    values = {**factors, **hidden_values(factors)}
    return math.fsum(
        math.log(node.table(*[values[parent] for parent in node.parents])[values[node.name]])
        for node in NODES
    )


def entropy() -> float:
    """The exact entropy of the language, in nats a sentence."""
    return summary()[0]


def marginal(factor: str) -> Mapping[str, float]:
    """The exact probability of each value of a factor."""
    if factor not in FACTORS:
        raise ValueError(f"factor must be one of {list(FACTORS)}, got {factor!r}.")
    return dict(summary()[1][factor])
