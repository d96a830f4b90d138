"""LinearVAEModel: a VAE whose likelihood, posterior and optimum are known in closed form.

Source: Lucas, Tucker, Grosse and Norouzi, arXiv 1911.02469.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers import initialization as init

from hf_seqvae.model.outputs import SeqVAEOutput
from hf_seqvae.model.posterior import DiagonalGaussian
from hf_seqvae.model.scoring import IGNORED, negative_elbo
from hf_seqvae.oracles.configuration_linear_vae import LinearVAEConfig
from hf_seqvae.oracles.linear_gaussian import LinearVAEOptimum


class LinearVAEModel(PreTrainedModel):
    """p(x|z) = N(Wz + mu, sigma2 I), q(z|x) = N(V(x - mu), D): output and protocol of SeqVAEModel.

    Trained by whatever trains a SeqVAEModel; a "token" is here one number of x.
    """

    config: LinearVAEConfig
    base_model_prefix = "linear_vae"
    main_input_name = "input_values"

    def __init__(self, config: LinearVAEConfig):
        super().__init__(config)
        self.mean = nn.Parameter(torch.empty(config.input_size))
        self.encoder = nn.Linear(config.input_size, config.latent_size, bias=False)
        self.decoder = nn.Linear(config.latent_size, config.input_size, bias=False)
        self.posterior_logvar = nn.Parameter(torch.empty(config.latent_size))
        self.log_sigma2 = nn.Parameter(torch.empty(())) if config.learn_sigma2 else None
        # a stock Trainer counts labels: a loss per vector must not be divided by its count
        self.accepts_loss_kwargs = config.loss_normalization == "token"
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Linear):
            # away from the origin, which is a saddle of the ELBO
            init.normal_(module.weight, std=self.config.input_size**-0.5)
        elif isinstance(module, LinearVAEModel):
            init.zeros_(module.mean)
            init.zeros_(module.posterior_logvar)
            if module.log_sigma2 is not None:
                init.constant_(module.log_sigma2, math.log(self.config.sigma2))

    @property
    def sigma2(self) -> Tensor:
        """Variance of the observation noise, a scalar."""
        if self.log_sigma2 is not None:
            return self.log_sigma2.exp()
        return self.mean.new_tensor(self.config.sigma2)

    # -- the estimators' protocol

    def posterior(self, batch: Mapping[str, Tensor]) -> DiagonalGaussian:
        """q(z|x) of a batch with input_values (B, D)."""
        mean = self.encoder(batch["input_values"] - self.mean)
        return DiagonalGaussian(mean, self.posterior_logvar.expand_as(mean))

    def prior(self) -> DiagonalGaussian:
        """p(z) = N(0, I), over latents (Z,)."""
        zeros = torch.zeros_like(self.posterior_logvar)
        return DiagonalGaussian(zeros, zeros)

    def log_likelihood(self, batch: Mapping[str, Tensor], latents: Tensor) -> Tensor:
        """log p(x|z) in nats of the targets (B, D) under latents (S, B, Z): (S, B)."""
        target = _target(batch)
        if latents.dim() != 3 or latents.shape[1] != len(target):
            raise ValueError(
                f"latents must be (S, {len(target)}, {self.config.latent_size}) beside targets "
                f"{tuple(target.shape)}, got {tuple(latents.shape)}."
            )
        return -self._nll(target, latents)

    # -- training

    def forward(
        self,
        input_values: Tensor | None = None,
        labels: Tensor | None = None,
        latents: Tensor | None = None,
        sample_posterior: bool | None = None,
        kl_weight: float | Tensor | None = None,
        num_items_in_batch: int | Tensor | None = None,
        **kwargs: Any,
    ) -> SeqVAEOutput:
        """Encodes vectors (or takes latents) and scores the targets.

        Args:
            input_values: x, (B, D).
            labels: the target, (B, D), default x; numbers equal to -100 are not scored.
            latents: (B, Z) in place of x; then there is neither KL nor loss.
            sample_posterior: sample z or take the posterior mean; default: sample in train(). It
                has no part in an analytic ELBO.
            kl_weight: beta in place of config.kl_weight.
            num_items_in_batch: what the loss is divided by, in units of config.loss_normalization;
                default: those of this batch.
            kwargs: not read.
        """
        target = input_values if labels is None else labels
        if (input_values is None) == (latents is None):
            raise ValueError("give either input_values or latents, not both.")
        if target is None:
            raise ValueError("give labels beside latents: there is nothing to score.")
        num_tokens = (target != IGNORED).sum(dim=1)
        if latents is not None:
            return SeqVAEOutput(
                reconstruction_nll=self._nll(target, latents),
                num_tokens=num_tokens,
                latents=latents,
            )
        assert input_values is not None
        q = self.posterior({"input_values": input_values})
        sampled = self.training if sample_posterior is None else sample_posterior
        if self.config.analytic_elbo:
            latents, nll = q.mean, self._expected_nll(target, q)
        else:
            latents = q.rsample(1)[0] if sampled else q.mean
            nll = self._nll(target, latents)
        kl = q.kl()
        loss = negative_elbo(
            nll,
            kl,
            num_tokens,
            kl_weight=self.config.kl_weight if kl_weight is None else kl_weight,
            normalization=self.config.loss_normalization,
            num_items=num_items_in_batch,
        )
        return SeqVAEOutput(
            loss=loss,
            reconstruction_nll=nll,
            kl=kl,
            num_tokens=num_tokens,
            posterior_mean=q.mean,
            posterior_logvar=q.logvar,
            latents=latents,
        )

    # -- exact quantities

    def expected_reconstruction_nll(self, batch: Mapping[str, Tensor]) -> Tensor:
        """E_q[-log p(x|z)] in closed form, in nats: (B,)."""
        return self._expected_nll(_target(batch), self.posterior(batch))

    @torch.no_grad()
    def load_optimum(self, optimum: LinearVAEOptimum, mean: Tensor | None = None) -> None:
        """Writes a closed-form optimum into the weights.

        Args:
            optimum: of the same sizes and sigma2; a learned sigma2 is set to its own.
            mean: of the data, (D,); None for zero.
        """
        if self.log_sigma2 is None and not math.isclose(self.config.sigma2, optimum.sigma2):
            raise ValueError(
                f"the optimum is that of sigma2={optimum.sigma2}, and config.sigma2 is "
                f"{self.config.sigma2}. Make the model with that sigma2."
            )
        if optimum.decoder_weights.shape != self.decoder.weight.shape:
            raise ValueError(
                f"the optimum has W of {tuple(optimum.decoder_weights.shape)} (D, Z), and the "
                f"model of {tuple(self.decoder.weight.shape)}."
            )
        self.decoder.weight.copy_(optimum.decoder_weights)
        self.encoder.weight.copy_(optimum.encoder_weights)
        self.posterior_logvar.copy_(optimum.posterior_variance.log())
        self.mean.copy_(torch.zeros_like(self.mean) if mean is None else mean)
        if self.log_sigma2 is not None:
            self.log_sigma2.fill_(math.log(optimum.sigma2))

    def _nll(self, target: Tensor, latents: Tensor) -> Tensor:
        """-log p of targets (B, D) under latents (..., B, Z): (..., B)."""
        squared = (target - self.mean - self.decoder(latents)).square()
        return self._gaussian_nll(squared, target != IGNORED)

    def _expected_nll(self, target: Tensor, q: DiagonalGaussian) -> Tensor:
        """E_q[-log p] of targets (B, D): (B,)."""
        # E(x_d - mu_d - w_d z)^2 = (x_d - mu_d - w_d E z)^2 + sum_i w_di^2 Var z_i
        squared = (target - self.mean - self.decoder(q.mean)).square()
        spread = torch.exp(q.logvar) @ self.decoder.weight.square().T  # (B, D)
        return self._gaussian_nll(squared + spread, target != IGNORED)

    def _gaussian_nll(self, squared: Tensor, scored: Tensor) -> Tensor:
        """-log N(x; ., sigma2) summed over the scored numbers, from squared distances."""
        squared = squared.masked_fill(~scored, 0.0).sum(-1)
        log_volume = scored.sum(-1) * torch.log(2.0 * math.pi * self.sigma2)
        return 0.5 * (squared / self.sigma2 + log_volume)


class VectorCollator:
    """Rows {"input_values", "labels"} of numbers -> tensors (B, D) of the default dtype."""

    columns = ("input_values", "labels")

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
        """`input_values` and `labels`, (B, D)."""
        dtype = torch.get_default_dtype()
        return {
            name: torch.from_numpy(np.stack([np.asarray(row[name]) for row in rows])).to(dtype)
            for name in self.columns
        }


def _target(batch: Mapping[str, Tensor]) -> Tensor:
    return batch["labels"] if "labels" in batch else batch["input_values"]
