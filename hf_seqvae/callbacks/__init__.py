"""For any loop: early warnings of collapse (a judge and its two ears), and a beta schedule."""

from hf_seqvae.callbacks.callback import CollapseCallback
from hf_seqvae.callbacks.kl_schedule import KLScheduleCallback
from hf_seqvae.callbacks.watch import CollapseWatch, Observation, settling
from hf_seqvae.callbacks.watcher import CollapseWatcher

__all__ = [
    "CollapseCallback",
    "CollapseWatch",
    "CollapseWatcher",
    "KLScheduleCallback",
    "Observation",
    "settling",
]
