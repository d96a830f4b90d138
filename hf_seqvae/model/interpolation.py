"""Paths between two latents: the straight line and the arc."""

import torch
from torch import Tensor


def lerp(start: Tensor, end: Tensor, steps: int) -> Tensor:
    """`steps` points on the line from start (Z,) to end (Z,), both included, (steps, Z)."""
    return torch.lerp(start[None], end[None], _weights(start, steps))


def slerp(start: Tensor, end: Tensor, steps: int) -> Tensor:
    """`steps` points from start (Z,) to end (Z,) at even angles, norms on a line, (steps, Z).

    The straight line where no arc is defined: parallel or opposite directions, or a zero latent.
    Source: Shoemake, SIGGRAPH 1985; for latents White, arXiv 1609.04468.
    """
    lengths = torch.stack([start.norm(), end.norm()])
    if lengths.min() == 0:
        return lerp(start, end, steps)
    directions = torch.stack([start / lengths[0], end / lengths[1]])  # (2, Z)
    angle = torch.acos(torch.dot(*directions).clamp(-1.0, 1.0))
    if angle.sin() < 1e-3:  # float32 knows an angle near 0 or pi no better
        return lerp(start, end, steps)
    weights = _weights(start, steps)
    arc = torch.cat([torch.sin((1.0 - weights) * angle), torch.sin(weights * angle)], dim=1)
    points = (arc @ directions) / angle.sin() * torch.lerp(lengths[0], lengths[1], weights)
    return torch.cat([start[None], points[1:-1], end[None]])[:steps]  # the ends without rounding


INTERPOLATIONS = {"lerp": lerp, "slerp": slerp}


def _weights(like: Tensor, steps: int) -> Tensor:
    """0 to 1 in even steps, (steps, 1)."""
    return torch.linspace(0.0, 1.0, steps, device=like.device, dtype=like.dtype)[:, None]
