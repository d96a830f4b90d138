"""Text -> token ids -> batches: sources, tokenizers, length buckets, streams and padding."""

from hf_seqvae.data.batching import ZERO_WEIGHT_ROW, BucketBatchSampler, padding_share
from hf_seqvae.data.collate import Collator
from hf_seqvae.data.encoding import TextEncoder, encode_texts
from hf_seqvae.data.loading import (
    ArrowRows,
    BatchLoader,
    build_loader,
    build_stream_loader,
    indexed,
)
from hf_seqvae.data.sources import load_splits
from hf_seqvae.data.streaming import StreamingBatches
from hf_seqvae.data.tokenised import row_lengths, tokenize
from hf_seqvae.data.tokenization import build_tokenizer, load_tokenizer, tokenizer_from_words

__all__ = [
    "ZERO_WEIGHT_ROW",
    "ArrowRows",
    "BatchLoader",
    "BucketBatchSampler",
    "Collator",
    "StreamingBatches",
    "TextEncoder",
    "build_loader",
    "build_stream_loader",
    "build_tokenizer",
    "encode_texts",
    "indexed",
    "load_splits",
    "load_tokenizer",
    "padding_share",
    "row_lengths",
    "tokenize",
    "tokenizer_from_words",
]
