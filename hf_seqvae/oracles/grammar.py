"""GrammarModel: the everyday grammar as a model without latents, exact log-probabilities."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from hf_seqvae import everyday
from hf_seqvae.model.scoring import IGNORED


class GrammarModel:
    """log p(x) of everyday sentences by the grammar that wrote them.

    Args:
        tokenizer: of labels; None where batches hold texts.
    """

    def __init__(self, tokenizer: Any = None):
        self.tokenizer = tokenizer

    def log_prob(self, batch: Mapping[str, Any]) -> Tensor:
        """Exact log p(x) in nats, the end included, of a batch with "text" or labels: (B,).

        The end costs nothing: a full stop or a question mark tells it.

        Args:
            batch: "text", B sentences; or labels (B, L), token ids with EOS last.

        Raises:
            ValueError: a sentence is not in the language, or has words the tokenizer does not know.
        """
        texts = batch["text"] if "text" in batch else self._texts(batch["labels"])
        return torch.tensor([everyday.log_prob(text) for text in texts], dtype=torch.float64)

    def entropy(self) -> float:
        """E[-log p(x)], exact, in nats a sentence."""
        return everyday.entropy()

    def _texts(self, labels: Tensor) -> Sequence[str]:
        if self.tokenizer is None:
            raise ValueError("labels are read by a tokenizer: give it to GrammarModel, or texts.")
        real = [row[row != IGNORED].tolist() for row in labels]
        return [text.strip() for text in self.tokenizer.batch_decode([ids[:-1] for ids in real])]
