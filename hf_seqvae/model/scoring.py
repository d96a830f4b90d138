"""Scoring: labels (B, L) -> what the decoder reads, their nll in nats, and the negative ELBO.

Labels are a text's tokens and one EOS; -100 is padding, on either side.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

IGNORED = -100


def shift_right(labels: Tensor, *, start: int, filler: int) -> Tensor:
    """Labels (B, L) -> decoder inputs (B, L): one place later, the start token before the first."""
    begun = (labels != IGNORED).cumsum(dim=1) > 0
    earlier = torch.cat([torch.zeros_like(begun[:, :1]), begun[:, :-1]], dim=1)
    shifted = torch.cat([torch.full_like(labels[:, :1], start), labels[:, :-1]], dim=1)
    return shifted.masked_fill(shifted == IGNORED, filler).masked_fill(begun & ~earlier, start)


def mask_of_padding_in_front(labels: Tensor) -> Tensor | None:
    """The mask (B, L) of decoder inputs whose labels are padded in front; None where none are.

    Padding behind the text needs no mask: nothing that is scored reads it.
    """
    if not bool((labels[:, :1] == IGNORED).any()):
        return None
    begun = (labels != IGNORED).cumsum(dim=1) > 0
    return (begun | ~begun[:, -1:]).long()  # a row without labels is read whole


def drop_words(decoder_input_ids: Tensor, *, share: float, unknown: int) -> Tensor:
    """Decoder inputs (B, L) with a random `share` replaced; the first of a row never is."""
    dropped = torch.rand(decoder_input_ids.shape, device=decoder_input_ids.device) < share
    is_first = torch.arange(decoder_input_ids.shape[1], device=dropped.device) == 0
    return decoder_input_ids.masked_fill(dropped & ~is_first, unknown)


def nll_from_logits(logits: Tensor, labels: Tensor) -> Tensor:
    """-log p of each row's labels in nats, (B,), from logits (B, L, V)."""
    nll = F.cross_entropy(
        logits.flatten(0, 1).float(), labels.flatten(), ignore_index=IGNORED, reduction="none"
    )
    return nll.view_as(labels).sum(dim=1)  # ignored positions are exact zeros


def nll_from_features(features: Tensor, output_layer: nn.Module, labels: Tensor) -> Tensor:
    """-log p of each row's labels in nats, (B,); logits exist at the N real positions alone."""
    real = labels != IGNORED
    logits = output_layer(features[real])  # (N, V)
    nll = F.cross_entropy(logits.float(), labels[real], reduction="none")
    return nll.new_zeros(labels.shape).masked_scatter(real, nll).sum(dim=1)


def negative_elbo(
    reconstruction_nll: Tensor,
    kl: Tensor,
    num_tokens: Tensor,
    *,
    kl_weight: float | Tensor,
    normalization: str,
    num_items: int | Tensor | None = None,
) -> Tensor:
    """The loss, a scalar: (sum of nll + kl_weight * sum of KL) / num_items.

    Args:
        reconstruction_nll: (B,).
        kl: (B, Z).
        num_tokens: predicted tokens, (B,); a row without any weighs nothing.
        kl_weight: beta.
        normalization: what `num_items` counts, "token"s or "sequence"s.
        num_items: the divisor; default: that count over this batch.
    """
    real = num_tokens > 0
    if num_items is None:
        num_items = (num_tokens if normalization == "token" else real).sum().clamp(min=1)
    kl = kl.sum(dim=1).masked_fill(~real, 0.0)
    return (reconstruction_nll.sum() + kl_weight * kl.sum()) / num_items
