"""Posterior noise keyed by (seed, sentence): the same in any batch, order, chunk and process."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from hf_seqvae.metrics.protocol import Posterior


class RowNoise:
    """A stream of standard normal vectors for each row, which depends on (seed, row) alone.

    Draws follow each other: `draw(2)` and then `draw(3)` give what `draw(5)` gives.

    Args:
        rows: numbers of the sentences in their data set, (B,).
        latent_size: Z.
        seed: 0 or more.
    """

    def __init__(self, rows: Sequence[int], latent_size: int, *, seed: int):
        if seed < 0:
            raise ValueError(f"seed must be 0 or more, got {seed}.")
        if any(row < 0 for row in rows):
            raise ValueError(f"rows must be 0 or more, got {min(rows)}: they number sentences.")
        self.latent_size = latent_size
        # a counter-based generator takes (seed, row) as its key: neighbouring rows share no stream
        self._streams = [
            np.random.Generator(np.random.Philox(key=np.array([seed, row], dtype=np.uint64)))
            for row in rows
        ]

    def draw(self, num_samples: int) -> Tensor:
        """The next `num_samples` vectors of each row, (S, B, Z) in float32."""
        if num_samples < 1:
            raise ValueError(f"num_samples must be 1 or more, got {num_samples}.")
        noise = np.empty((num_samples, len(self._streams), self.latent_size), dtype=np.float32)
        for column, stream in enumerate(self._streams):
            noise[:, column] = stream.standard_normal((num_samples, self.latent_size))
        return torch.from_numpy(noise)


def row_noise(rows: Sequence[int], num_samples: int, latent_size: int, *, seed: int) -> Tensor:
    """Standard normal noise (S, rows, Z) in which each row's numbers depend on (seed, row) alone.

    A sentence that carries its row number meets the same noise in whatever batch, order or process
    it is evaluated, and its first samples stay the same when more are asked for.
    """
    return RowNoise(rows, latent_size, seed=seed).draw(num_samples)


def sample_with_noise(posterior: Posterior, noise: Tensor) -> Tensor:
    """Latents mean + exp(logvar / 2) * noise for noise (S, B, Z): (S, B, Z)."""
    mean, logvar = posterior.mean, posterior.logvar
    if noise.dim() != 3 or noise.shape[1:] != mean.shape:
        raise ValueError(
            f"noise must be (S, {mean.shape[0]}, {mean.shape[1]}), got {tuple(noise.shape)}: "
            "one standard normal vector for each sample and sentence."
        )
    return mean + torch.exp(0.5 * logvar) * noise.to(mean)
