"""Injection: how the decoder reads z (B, Z).

    state    c0 = W z, h0 = tanh(c0), for every LSTM layer   (LSTM decoders)
    concat   z beside the input of every step                (LSTM decoders)
    add      W z added to the input of every step            (any decoder)
    prefix   W z as `num_prefix_tokens` inputs before the text (any decoder)
    output   z beside every state that the output layer reads (LSTM decoders)

The literature's decoder is ("state", "concat"): He et al., arXiv 1901.05534. `prefix` and `add` are
the embedding-level forms of Li et al. (Optimus), arXiv 2004.04092. `output` is the skip connection
of Dieng et al. (skip-VAE), arXiv 1807.04863, to the output layer alone: logits = W [dropout(h); z].
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

INJECTIONS = ("state", "concat", "add", "prefix", "output")
# "output" too: a foreign output layer has no room for z, and may be tied or followed by more
LSTM_ONLY_INJECTIONS = ("state", "concat", "output")


class Injected(NamedTuple):
    """What the decoder is given; a field is None where its injection is not chosen."""

    initial_hidden: Tensor | None = None  # (layers, B, H)
    initial_cell: Tensor | None = None  # (layers, B, H)
    conditioning: Tensor | None = None  # (B, Z)
    shift: Tensor | None = None  # (B, 1, E)
    prefix: Tensor | None = None  # (B, K, E)
    output_conditioning: Tensor | None = None  # (B, Z)


class LatentInjection(nn.Module):
    """The linear maps from z to what the decoder reads.

    Args:
        injections: names out of INJECTIONS.
        latent_size: Z.
        embedding_size: E, the width of the decoder's inputs.
        num_prefix_tokens: K, for "prefix".
        state_size: (layers, H) of the decoder's cells, for "state".
    """

    def __init__(
        self,
        injections: tuple[str, ...],
        latent_size: int,
        *,
        embedding_size: int,
        num_prefix_tokens: int = 1,
        state_size: tuple[int, int] | None = None,
    ):
        super().__init__()
        self.concat, self.output = "concat" in injections, "output" in injections
        self.state_size = state_size
        self.num_prefix_tokens = num_prefix_tokens if "prefix" in injections else 0
        self.to_state = self.to_embedding = self.to_prefix = None
        if "state" in injections:
            if state_size is None:
                raise ValueError('"state" needs an LSTM decoder; use "add" or "prefix" here.')
            self.to_state = nn.Linear(latent_size, state_size[0] * state_size[1], bias=False)
        if "add" in injections:
            self.to_embedding = nn.Linear(latent_size, embedding_size, bias=False)
        if "prefix" in injections:
            self.to_prefix = nn.Linear(latent_size, num_prefix_tokens * embedding_size)

    def forward(self, latents: Tensor, *, at_start: bool) -> Injected:
        """z (B, Z) -> Injected; state and prefix only `at_start`, before any token is cached."""
        hidden = cell = prefix = None
        if at_start and self.to_state is not None:
            cell = (
                self.to_state(latents).unflatten(-1, self.state_size).transpose(0, 1).contiguous()
            )
            hidden = torch.tanh(cell)
        if at_start and self.to_prefix is not None:
            prefix = self.to_prefix(latents).unflatten(-1, (self.num_prefix_tokens, -1))
        return Injected(
            initial_hidden=hidden,
            initial_cell=cell,
            conditioning=latents if self.concat else None,
            shift=None if self.to_embedding is None else self.to_embedding(latents)[:, None],
            prefix=prefix,
            output_conditioning=latents if self.output else None,
        )
