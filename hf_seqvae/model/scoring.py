"""Scoring: labels (B, L) -> what the decoder reads, their nll in nats, and the negative ELBO.

Labels are a text's tokens and one EOS; -100 is padding, on either side.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .linear_cross_entropy import is_plain_linear, linear_cross_entropy

IGNORED = -100
_LOGITS_AT_ONCE = 1 << 21  # 8 MiB in float32


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


def drop_words(
    decoder_input_ids: Tensor, *, share: float, unknown: int, mask: Tensor | None = None
) -> Tensor:
    """Decoder inputs (B, L) with a random `share` replaced; the first of a row never is.

    The first is that of `mask` (B, L), or (B, past + L) behind a cache; default: no padding.
    """
    dropped = torch.rand(decoder_input_ids.shape, device=decoder_input_ids.device) < share
    if mask is None:
        mask = torch.ones_like(decoder_input_ids)
    is_first = (mask.cumsum(dim=1) == 1)[:, -decoder_input_ids.shape[1] :]
    return decoder_input_ids.masked_fill(dropped & ~is_first, unknown)


def nll_from_logits(logits: Tensor, labels: Tensor) -> Tensor:
    """-log p of each row's labels in nats, (B,), from logits (B, L, V)."""
    nll = F.cross_entropy(
        _at_least_float32(logits.flatten(0, 1)),
        labels.flatten(),
        ignore_index=IGNORED,
        reduction="none",
    )
    return nll.view_as(labels).sum(dim=1)  # ignored positions are exact zeros


def nll_from_features(features: Tensor, output_layer: nn.Module, labels: Tensor) -> Tensor:
    """-log p of each row's labels in nats, (B,); logits exist at the N real positions alone.

    They exist for a block of positions at a time; at all N where gradients are wanted through an
    output layer that is more than a weight and a bias.
    """
    real = labels != IGNORED
    in_blocks = torch.is_grad_enabled() and not torch.compiler.is_compiling()
    if in_blocks and is_plain_linear(output_layer):
        weight, bias = output_layer.weight, output_layer.bias
        nll = linear_cross_entropy(features[real], weight, labels[real], bias=bias)
    else:
        nll = torch.cat(
            [
                F.cross_entropy(_at_least_float32(output_layer(block)), targets, reduction="none")
                for block, targets in _blocks(features[real], labels[real], output_layer)
            ]
        )
    return nll.new_zeros(labels.shape).masked_scatter(real, nll).sum(dim=1)


def position_log_probs(
    features: Tensor, output_layer: nn.Module | None, labels: Tensor
) -> tuple[Tensor, Tensor]:
    """log p of each label, and of EOS at the same place, in nats: (B, L) each, 0 at padding.

    Args:
        features: decoder states (B, L, H), or logits (B, L, V) where `output_layer` is None.
        output_layer: states -> logits.
        labels: (B, L); the last one of a row is EOS.
    """
    real = labels != IGNORED
    last = labels.shape[1] - 1 - real.flip(1).int().argmax(dim=1, keepdim=True)  # (B, 1)
    ends = labels.gather(1, last).expand_as(labels)[real]  # (N,)
    if output_layer is None:
        output_layer = nn.Identity()
    of_labels, of_end = [], []
    blocks = _blocks(features[real], torch.stack([labels[real], ends], dim=1), output_layer)
    for block, targets in blocks:
        logits = _at_least_float32(output_layer(block))  # (N, V)
        nll = F.cross_entropy(logits, targets[:, 0], reduction="none")
        chosen = logits.gather(1, targets)  # (N, 2)
        of_labels.append(-nll)
        of_end.append(chosen[:, 1] - (nll + chosen[:, 0]))  # the bracket is log sum exp
    zeros = of_labels[0].new_zeros(labels.shape)
    return (
        zeros.masked_scatter(real, torch.cat(of_labels)),
        zeros.masked_scatter(real, torch.cat(of_end)),
    )


def _blocks(
    features: Tensor, labels: Tensor, output_layer: nn.Module
) -> list[tuple[Tensor, Tensor]]:
    """The N positions in blocks whose logits fit a processor's cache; all at once with gradients.

    What that gains: training/benchmarks/evaluation.py, against a decode that makes all at once.
    """
    if torch.is_grad_enabled():
        return [(features, labels)]
    width = getattr(output_layer, "out_features", features.shape[-1])
    size = max(1, _LOGITS_AT_ONCE // width)
    return list(zip(features.split(size), labels.split(size), strict=True))


def _at_least_float32(logits: Tensor) -> Tensor:
    return logits if logits.dtype == torch.float64 else logits.float()


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
