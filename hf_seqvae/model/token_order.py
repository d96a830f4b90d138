"""Tokens of a padded batch in another order: padding moved behind them, or read backwards."""

import torch
from torch import Tensor


def take_tokens(values: Tensor, order: Tensor) -> Tensor:
    """Values (B, T, H) reordered along T by order (1 or B, T)."""
    return values.gather(1, order.expand(values.shape[0], -1)[..., None].expand_as(values))


def order_of_tokens(mask: Tensor) -> Tensor | None:
    """Positions (B, T) that bring the real tokens of a mask (B, T) to the front, in their order.

    None where no padding stands before a token.
    """
    mask = mask.bool()
    if not bool((mask[:, 1:] > mask[:, :-1]).any()):
        return None
    return mask.logical_not().int().argsort(dim=1, stable=True)


def reversed_order(num_tokens: int, lengths: Tensor | None, device: torch.device) -> Tensor:
    """Positions (1 or B, T) that reverse the first `lengths` tokens of a row, not its padding."""
    positions = torch.arange(num_tokens, device=device)[None]
    if lengths is None:
        return positions.flip(1)
    lengths = lengths[:, None].to(device)
    return torch.where(positions < lengths, lengths - 1 - positions, positions)
