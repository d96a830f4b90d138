"""Early warnings of collapse for any loop: one judge of figures, and two ears that feed it."""

from hf_seqvae.callbacks.callback import CollapseCallback
from hf_seqvae.callbacks.watch import CollapseWatch, Observation, settling
from hf_seqvae.callbacks.watcher import CollapseWatcher

__all__ = ["CollapseCallback", "CollapseWatch", "CollapseWatcher", "Observation", "settling"]
