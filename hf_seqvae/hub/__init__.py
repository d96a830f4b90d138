"""The way to the Hub: a complete folder, its card, and one commit that is all or nothing."""

from hf_seqvae.hub.bundle import MAX_SHARD_SIZE, make_bundle
from hf_seqvae.hub.errors import HubError
from hf_seqvae.hub.publish import Publication, PublishedFile, publish

__all__ = [
    "MAX_SHARD_SIZE",
    "HubError",
    "Publication",
    "PublishedFile",
    "make_bundle",
    "publish",
]
