"""The cache layer that carries an LSTM's state, for transformers' generate()."""

from typing import Any

from torch import Tensor
from transformers.cache_utils import STATIC_LAYER_TYPE_MAPPING, Cache, CacheLayerMixin


class SeqVAELSTMCacheLayer(CacheLayerMixin):
    """The state of one LSTM layer: h in `keys`, c in `values`, (B, H) each, whatever the length."""

    _layer_type = "seqvae_lstm"  # DynamicCache(config=...) finds this class by it

    keys: Any  # tensors (B, H) once something was read
    values: Any

    def __init__(self, **kwargs):
        super().__init__()  # a static cache passes max_cache_len, which a state does not need
        self.cumulative_length = 0

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Remembers where the states live."""
        self.dtype, self.device = key_states.dtype, key_states.device
        self.is_initialized = True

    def update(self, key_states: Tensor, value_states: Tensor, num_tokens: int = 1, **kwargs):
        """Replaces (h, c) by the states after `num_tokens` more tokens."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        self.keys, self.values = key_states, value_states
        self.cumulative_length += num_tokens
        return self.keys, self.values

    def get_seq_length(self) -> int:
        """Tokens read so far."""
        return self.cumulative_length

    def get_max_length(self) -> int:
        """-1: no limit."""
        return -1

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """(length, offset) of a mask over everything read."""
        return self.cumulative_length + query_length, 0

    def batch_repeat_interleave(self, repeats: int) -> None:
        """Repeats each row's state."""
        if self.get_seq_length() > 0:
            self.keys = self.keys.repeat_interleave(repeats, dim=0)
            self.values = self.values.repeat_interleave(repeats, dim=0)

    def batch_select_indices(self, indices: Tensor) -> None:
        """Keeps the states of some rows."""
        if self.get_seq_length() > 0:
            self.keys, self.values = self.keys[indices], self.values[indices]


# transformers fills this table only for subclasses of its own static layer
STATIC_LAYER_TYPE_MAPPING["seqvae_lstm"] = SeqVAELSTMCacheLayer


def own_empty_layers(cache: Cache, num_layers: int) -> None:
    """Gives an empty cache this file's layers.

    The tables that generate() builds caches from are shared by the process, so they may hold the
    class of another copy of this file; a cache made without a config has no layers at all.
    """
    if cache.get_seq_length() == 0:
        cache.layers[:] = [
            layer if type(layer) is SeqVAELSTMCacheLayer else SeqVAELSTMCacheLayer()
            for layer in [*cache.layers, *[None] * (num_layers - len(cache.layers))]
        ]
