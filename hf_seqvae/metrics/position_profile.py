"""Position profile: what z saves at each token of a sentence, and in its length.

Does the latent hold the sentence or only its first words? The question of Bosc and Vincent, arXiv
2004.07683.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from hf_seqvae.metrics.averages import mean_and_standard_error

IGNORED_LABEL = -100


class Savings(NamedTuple):
    """Nats that a sentence's own latents save against foreign ones; averaged over S samples.

    `words` and `length` add up to `tokens` in every sentence, and that to its swap gap.
    """

    tokens: Tensor  # (B, L), the label at each place from the start of the text, EOS included
    words: Tensor  # (B, L), which word it is where the text goes on
    length: Tensor  # (B,), where the text goes on and where it ends


def savings(own: tuple[Tensor, Tensor], foreign: tuple[Tensor, Tensor], labels: Tensor) -> Savings:
    """What the sentences' own latents save, token by token, in nats.

    log p(label) at a place before the end is log (1 - p(EOS)) + log p(word | no EOS): the first
    part, and log p(EOS) at the end, is what the model says of the length. It is at least log p of
    the label, which holds it finite where p(EOS) rounds to 1 and the text goes on.

    Args:
        own: `position_log_likelihood` at latents of the sentences' own, two tensors (S, B, L).
        foreign: the same at latents of other sentences.
        labels: (B, L), -100 at padding on either side.

    Returns:
        0 behind the end of a text; text that is padded in front is moved to the start.
    """
    real = labels != IGNORED_LABEL  # (B, L)
    is_end = real & (real.flip(1).cumsum(1).flip(1) == 1)
    tokens = torch.zeros(labels.shape, dtype=torch.float64, device=labels.device)
    length = torch.zeros_like(tokens)
    for sign, (labels_log_prob, ends) in ((1.0, own), (-1.0, foreign)):
        labels_log_prob, ends = labels_log_prob.double(), ends.double().clamp(max=0.0)
        goes_on = torch.where(is_end, ends, _log1mexp(ends))
        tokens += sign * labels_log_prob.mean(0)
        length += sign * torch.maximum(goes_on, labels_log_prob).mean(0)
    tokens = tokens.masked_fill(~real, 0.0)
    length = length.masked_fill(~real, 0.0)
    front = real.logical_not().int().argsort(dim=1, stable=True)
    return Savings(
        tokens=tokens.gather(1, front),
        words=(tokens - length).gather(1, front),
        length=length.sum(1),
    )


class PositionProfile(NamedTuple):
    """Averages over the sentences that reach a place, (P,) each."""

    mean: Tensor  # nats
    standard_error: Tensor  # NaN where one sentence or none reaches so far
    count: Tensor  # sentences that do


def position_profile(saved: Tensor, lengths: Tensor) -> PositionProfile:
    """Mean of what is saved at each place, over the sentences that are long enough.

    Args:
        saved: (N, P), the `tokens` or `words` of `savings`.
        lengths: labels of each sentence, EOS included, (N,).
    """
    saved = saved.double()
    reached = torch.arange(saved.shape[1], device=saved.device) < lengths[:, None]  # (N, P)
    count = reached.sum(0)
    total = saved.masked_fill(~reached, 0.0).sum(0)
    mean = total / count.clamp(min=1)
    squares = (saved - mean).square().masked_fill(~reached, 0.0).sum(0)
    variance = torch.where(count > 1, squares / (count - 1).clamp(min=1), math.nan)
    return PositionProfile(mean, (variance / count.clamp(min=1)).sqrt(), count)


def first_words_ratio(saved: Tensor, lengths: Tensor) -> tuple[float | None, float | None]:
    """What the first quarter of a sentence's tokens saves, per token, over what all save per token.

    1 where z helps everywhere alike, 4 where all it saves lies in the first quarter (L in a
    sentence of L < 4 tokens): (ratio of two means over sentences, standard error). A token that the
    quarter cuts counts by its part. None where nothing is saved on average.

    Args:
        saved: (N, P) nats.
        lengths: labels of each sentence, (N,).
    """
    saved = saved.double()
    quarter = lengths.double() / 4  # (N,)
    place = torch.arange(saved.shape[1], device=saved.device)
    early = (saved * (quarter[:, None] - place).clamp(0.0, 1.0)).sum(1) / quarter
    every = saved.sum(1) / lengths
    mean_every, _ = mean_and_standard_error(every)
    if float(mean_every) <= 0:
        return None, None
    ratio = float(early.mean() / mean_every)
    _, error = mean_and_standard_error(early - ratio * every)
    return ratio, None if error is None else float(error / mean_every)


def _log1mexp(log_prob: Tensor) -> Tensor:
    """log(1 - exp(log_prob)) for log_prob <= 0, exact at both ends."""
    near_one = log_prob > -math.log(2.0)
    return torch.where(
        near_one,
        torch.log(-torch.expm1(torch.where(near_one, log_prob, -1.0))),
        torch.log1p(-torch.exp(torch.where(near_one, -1.0, log_prob))),
    )
