"""LatentSpace: a trained model's TextSpace, and the arithmetic of its latents."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hf_seqvae.latent_space.loading import load_model
from hf_seqvae.model.text_space import TextSpace, check_at_least_one, check_scale


class LatentSpace(TextSpace):
    """A trained sequence VAE seen as a map between sentences and latents, loaded by its name.

    To encode, decode, sample and interpolate is TextSpace's, and so are the arguments.
    """

    @classmethod
    def from_pretrained(
        cls,
        path: str | Path,
        *,
        revision: str | None = None,
        device: str | torch.device | None = None,
        **kwargs: Any,
    ) -> "LatentSpace":
        """The latent space of a run folder (its `best/`), a model folder or a Hub id.

        Args:
            path: where the model and its tokenizer are; a decoder's own tokenizer is looked for in
                `decoder_tokenizer/` there.
            revision: branch, tag or commit of a Hub id.
            device: where the model goes; None for the CPU.
            **kwargs: batch_size, max_new_tokens.
        """
        model, tokenizer, decoder_tokenizer = load_model(path, revision=revision, device=device)
        return cls(model, tokenizer, decoder_tokenizer=decoder_tokenizer, **kwargs)

    def neighbours(
        self, text: str, scale: float = 0.5, n: int = 8, seed: int = 0, **generate_kwargs: Any
    ) -> list[str]:
        """n sentences around `text`: decoded from N(z, scale^2 I), z its latent.

        Args:
            text: the sentence.
            scale: standard deviation of the steps away from it, in the prior's.
            n: how many.
            seed: of the steps, and of the tokens where they are sampled.
            **generate_kwargs: go to `decode`.
        """
        check_at_least_one("n", n)
        check_scale("scale", scale)
        latents = self.encode([text]).cpu() + scale * self.noise(n, seed)
        return self.decode(latents, seed=seed, **generate_kwargs)

    def analogy(self, a: str, b: str, c: str, **generate_kwargs: Any) -> str:
        """What is to c as b is to a: the sentence at z_b - z_a + z_c.

        Source of the form: Mikolov et al., arXiv 1301.3781; for text VAEs Li et al., arXiv
        2004.04092.
        """
        z_a, z_b, z_c = self.encode([a, b, c])
        return self.decode(z_b - z_a + z_c, **generate_kwargs)[0]

    def traverse(
        self, text: str, dim: int, values: Sequence[float] | Tensor, **generate_kwargs: Any
    ) -> list[str]:
        """The sentence with coordinate `dim` of its latent set to each of `values` in turn.

        Args:
            text: the sentence.
            dim: which coordinate, 0 to Z - 1.
            values: what to set it to, in standard deviations of the prior.
            **generate_kwargs: go to `decode`.
        """
        if not 0 <= dim < self.latent_size:
            raise ValueError(f"dim must be in 0..{self.latent_size - 1}, got {dim}.")
        check_at_least_one("the number of values", len(values))
        latents = self.encode([text]).repeat(len(values), 1)
        latents[:, dim] = torch.as_tensor(values, dtype=latents.dtype, device=latents.device)
        return self.decode(latents, **generate_kwargs)

    def attribute_direction(self, positives: Sequence[str], negatives: Sequence[str]) -> Tensor:
        """Mean latent of the positives less that of the negatives, (Z,), to be added to latents."""
        return self.encode(positives).mean(dim=0) - self.encode(negatives).mean(dim=0)
