"""Figures of generated text: reconstructions, samples of the prior, and walks between sentences."""

import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hf_seqvae.evaluation.figures import mean_figure
from hf_seqvae.evaluation.report import Figure
from hf_seqvae.evaluation.store import write_atomically
from hf_seqvae.latent_space import LatentSpace, lerp
from hf_seqvae.metrics import ratio_and_standard_error
from hf_seqvae.metrics.smoothness import interpolation_smoothness
from hf_seqvae.metrics.text import (
    corpus_bleu,
    distinct_n,
    exact_match,
    length_distribution,
    self_bleu,
    token_accuracy,
)
from hf_seqvae.metrics.trigram import forward_perplexity, real_perplexity, reverse_perplexity

logger = logging.getLogger(__name__)

NUM_PATHS = 50
STEPS = 7


class Generated:
    """Texts that a model wrote, by name; in a file as each name is finished, if there is one."""

    def __init__(self, path: Path | None):
        self.path = path
        self.texts: dict[str, Any] = {}
        if path is not None and path.is_file():
            try:
                kept = json.loads(path.read_text(encoding="utf-8"))
                if not isinstance(kept, dict):
                    raise ValueError(f"it holds a {type(kept).__name__}")
                self.texts = kept
            except ValueError as error:
                logger.warning("%s is damaged (%s): its texts are written again", path, error)

    def get(self, name: str, write: Callable[[], Any]) -> Any:
        """The texts of that name, written now if they are not there."""
        if name not in self.texts:
            self.texts[name] = write()
            if self.path is not None:
                write_atomically(self.path, json.dumps(self.texts, ensure_ascii=False) + "\n")
        return self.texts[name]


def generated_figures(
    space: LatentSpace,
    references: Sequence[str],
    means: Tensor,
    *,
    num_generated: int,
    longest: int,
    seed: int,
    generated: Generated,
) -> dict[str, Figure]:
    """What the model writes, measured; decoded in batches.

    Args:
        space: the model and its tokenizers.
        references: the N sentences as the model's vocabulary has them.
        means: their posterior means, (N, Z).
        num_generated: reconstructions, and samples of the prior.
        longest: tokens of the longest sentence.
        seed: of the samples and of the ends of the walks.
        generated: what was written before a kill.
    """
    count = min(num_generated, len(references))
    shown = references[:count]
    limit = _most_tokens(space.model, longest)
    hypotheses = generated.get(
        f"{count} reconstructions", lambda: space.decode(means[:count], max_new_tokens=limit)
    )
    figures = _reconstruction(hypotheses, shown)

    def sample() -> list[str]:
        # from the model's own distribution: neither greedy nor cut to its likeliest words
        drawn: dict[str, Any] = {"do_sample": True, "top_k": 0, "max_new_tokens": limit}
        return space.sample(num_generated, seed=seed, **drawn)

    samples = generated.get(f"{num_generated} samples", sample)
    figures |= _samples(samples, references, limit)
    if len(references) > 1:
        ends = _ends(len(references), min(NUM_PATHS, len(references) // 2), seed)

        def walk() -> list[list[str]]:
            paths = torch.cat([lerp(means[a], means[b], STEPS) for a, b in ends])
            texts = space.decode(paths, max_new_tokens=limit)
            return [texts[start : start + STEPS] for start in range(0, len(texts), STEPS)]

        figures |= _walks(generated.get("walks", walk))
    return figures


def _reconstruction(hypotheses: Sequence[str], references: Sequence[str]) -> dict[str, Figure]:
    of = f"the first {len(references)} sentences, decoded greedily from their posterior means"
    bleu, error = corpus_bleu(hypotheses, references)
    share, share_error = ratio_and_standard_error(*token_accuracy(hypotheses, references))
    return {
        "reconstruction_bleu": Figure(
            bleu, f"corpus BLEU-4 (sacrebleu, the text's own words), 0 to 100, of {of}", error, 100
        ),
        "exact_match": mean_figure(
            exact_match(hypotheses, references), f"share rebuilt word for word, of {of}", cap=1.0
        ),
        "token_accuracy": Figure(
            share,
            f"share of positions with the right token, EOS and excess length included, of {of}",
            share_error,
            1.0,
        ),
    }


def _samples(samples: Sequence[str], data: Sequence[str], limit: int) -> dict[str, Figure]:
    of = f"{len(samples)} samples, z from the prior and words from p(x|z), to {limit} tokens"
    lengths = length_distribution(samples, data)
    figures = {
        "sample_length": _pair(lengths.samples_mean, f"mean words of {of}"),
        "sample_length_difference": _pair(
            lengths.difference, f"mean words of {of}, less that of the data"
        ),
        "sample_length_distance": _pair(
            lengths.total_variation,
            f"total variation between the lengths of {of} and of the data, 0 to 1; as many real "
            f"sentences give {lengths.noise_floor:.3f} by chance",
            cap=1.0,
        ),
    }
    for n in (1, 2):
        definition = f"different {n}-grams over all {n}-grams of {of}"
        if max(len(sample.split()) for sample in samples) < n:
            reason = f"no sample has {n} words"
            figures[f"distinct_{n}"] = Figure(None, definition, cap=1.0, reason=reason)
        else:
            figures[f"distinct_{n}"] = _pair(distinct_n(samples, n), definition, cap=1.0)
    if len(samples) > 1:
        figures["self_bleu"] = mean_figure(
            self_bleu(samples),
            f"BLEU-3 of a sample with all others as references, 0 to 100, lower is more varied: "
            f"{of}",
            cap=100.0,
        )
    return figures | _trigram_figures(samples, data, of)


def _trigram_figures(samples: Sequence[str], data: Sequence[str], of: str) -> dict[str, Figure]:
    """Perplexities both ways; real text in the place of the samples beside each of them.

    The even sentences of the data are read, the odd ones scored, by one vocabulary.
    """
    read, scored = data[::2], data[1::2]
    words = {word for text in data for word in text.split()}
    model = "an interpolated trigram, per word and EOS"
    figures = {
        "forward_perplexity": _pair(
            forward_perplexity(samples, read, vocabulary=words),
            f"perplexity under {model}, fitted to {len(read)} sentences of this data, of {of}",
        )
    }
    if not scored:
        return figures
    few = min(len(read), len(samples))  # as many on both sides: a trigram of more text knows more
    words |= {word for text in samples for word in text.split()}
    return figures | {
        "real_forward_perplexity": _pair(
            real_perplexity(samples, data),
            f"perplexity under {model}, fitted to {len(read)} sentences of this data, of its "
            "other sentences: what samples as good as real text reach in forward_perplexity",
        ),
        "reverse_perplexity": _pair(
            reverse_perplexity(samples[:few], scored, vocabulary=words),
            f"perplexity of {len(scored)} sentences of this data under {model}, fitted to the "
            f"first {few} of {of}",
        ),
        "real_reverse_perplexity": _pair(
            real_perplexity(samples, data, read=few),
            f"perplexity of {len(scored)} sentences of this data under {model}, fitted to {few} "
            "of its other sentences: what samples as good as real text reach in "
            "reverse_perplexity",
        ),
    }


def _walks(paths: Sequence[Sequence[str]]) -> dict[str, Figure]:
    of = (
        f"{len(paths)} straight walks of {STEPS} sentences between posterior means (a measure of "
        "ours)"
    )
    smooth = interpolation_smoothness(paths)
    figures = {
        "walk_step": mean_figure(
            smooth.step, f"word edits between neighbours, over the longer's words, 0 to 1: {of}"
        ),
        "walk_moving": mean_figure(
            smooth.moving, f"share on which any word changes: {of}", cap=1.0
        ),
    }
    still = None if len(smooth.monotonicity) else "no word changes on any of them"
    for name, values, definition in (
        (
            "walk_largest_step",
            smooth.largest_share,
            f"edits of the largest step over all edits; {1 / (STEPS - 1):.2f} is perfectly even: "
            f"{of}, those that move",
        ),
        (
            "walk_monotonicity",
            smooth.monotonicity,
            f"share of steps after which the end is no farther: {of}, those that move",
        ),
    ):
        if still is None:
            figures[name] = mean_figure(values, definition, cap=1.0)
        else:
            figures[name] = Figure(None, definition, cap=1.0, reason=still)
    return figures


def _most_tokens(model: Any, longest: int) -> int:
    """Tokens to write at most: beyond the longest sentence, as far as the decoder has positions."""
    limit, config = 2 * longest + 16, model.config.decoder
    positions = getattr(config, "max_position_embeddings", None)
    if positions is None or getattr(config, "rope_parameters", None) is not None:
        return limit
    return min(limit, positions - model.injection.num_prefix_tokens)


def _pair(pair: tuple[float, float | None], definition: str, *, cap: float | None = None) -> Figure:
    """(value, standard error) as a figure."""
    return Figure(pair[0], definition, pair[1], cap)


def _ends(count: int, num_paths: int, seed: int) -> list[tuple[int, int]]:
    """Pairs of different sentences, each in one pair at most."""
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(count, generator=generator)[: 2 * num_paths].tolist()
    return list(zip(order[::2], order[1::2], strict=True))
