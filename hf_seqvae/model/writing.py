"""What generation needs around `generate`: its own seed, and ids as text."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


@contextmanager
def seeded(seed: int | None, device: torch.device) -> Iterator[None]:
    """Seeds the generators that sampling on `device` draws from, and puts their states back."""
    if seed is None:
        yield
        return
    on_cuda = device.type == "cuda"
    with torch.random.fork_rng(devices=[device] if on_cuda else []):
        torch.default_generator.manual_seed(seed)
        if on_cuda:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        yield


def generated_text(ids: list[int], tokenizer: Any, *, start: int | None, ends: Any) -> str:
    """What was generated, up to its end; unknown words stay visible.

    Args:
        ids: tokens, perhaps with the start token before them.
        tokenizer: of the decoder.
        start: the start token.
        ends: the token that ends a text, or a list of such.
    """
    ends = ends if isinstance(ends, list) else [ends]
    ids = ids[1:] if ids[:1] == [start] else ids  # may be an end too
    end = next((place for place, token in enumerate(ids) if token in ends), len(ids))
    hidden = set(tokenizer.all_special_ids) - {tokenizer.unk_token_id}
    return tokenizer.decode([token for token in ids[:end] if token not in hidden]).strip()
