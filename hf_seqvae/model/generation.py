"""Generation: the few things that transformers' generate() cannot know of latents and prefixes."""

from typing import Any

from torch import Tensor
from transformers import GenerationMixin
from transformers.cache_utils import Cache


class LatentGenerationMixin(GenerationMixin):
    """generate() from texts or from latents, with inputs before the text."""

    encoder: Any
    injection: Any
    config: Any
    generation_config: Any

    def generate(self, inputs: Tensor | None = None, **kwargs):
        """As transformers' generate(), from texts (`input_ids`) or from `latents` (B, Z)."""
        names = ("input_ids", "inputs_embeds", "encoder_outputs", "latents")
        given = [name for name in names if kwargs.get(name) is not None]
        given += [] if inputs is None else ["inputs"]
        # an assistant is given the latents and what the encoder made of them
        if len(given) != 1 and given != ["encoder_outputs", "latents"]:
            raise ValueError(
                "give either texts (input_ids) or latents to generate(), not both and not "
                f"neither: got {given or 'nothing'}."
            )
        if inputs is not None and inputs.is_floating_point():
            raise ValueError("inputs are token ids; name latents: generate(latents=...).")
        if "latents" in given:
            kwargs["latents"] = self.encoder.checked_latents(kwargs["latents"])
            if self.generation_config.bos_token_id is None:  # asked for where there are no ids
                kwargs.setdefault("bos_token_id", self.config.decoder_start_token_id)
        return super().generate(inputs, **kwargs)  # pyright: ignore[reportAttributeAccessIssue]

    def prepare_inputs_for_generation(
        self,
        input_ids: Tensor,
        next_sequence_length: int | None = None,
        past_key_values: Cache | None = None,
        is_first_iteration: bool | None = False,
        **kwargs,
    ) -> dict:
        """As transformers', for a cache that is longer than its tokens by the prefix."""
        is_continued = past_key_values is not None and past_key_values.get_seq_length() > 0
        if is_first_iteration and is_continued and next_sequence_length is not None:
            next_sequence_length += self.injection.num_prefix_tokens
        prepare = super().prepare_inputs_for_generation  # pyright: ignore[reportAttributeAccessIssue]
        return prepare(
            input_ids,
            next_sequence_length=next_sequence_length,
            past_key_values=past_key_values,
            is_first_iteration=is_first_iteration,
            **kwargs,
        )

    def create_masks_for_generate(self, *, attention_mask: Tensor | None = None, **kwargs):
        """The 2-D mask as it is: it says where tokens stand, and the decoder does the rest.

        transformers would turn it into a 4-D one here, which knows nothing of prefix inputs either.
        """
        return attention_mask

    def _prepare_static_cache(
        self, cache_implementation, batch_size, max_cache_len, *args, **kwargs
    ):
        max_cache_len += self.injection.num_prefix_tokens
        prepare = super()._prepare_static_cache  # pyright: ignore[reportAttributeAccessIssue]
        return prepare(cache_implementation, batch_size, max_cache_len, *args, **kwargs)
