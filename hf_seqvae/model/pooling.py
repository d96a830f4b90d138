"""Pooling: encoder features (B, T, H) and a mask -> one vector a sentence. The paper's idea.

Every operator is a pure function of `hidden (B, T, H)` and `mask (B, T)` (1 = counts), whatever the
side of the padding, and writes into neither. Reading all states through a pooling operator instead
of the last state alone keeps the features of different sentences apart, which is what the posterior
needs.

Source: Long, Cao and Cheung, arXiv 1911.03976 (pooling, dispersion). `abs_max` keeps the sign of
the coordinate of largest magnitude; `attention` is a learned weighting and no operator of that
paper.
"""

import torch
from torch import Tensor, nn


def _checked(hidden: Tensor, mask: Tensor) -> Tensor:
    """The mask as booleans (B, T); raises where a row has nothing to pool."""
    if mask.shape != hidden.shape[:2]:
        raise ValueError(
            f"mask must be (B, T) = {tuple(hidden.shape[:2])} beside hidden {tuple(hidden.shape)}, "
            f"got {tuple(mask.shape)}."
        )
    mask = mask.bool()
    if not torch.compiler.is_compiling():
        empty = ~mask.any(dim=1)
        if bool(empty.any()):
            row = int(empty.nonzero()[0])
            raise ValueError(
                f"mask has an empty row ({row}): every sequence needs a token to pool. Drop empty "
                "texts first, or set pool_special_tokens=True if only special tokens are left."
            )
    return mask


def _zero_padding(hidden: Tensor, mask: Tensor) -> Tensor:
    """hidden with zeros at padding, which may hold inf or NaN, in float32 or wider."""
    hidden = hidden if hidden.dtype == torch.float64 else hidden.float()
    return hidden.masked_fill(~mask[..., None], 0.0)


def _take(hidden: Tensor, position: Tensor) -> Tensor:
    """hidden (B, T, H) at one position a row (B,) -> (B, H)."""
    return hidden.gather(1, position[:, None, None].expand(-1, 1, hidden.shape[-1])).squeeze(1)


def last_pool(hidden: Tensor, mask: Tensor) -> Tensor:
    """The feature at the last real token, (B, H)."""
    mask = _checked(hidden, mask)
    return _take(hidden, mask.shape[1] - 1 - mask.flip(1).int().argmax(dim=1))


def first_pool(hidden: Tensor, mask: Tensor) -> Tensor:
    """The feature at the first real token, (B, H)."""
    return _take(hidden, _checked(hidden, mask).int().argmax(dim=1))


def last_pool_both_ways(hidden: Tensor, mask: Tensor) -> Tensor:
    """`last` of an encoder read both ways, (B, H): where each direction has read the whole text.

    The first half of H (forward) at the last real token, the second half (backward) at the first.
    """
    forward, backward = hidden.chunk(2, dim=-1)
    return torch.cat([last_pool(forward, mask), first_pool(backward, mask)], dim=-1)


def mean_pool(hidden: Tensor, mask: Tensor) -> Tensor:
    """The mean over real tokens, (B, H), summed in float32."""
    mask = _checked(hidden, mask)
    total = _zero_padding(hidden, mask).sum(dim=1)
    return (total / mask.sum(dim=1, keepdim=True)).to(hidden.dtype)


def max_pool(hidden: Tensor, mask: Tensor) -> Tensor:
    """The largest value of each coordinate over real tokens, (B, H)."""
    mask = _checked(hidden, mask)
    return hidden.masked_fill(~mask[..., None], float("-inf")).amax(dim=1)


def abs_max_pool(hidden: Tensor, mask: Tensor) -> Tensor:
    """The value of largest magnitude of each coordinate over real tokens, sign kept, (B, H)."""
    mask = _checked(hidden, mask)
    sizes = hidden.detach().abs().masked_fill(~mask[..., None], -1.0)
    # (B, H, T): over its last dimension argmax reads memory in order
    position = sizes.transpose(1, 2).contiguous().argmax(dim=-1)  # (B, H)
    return hidden.gather(1, position[:, None]).squeeze(1)


def mean_max_pool(hidden: Tensor, mask: Tensor) -> Tensor:
    """Mean beside max, (B, 2H)."""
    return torch.cat([mean_pool(hidden, mask), max_pool(hidden, mask)], dim=-1)


class AttentionPool(nn.Module):
    """A learned softmax weighting of the real tokens, (B, H)."""

    def __init__(self, hidden_size: int):
        super().__init__()
        self.score = nn.Linear(hidden_size, 1, bias=False)

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """Features (B, T, H) and mask (B, T) -> (B, H)."""
        mask = _checked(hidden, mask)
        kept = _zero_padding(hidden, mask)
        # zeros, not padding, reach the scores: 0 * NaN would be the gradient of their weight
        scores = self.score(kept.to(hidden.dtype)).squeeze(-1).to(kept.dtype)  # (B, T)
        weights = scores.masked_fill(~mask, float("-inf")).softmax(dim=1)
        return torch.einsum("bt,bth->bh", weights, kept).to(hidden.dtype)


POOLINGS = {
    "last": last_pool,
    "first": first_pool,
    "mean": mean_pool,
    "max": max_pool,
    "abs_max": abs_max_pool,
    "mean_max": mean_max_pool,
    "attention": AttentionPool,
}
