"""TextSpace: sentences to latents and back, samples of the prior, ways between two sentences."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from .interpolation import INTERPOLATIONS
from .writing import generated_text, seeded


class TextSpace:
    """A model and its tokenizers as a map between sentences and latents.

    Everything is batched: one `generate` call for each `batch_size` latents, never one a step. The
    latent of a sentence is its posterior mean. Every method that decodes hands its last keywords to
    `decode`, and so to `generate`.

    Args:
        model: a SeqVAEModel; put into eval mode.
        tokenizer: the encoder's tokenizer.
        decoder_tokenizer: the decoder's; default: the one that the model was loaded with, or the
            encoder's.
        batch_size: sentences encoded or decoded at a time.
        max_new_tokens: longest decoded sentence, in tokens, unless a call says otherwise.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        decoder_tokenizer: PreTrainedTokenizerBase | None = None,
        batch_size: int = 256,
        max_new_tokens: int = 64,
    ):
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}.")
        self.model: Any = model.eval()
        self.tokenizer = tokenizer
        if decoder_tokenizer is None:
            decoder_tokenizer = getattr(model, "decoder_tokenizer", None)
        self.decoder_tokenizer = tokenizer if decoder_tokenizer is None else decoder_tokenizer
        self.batch_size = batch_size
        self.max_new_tokens = max_new_tokens

    @property
    def latent_size(self) -> int:
        """Z, the dimensions of a latent."""
        return self.model.config.latent_size

    # -- sentences <-> latents

    @torch.no_grad()
    def encode(self, texts: Sequence[str]) -> Tensor:
        """Posterior means of N sentences, (N, Z).

        Raises:
            ValueError: no sentence, an empty one, one of unknown words only or one that is too
                long.
        """
        ids = self._token_ids(texts)
        device = self.model.device
        order = sorted(range(len(ids)), key=lambda row: len(ids[row]))
        means = torch.empty(len(ids), self.latent_size, device=device)
        for start in range(0, len(order), self.batch_size):
            rows = order[start : start + self.batch_size]
            width = len(ids[rows[-1]])
            lengths = torch.tensor([len(ids[row]) for row in rows])
            # masked, so any id pads
            padded = [ids[row] + [0] * (width - len(ids[row])) for row in rows]
            batch = {
                "input_ids": torch.tensor(padded, device=device),
                "attention_mask": (torch.arange(width) < lengths[:, None]).long().to(device),
            }
            means[rows] = self.model.posterior(batch).mean.to(means.dtype)
        return means

    @torch.no_grad()
    def decode(
        self, latents: Tensor, *, seed: int | None = None, **generate_kwargs: Any
    ) -> list[str]:
        """A sentence for each latent (N, Z), in order.

        Args:
            latents: (N, Z), or one (Z,).
            seed: of the tokens where they are sampled (do_sample=True); the caller's generators
                are left as they were. None draws from the global one.
            **generate_kwargs: do_sample, num_beams, max_new_tokens, ...; num_return_sequences=R
                gives R sentences a latent, N * R in all.
        """
        if not isinstance(latents, Tensor):
            raise ValueError(
                f"latents must be a tensor (N, Z), got {type(latents).__name__}: encode() gives "
                "one for sentences."
            )
        if latents.dim() == 1:
            latents = latents[None]
        if not len(latents):
            raise ValueError("there is no latent to decode: give at least one, (N, Z).")
        if not torch.isfinite(latents).all():
            raise ValueError("latents must be finite, got NaN or infinity among them.")
        if generate_kwargs.get("return_dict_in_generate"):
            raise ValueError("return_dict_in_generate is for model.generate: here texts come out.")
        settings = self._limited(generate_kwargs)
        device = self.model.device
        texts: list[str] = []
        with seeded(seed, device):
            for chunk in latents.to(device).split(self.batch_size):
                texts += map(self.text, self.model.generate(latents=chunk, **settings).tolist())
        return texts

    def _limited(self, settings: dict[str, Any]) -> dict[str, Any]:
        """What `generate` takes, with the space's own limit where a call sets none."""
        lengths = ("max_length", "max_new_tokens")
        config = settings.get("generation_config")
        if any(settings.get(name) or getattr(config, name, None) for name in lengths):
            return settings
        return settings | {"max_new_tokens": self.max_new_tokens}

    def reconstruct(self, texts: Sequence[str], **generate_kwargs: Any) -> list[str]:
        """Each sentence decoded from its posterior mean."""
        return self.decode(self.encode(texts), **generate_kwargs)

    # -- moving around

    def sample(
        self, n: int, temperature: float = 1.0, seed: int | None = 0, **generate_kwargs: Any
    ) -> list[str]:
        """n sentences of the prior N(0, temperature^2 I).

        Args:
            n: how many.
            temperature: standard deviation of the latents; 1 is the prior itself.
            seed: of the latents, and of the tokens where they are sampled; None: the global one.
            **generate_kwargs: go to `decode`.
        """
        check_at_least_one("n", n)
        check_scale("temperature", temperature)
        return self.decode(temperature * self.noise(n, seed), seed=seed, **generate_kwargs)

    def interpolate(
        self, a: str, b: str, steps: int = 9, method: str = "lerp", **generate_kwargs: Any
    ) -> list[str]:
        """`steps` sentences from a to b, both ends (their reconstructions) included.

        Args:
            a: the first sentence.
            b: the last sentence.
            steps: number of sentences, at least 2.
            method: "lerp" (straight line) or "slerp" (arc).
            **generate_kwargs: go to `decode`.
        """
        return self.interpolate_pairs([(a, b)], steps, method, **generate_kwargs)[0]

    def interpolate_pairs(
        self,
        pairs: Sequence[tuple[str, str]],
        steps: int = 9,
        method: str = "lerp",
        **generate_kwargs: Any,
    ) -> list[list[str]]:
        """`interpolate` for each of several pairs, in the batches of one."""
        if method not in INTERPOLATIONS:
            raise ValueError(f"method must be one of {sorted(INTERPOLATIONS)}, got {method!r}.")
        if steps < 2:
            raise ValueError(f"steps must be at least 2 (the two ends), got {steps}.")
        ends = self.encode([text for pair in pairs for text in pair]).unflatten(0, (-1, 2))
        paths = [INTERPOLATIONS[method](start, end, steps) for start, end in ends]
        texts = self.decode(torch.cat(paths), **generate_kwargs)
        each = len(texts) // len(pairs)
        return [texts[start : start + each] for start in range(0, len(texts), each)]

    # -- ids <-> text

    def noise(self, n: int, seed: int | None) -> Tensor:
        """Standard normal (n, Z), the same on every device; without a seed the global one's."""
        generator = None if seed is None else torch.Generator().manual_seed(seed)
        return torch.randn(n, self.latent_size, generator=generator)

    def _token_ids(self, texts: Sequence[str]) -> list[list[int]]:
        if isinstance(texts, str):
            raise ValueError('texts must be a list of sentences, got one string: write ["..."].')
        if not len(texts):
            raise ValueError("there is no sentence to encode: give at least one.")
        for row, text in enumerate(texts):
            if not isinstance(text, str):
                raise ValueError(f"sentence {row} must be a string, got {type(text).__name__}.")
            try:
                text.encode()
            except UnicodeEncodeError as error:
                raise ValueError(f"sentence {row} is no valid text (UTF-8): {error}.") from error
            if not text.strip():
                raise ValueError(f"sentence {row} is empty: every sentence needs a word.")
        encoded = self.tokenizer(
            [text.strip() for text in texts],
            split_special_tokens=True,  # "</s>" in a text is text
            verbose=False,  # lengths are checked here
        )
        special = set(self.tokenizer.all_special_ids)
        limit = self.tokenizer.model_max_length
        for row, (text, ids) in enumerate(zip(texts, encoded["input_ids"], strict=True)):
            shown = repr(text if len(text) <= 60 else f"{text[:57]}...")
            if special.issuperset(ids):
                raise ValueError(
                    f"sentence {row}, {shown}, holds unknown words only: none is among the model's "
                    f"{len(self.tokenizer)} tokens. Use words of its training text, in the same "
                    "case."
                )
            if len(ids) > limit:
                raise ValueError(
                    f"sentence {row}, {shown}, has {len(ids)} tokens (its ends included), more "
                    f"than the model's {limit}. Shorten it."
                )
        return encoded["input_ids"]

    def text(self, ids: list[int]) -> str:
        """What was generated, up to its end; unknown words stay visible."""
        config = self.model.generation_config
        return generated_text(
            ids,
            self.decoder_tokenizer,
            start=config.decoder_start_token_id,
            ends=config.eos_token_id,
        )


def check_at_least_one(name: str, count: int) -> None:
    """Raises where a number of things to make is none."""
    if count < 1:
        raise ValueError(f"{name} must be at least 1, got {count}.")


def check_scale(name: str, value: float) -> None:
    """Raises where a standard deviation is none."""
    if not (math.isfinite(value) and value >= 0):
        raise ValueError(f"{name} must be finite and not negative, got {value}.")
