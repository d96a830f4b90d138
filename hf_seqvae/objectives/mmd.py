"""MMD: how far the latents of a batch are, together, from the prior.

Source: Zhao et al. (InfoVAE), arXiv 1706.02262.
Departure: they compare with samples of the prior; under N(0, I) and a Gaussian kernel the
expectations are known, so none are drawn.
"""

import torch
from torch import Tensor


def mmd_to_standard_normal(latents: Tensor) -> Tensor:
    """Squared maximum mean discrepancy between latents (N, Z) and N(0, I), an unbiased scalar.

    The kernel is k(z, z') = exp(-||z - z'||^2 / (2 Z)), whose width is that of the prior: there the
    mean squared distance is 2 Z. With fewer than two latents there is no pair to compare, and it
    is 0.

        mean of k(z_i, z_j) over i != j  -  2 mean of E_p k(z_i, .)  +  E_pp k
    """
    count, size = latents.shape
    latents = latents.to(torch.promote_types(latents.dtype, torch.float32))
    if count < 2:
        return latents.sum() * 0.0
    squared = latents.square().sum(dim=1)  # (N,)
    distances = squared[:, None] + squared[None] - 2.0 * latents @ latents.T  # (N, N)
    pairs = torch.exp(-distances.clamp(min=0.0) / (2.0 * size))
    pairs = pairs.sum() - pairs.diagonal().sum()
    # Gaussian integrals: N(0, I) widens the kernel's variance Z to Z + 1 once, to Z + 2 twice
    to_prior = (size / (size + 1.0)) ** (size / 2) * torch.exp(-squared / (2.0 * (size + 1.0)))
    of_prior = (size / (size + 2.0)) ** (size / 2)
    return pairs / (count * (count - 1)) - 2.0 * to_prior.mean() + of_prior
