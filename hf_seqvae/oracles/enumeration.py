"""A sequence VAE of two words, whose every quantity follows from enumeration and quadrature.

The vocabulary is a, b and one special token, which begins, ends and pads: all that the decoder
can say is a sentence, and there are seven of two words at most. z has one dimension, so an integral
over it is a sum over a fine grid. The decoder is asked for the next word after each unpadded
prefix, one step at a time; what the model makes of whole padded batches has no part in it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from hf_seqvae.model.configuration_lstm import SeqVAELSTMConfig, SeqVAELSTMEncoderConfig
from hf_seqvae.model.configuration_seqvae import SeqVAEConfig
from hf_seqvae.model.modeling_seqvae import SeqVAEModel

END, A, B = 0, 1, 2
Sentence = tuple[int, ...]
# shortest first; a sentence of two words is cut short by END alone
SENTENCES: tuple[Sentence, ...] = ((), (A,), (B,), (A, A), (A, B), (B, A), (B, B))
LONGEST = 3  # labels of the longest: two words and END

# beyond it lies 1e-38 of the prior; a sum over an even grid is exact to rounding for smooth
# densities that vanish at its ends
_REACH, _NODES = 13.0, 2601


# out of 1,500 the one whose decoder loses most by another sentence's z: 0.9 nats, at an MI of 0.4
_SEED = 1063


def two_word_model(seed: int = _SEED) -> SeqVAEModel:
    """A SeqVAEModel of the two words with one latent, in float64 and `eval()`, of random weights.

    They are wide, so that sentences differ in probability and z matters to each; but for the
    posterior's variance, so that importance weights have one.
    """
    lstm: dict[str, Any] = {"vocab_size": 3, "embedding_size": 3, "hidden_size": 4}
    lstm |= {f"{name}_token_id": END for name in ("pad", "bos", "eos", "unk")}
    config = SeqVAEConfig(
        encoder=SeqVAELSTMEncoderConfig(**lstm),
        decoder=SeqVAELSTMConfig(**lstm),
        latent_size=1,
    )
    model = SeqVAEModel(config).double().eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in sorted(model.named_parameters()):
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.copy_((2.0 if name.startswith("injection.") else 1.2) * noise)
        mu_and_logvar = torch.tensor([[1.7], [0.35]])
        model.encoder.posterior.projection.weight.mul_(mu_and_logvar)
    return model


def two_word_batch(sentences: Sequence[Sentence] = SENTENCES) -> dict[str, Tensor]:
    """input_ids, attention_mask (B, 4) and labels (B, 3) of sentences, padded on the right."""
    input_ids, mask, labels = [], [], []
    for words in sentences:
        empty = LONGEST - 1 - len(words)
        input_ids.append([END, *words, END] + [A] * empty)  # padding that no mask hides is seen
        mask.append([1] * (len(words) + 2) + [0] * empty)
        labels.append([*words, END] + [-100] * empty)
    rows = {"input_ids": input_ids, "attention_mask": mask, "labels": labels}
    return {name: torch.tensor(values) for name, values in rows.items()}


@dataclass(frozen=True)
class Enumeration:
    """Densities on a grid of G values of z, for the seven `SENTENCES` (N = 7), float64, in nats.

    Attributes:
        grid: the values of z, evenly spaced, (G,).
        log_prior: log p(z), (G,).
        log_posterior: log q(z|x), (N, G).
        token_log_prob: log p of each label given z and what stands before it, (N, 3, G); 0 behind
            the end.
        end_log_prob: log p(END) at each of these places, (N, 3, G); 0 behind the end.
    """

    grid: Tensor
    log_prior: Tensor
    log_posterior: Tensor
    token_log_prob: Tensor
    end_log_prob: Tensor

    @property
    def step(self) -> float:
        """Distance of two values of z."""
        return float(self.grid[1] - self.grid[0])

    @property
    def log_likelihood(self) -> Tensor:
        """log p(x|z), (N, G)."""
        return self.token_log_prob.sum(1)

    @property
    def length_log_prob(self) -> Tensor:
        """log p of the decision at each place to go on or to end, (N, 3, G); 0 behind the end."""
        lengths = torch.tensor([[[len(words)]] for words in SENTENCES])  # (N, 1, 1)
        place = torch.arange(LONGEST)[:, None]
        goes_on = torch.log1p(-self.end_log_prob.exp().masked_fill(place >= lengths, 0.0))
        return torch.where(place == lengths, self.end_log_prob, goes_on)

    def cross_expectation(self, values: Tensor) -> Tensor:
        """E of values (N, ..., G) of each sentence under the posterior of each: (N, N, ...)."""
        return torch.einsum("n...g,mg->nm...", values, self.log_posterior.exp()) * self.step

    def cross_variance(self, values: Tensor) -> Tensor:
        """Variance of values (N, ..., G) of each sentence under each posterior: (N, N, ...)."""
        mean = self.cross_expectation(values)
        return self.cross_expectation(values.square()) - mean.square()

    def expectation(self, values: Tensor) -> Tensor:
        """E of values (N, ..., G) of each sentence under its own posterior: (N, ...)."""
        own = torch.arange(len(values))
        return self.cross_expectation(values)[own, own]

    def variance(self, values: Tensor) -> Tensor:
        """Variance of values (N, ..., G) under each sentence's own posterior: (N, ...)."""
        own = torch.arange(len(values))
        return self.cross_variance(values)[own, own]

    def log_prob(self) -> Tensor:
        """log p(x), (N,)."""
        joint = self.log_prior + self.log_likelihood
        return joint.logsumexp(-1) + math.log(self.step)

    def reconstruction_nll(self) -> Tensor:
        """E_q[-log p(x|z)], (N,)."""
        return -self.expectation(self.log_likelihood)

    def kl(self) -> Tensor:
        """KL(q(z|x) || p(z)), (N,)."""
        return self.expectation(self.log_posterior - self.log_prior)

    def negative_elbo(self) -> Tensor:
        """E_q[-log p(x|z)] + KL, (N,)."""
        return self.reconstruction_nll() + self.kl()

    def importance_weight_variance(self) -> Tensor:
        """Variance of p(x, z) / q(z|x) / p(x) under q, (N,)."""
        log_ratio = self.log_prior + self.log_likelihood - self.log_prob()[:, None]
        second = (2 * log_ratio - self.log_posterior).logsumexp(-1) + math.log(self.step)
        return second.exp() - 1

    def log_density_ratio(self, rows: Sequence[int]) -> Tensor:
        """log q(z|x) - log q(z), the aggregate of the data set of SENTENCES[row]: (N, G)."""
        return (
            self.log_posterior - self.log_posterior[list(rows)].logsumexp(0) + math.log(len(rows))
        )

    def mutual_information(self, rows: Sequence[int]) -> float:
        """I(x; z) under q for the data set of SENTENCES[row]; a row may come twice."""
        return float(self.expectation(self.log_density_ratio(rows))[list(rows)].mean())

    def saved(self, values: Tensor, partners: Sequence[int]) -> Tensor:
        """What values (N, ..., G) lose at latents of SENTENCES[partners[n]], by sentence: (N, ...).

        Of `token_log_prob`, the nats that a sentence's own latents save at each token; of
        `length_log_prob`, in its length.
        """
        own, crossed = torch.arange(len(values)), self.cross_expectation(values)
        return crossed[own, own] - crossed[own, list(partners)]

    def swap_gap(self, partners: Sequence[int]) -> Tensor:
        """Nats lost when decoded from latents of SENTENCES[partners[n]], (N,)."""
        return self.saved(self.log_likelihood, partners)

    def mass_beyond(self) -> float:
        """Probability of all sentences longer than two words."""
        two = [n for n, words in enumerate(SENTENCES) if len(words) == 2]
        both_words = self.token_log_prob[two, :2].sum(1)  # (4, G)
        goes_on = -torch.expm1(self.end_log_prob[two, 2])
        return float((self.log_prior.exp() * both_words.exp() * goes_on).sum() * self.step)


@torch.no_grad()
def enumerate_sentences(model: SeqVAEModel) -> Enumeration:
    """All densities of a model such as `two_word_model` gives."""
    if model.config.latent_size != 1 or model.config.decoder.vocab_size != 3:
        raise ValueError(
            "enumeration needs latent_size 1 and 3 tokens, got latent_size "
            f"{model.config.latent_size} and {model.config.decoder.vocab_size} tokens."
        )
    grid = torch.linspace(-_REACH, _REACH, _NODES, dtype=torch.float64)
    # every prefix of a sentence of two words is itself one of the sentences
    following = {words: _next_log_prob(model, words, grid) for words in SENTENCES}
    token = torch.zeros(len(SENTENCES), LONGEST, len(grid), dtype=torch.float64)
    end = torch.zeros_like(token)
    posterior = []
    for n, words in enumerate(SENTENCES):
        for place, label in enumerate((*words, END)):
            before = following[words[:place]]  # (G, 3)
            token[n, place], end[n, place] = before[:, label], before[:, END]
        encoded = model.encoder(torch.tensor([[END, *words, END]]))
        mean, logvar = encoded.posterior_mean.item(), encoded.posterior_logvar.item()
        posterior.append(_log_normal(grid, mean, logvar))
    return Enumeration(
        grid=grid,
        log_prior=_log_normal(grid, 0.0, 0.0),
        log_posterior=torch.stack(posterior),
        token_log_prob=token,
        end_log_prob=end,
    )


def _next_log_prob(model: SeqVAEModel, words: Sentence, grid: Tensor) -> Tensor:
    """log p of each token after a prefix, for every z of the grid: (G, 3)."""
    read = torch.tensor([END, *words]).expand(len(grid), -1)
    logits = model(latents=grid[:, None], decoder_input_ids=read).logits
    return logits[:, -1].double().log_softmax(-1)


def _log_normal(z: Tensor, mean: float, logvar: float) -> Tensor:
    return -0.5 * ((z - mean) ** 2 * math.exp(-logvar) + logvar + math.log(2.0 * math.pi))
