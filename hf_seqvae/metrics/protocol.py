"""What an estimator asks of a model: a posterior, a prior and a likelihood, never a class."""

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor


class Posterior(Protocol):
    """What an estimator asks of q(z|x), and of p(z) without the batch axis."""

    @property
    def mean(self) -> Tensor:
        """Means, (B, Z)."""
        ...

    @property
    def logvar(self) -> Tensor:
        """Logarithms of the variances, (B, Z)."""
        ...

    def rsample(self, num_samples: int, *, generator: torch.Generator | None = None) -> Tensor:
        """Reparameterised samples, (S, B, Z)."""
        ...

    def log_prob(self, latents: Tensor) -> Tensor:
        """Log density of latents (..., B, Z), in nats, (..., B)."""
        ...

    def kl(self) -> Tensor:
        """KL to the prior per latent dimension, in nats, (B, Z)."""
        ...


@runtime_checkable
class LatentVariableModel(Protocol):
    """A model of x through z; a linear Gaussian model with known answers fits it too."""

    def posterior(self, batch: Mapping[str, Tensor]) -> Any:
        """The q(z|x) of a batch: a `Posterior`."""
        ...

    def prior(self) -> Any:
        """The p(z): a `Posterior` with event shape (Z,)."""
        ...

    def log_likelihood(self, batch: Mapping[str, Tensor], latents: Tensor) -> Tensor:
        """log p(x|z) in nats, EOS included, for latents (S, B, Z): (S, B)."""
        ...


@runtime_checkable
class SequenceModel(LatentVariableModel, Protocol):
    """A latent variable model of sequences, which tells what each position adds."""

    def position_log_likelihood(
        self, batch: Mapping[str, Tensor], latents: Tensor
    ) -> tuple[Tensor, Tensor]:
        """At each label (B, L) under latents (S, B, Z), in nats: two tensors (S, B, L).

        The log-probability of the label given z and what stands before it, and that of EOS at the
        same place; 0 at padding. The former adds up to `log_likelihood`.
        """
        ...


@runtime_checkable
class LanguageModel(Protocol):
    """A model without latents, whose likelihood is exact."""

    def log_prob(self, batch: Mapping[str, Tensor]) -> Tensor:
        """log p(x) in nats, EOS included, (B,)."""
        ...


def has_exact_likelihood(model: Any) -> bool:
    """Whether it is a `LanguageModel` without latents."""
    return isinstance(model, LanguageModel) and not isinstance(model, LatentVariableModel)
