"""LinearVAEConfig: the configuration of the linear VAE."""

import math
from typing import Literal

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig


@strict
class LinearVAEConfig(PreTrainedConfig):
    """Configuration of LinearVAEModel, p(x|z) = N(Wz + mu, sigma2 I) and q(z|x) = N(V(x - mu), D).

    Args:
        input_size: D, numbers of one x.
        latent_size: Z.
        sigma2: variance of the observation noise; where it is learned, what it starts at.
        learn_sigma2: make the variance a parameter.
        kl_weight: beta of the model's own loss.
        loss_normalization: the loss is divided by "token"s (here the numbers of x that are scored)
            or by "sequence"s (vectors x).
        analytic_elbo: the reconstruction term is its expectation under q in closed form, in
            training and in `eval()`, and no noise is drawn; otherwise it is taken at one sample, as
            in SeqVAEModel.

    Raises:
        A StrictDataclassError that names the field, what came and what is allowed.
    """

    model_type = "linear_vae"

    input_size: int = 30
    latent_size: int = 12
    sigma2: float | int = 1.0
    learn_sigma2: bool = False
    kl_weight: float | int = 1.0
    loss_normalization: Literal["token", "sequence"] = "token"
    analytic_elbo: bool = False

    def validate_numbers(self):
        """Sizes and the variance are positive, beta is not negative."""
        for name in ("input_size", "latent_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}.")
        if self.latent_size > self.input_size:
            raise ValueError(
                f"latent_size must be at most input_size ({self.input_size}), got "
                f"{self.latent_size}: a linear decoder has no use for more."
            )
        if not (math.isfinite(self.sigma2) and self.sigma2 > 0):
            raise ValueError(f"sigma2 must be finite and positive, got {self.sigma2}.")
        if not (math.isfinite(self.kl_weight) and self.kl_weight >= 0):
            raise ValueError(f"kl_weight must be finite and not negative, got {self.kl_weight}.")
