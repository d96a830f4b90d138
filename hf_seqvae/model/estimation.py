"""What estimators ask of the model: q(z|x), p(z), and log p(x|z) as a whole or token by token."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from .decoding import decode
from .posterior import DiagonalGaussian
from .scoring import mask_of_padding_in_front, position_log_probs


class EstimationMixin:
    """The estimators' protocol of SeqVAEModel; a batch holds input_ids, attention_mask, labels."""

    config: Any
    encoder: Any
    decoder: Any
    injection: Any
    device: Any

    def posterior(self, batch: Mapping[str, Tensor]) -> DiagonalGaussian:
        """q(z|x) of a batch with input_ids and attention_mask (B, T)."""
        encoded = self.encoder(batch["input_ids"], batch.get("attention_mask"))
        return DiagonalGaussian(encoded.posterior_mean, encoded.posterior_logvar)

    def prior(self) -> DiagonalGaussian:
        """p(z) = N(0, I), over latents (Z,)."""
        zeros = torch.zeros(self.config.latent_size, device=self.device)
        return DiagonalGaussian(zeros, zeros)

    def log_likelihood(self, batch: Mapping[str, Tensor], latents: Tensor) -> Tensor:
        """log p(x|z) in nats, EOS included: labels (B, L) under latents (S, B, Z) -> (S, B)."""
        model: Any = self
        latents, labels, (num_samples, num_rows) = self._pairs(batch["labels"], latents)
        output = model(latents=latents, labels=labels, return_logits=False)
        return -output.reconstruction_nll.view(num_samples, num_rows)

    def position_log_likelihood(
        self, batch: Mapping[str, Tensor], latents: Tensor
    ) -> tuple[Tensor, Tensor]:
        """log p of each label (B, L) given z (S, B, Z) and its past, and of EOS there, in nats.

        EOS is each row's last label. Without word dropout, whatever the mode.

        Returns:
            Two tensors (S, B, L), 0 at padding; the first adds up to `log_likelihood`.
        """
        model: Any = self
        latents, labels, shape = self._pairs(batch["labels"], latents)
        decoded = decode(
            self.decoder,
            self.injection,
            self.encoder.checked_latents(latents),
            model.prepare_decoder_input_ids_from_labels(labels),
            traits=model._decoder_traits,
            attention_mask=mask_of_padding_in_front(labels),
            use_cache=False,
        )
        states: Any = decoded.logits if decoded.features is None else decoded.features
        head = None if decoded.features is None else self.decoder.lm_head
        of_labels, of_end = position_log_probs(states, head, labels)
        return of_labels.view(*shape, -1), of_end.view(*shape, -1)

    def _pairs(self, labels: Tensor, latents: Tensor) -> tuple[Tensor, Tensor, tuple[int, int]]:
        """Each sample beside its sentence: latents (S B, Z), labels (S B, L), and (S, B)."""
        if latents.dim() != 3 or latents.shape[1] != len(labels):
            raise ValueError(
                f"latents must be (S, {len(labels)}, {self.config.latent_size}) beside labels "
                f"{tuple(labels.shape)}, got {tuple(latents.shape)}."
            )
        num_samples, num_rows = latents.shape[:2]
        labels = labels.expand(num_samples, -1, -1).flatten(0, 1)
        return latents.flatten(0, 1), labels, (num_samples, num_rows)
