"""Cross entropy behind a linear output layer, without ever holding the logits of all positions.

A block of positions at a time: logits, their nll and, while the block's probabilities are there,
the gradients, so that nothing of size (N, V) waits for the backward pass.
"""

from typing import Any, TypeGuard

import torch
from torch import Tensor, nn

POSITIONS_AT_ONCE = 352  # by training/benchmarks/steps.py: fewer starve the matrix products


def is_plain_linear(layer: nn.Module) -> TypeGuard[nn.Linear]:
    """Whether to call the layer is F.linear and nothing else: no adapter, shard or hook."""
    return type(layer) is nn.Linear and not (
        layer._forward_hooks or layer._forward_pre_hooks or "forward" in vars(layer)
    )


def linear_cross_entropy(
    features: Tensor, weight: Tensor, targets: Tensor, *, bias: Tensor | None = None
) -> Tensor:
    """-log p of each target in nats, (N,), in float32 or, where the features are, float64.

    Equal to `F.cross_entropy(F.linear(features, weight, bias), targets, reduction="none")`. Under
    autocast the matrix products are in its type; log-sum-exp and gradients of the weight are
    summed in float32.
    Source of gradients made in the forward pass: Hsu et al., arXiv 2410.10989.

    Args:
        features: (N, H).
        weight: the output layer's, (V, H).
        targets: ids below V, (N,).
        bias: the output layer's, (V,).
    """
    device = features.device.type
    dtype = weight.dtype
    if torch.is_autocast_enabled(device):
        dtype = torch.get_autocast_dtype(device)
    if not torch.is_grad_enabled():
        return _score(features, weight, bias, targets, dtype, (False, False, False))[0]
    nll: Any = _LinearCrossEntropy.apply(features, weight, bias, targets, dtype)
    return nll


class _LinearCrossEntropy(torch.autograd.Function):
    """Gradients for an upstream of ones wait for the backward pass, which scales them.

    Positions of unequal upstream gradients, and a second backward pass, are scored once more.
    """

    @staticmethod
    def forward(ctx: Any, features, weight, bias, targets, dtype) -> Tensor:
        """As `linear_cross_entropy`, with products in `dtype`."""
        ctx.save_for_backward(features, weight, bias, targets)
        ctx.dtype, ctx.wanted = dtype, ctx.needs_input_grad[:3]
        nll, ctx.gradients = _score(features, weight, bias, targets, dtype, ctx.wanted)
        return nll

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        """Upstream gradients (N,) -> those of features, weight and bias."""
        if torch.is_grad_enabled():
            raise RuntimeError(
                "linear_cross_entropy has a first derivative only, got create_graph=True. Call the "
                "model with return_logits=True: its loss can be differentiated again."
            )
        gradients, ctx.gradients = ctx.gradients, None  # scaled in place: good for one pass
        features, weight, bias, targets = ctx.saved_tensors
        if gradients and len(upstream) > 0 and bool((upstream == upstream[0]).all()):
            gradients = [g if g is None else g.mul_(upstream[0]) for g in gradients]
        else:
            _, gradients = _score(features, weight, bias, targets, ctx.dtype, ctx.wanted, upstream)
        found = [
            g if g is None else g.to(value.dtype)
            for g, value in zip(gradients, (features, weight, bias), strict=True)
        ]
        return *found, None, None


def _score(
    features: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    targets: Tensor,
    dtype: torch.dtype,
    wanted: tuple[bool, ...],
    upstream: Tensor | None = None,
) -> tuple[Tensor, list[Tensor | None]]:
    """nll (N,) and the wanted gradients of its sum, weighted by `upstream` (N,), block by block."""
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    with torch.autocast(features.device.type, enabled=False):
        matrix = weight.to(dtype)
        nll = features.new_empty(len(features), dtype=wide)
        of_features = torch.empty_like(features) if wanted[0] else None
        of_weight = torch.zeros_like(weight, dtype=wide) if wanted[1] else None
        of_bias = torch.zeros_like(bias, dtype=wide) if bias is not None and wanted[2] else None
        # what every block is written into: fresh memory costs more than the passes over it
        shape = (min(len(features), POSITIONS_AT_ONCE), len(weight))
        products = features.new_empty(shape, dtype=dtype)
        wide_scores = products if dtype == wide else features.new_empty(shape, dtype=wide)
        shares = features.new_empty(shape, dtype=wide)
        part = torch.empty_like(matrix) if wanted[1] and dtype != wide else None
        for start in range(0, len(features), POSITIONS_AT_ONCE):
            block = slice(start, start + POSITIONS_AT_ONCE)
            inputs, target = features[block].to(dtype), targets[block, None]
            count = len(inputs)
            logits = torch.mm(inputs, matrix.t(), out=products[:count])
            scores = logits if dtype == wide else wide_scores[:count].copy_(logits)
            if bias is not None:
                scores += bias
            softmax = torch.softmax(scores, dim=1, out=shares[:count])
            # log sum exp: the largest score less the log of its probability, never below 1 / V
            largest, most = (values.amax(dim=1, keepdim=True) for values in (scores, softmax))
            nll[block] = (largest - scores.gather(1, target) - most.log()).squeeze(1)
            if not any(wanted):
                continue
            # d nll / d logits = softmax - one-hot
            softmax.scatter_add_(1, target, softmax.new_full(target.shape, -1.0))
            if upstream is not None:
                softmax *= upstream[block, None]
            if of_bias is not None:
                of_bias += softmax.sum(dim=0)
            slopes = softmax if dtype == wide else logits.copy_(softmax)
            if of_features is not None:
                of_features[block] = slopes @ matrix
            if of_weight is not None and part is None:
                of_weight.addmm_(slopes.t(), inputs)
            elif of_weight is not None:
                of_weight += torch.mm(slopes.t(), inputs, out=part)
    return nll, [of_features, of_weight, of_bias]
