"""Noise on the encoder's input, in training: the autoencoder that reads a text with errors.

    token_dropout  a share of the tokens becomes the unknown token
    substitution   a share of the tokens becomes another token each, uniformly drawn
    deletion       a share of the tokens is masked out, and the rest closes up
    shuffle        tokens change places, none by more than `distance`

What is predicted is the text without errors. Special tokens and padding are neither changed nor
moved. All draws are torch's own.

Source: Shen et al. ("Educating text autoencoders"), arXiv 1905.12777; the shuffle is that of Lample
et al., arXiv 1711.00043.
"""

import torch
from torch import Tensor

NOISES = ("token_dropout", "deletion", "substitution", "shuffle")


def ordinary_tokens(input_ids: Tensor, mask: Tensor, special: list[int]) -> Tensor:
    """The tokens (B, T) that noise may touch: real ones whose id is not special."""
    return mask.bool() & ~torch.isin(
        input_ids, torch.tensor(special, dtype=torch.long, device=input_ids.device)
    )


def drop_tokens(input_ids: Tensor, ordinary: Tensor, *, share: float, unknown: int) -> Tensor:
    """Ids (B, T) with a random `share` of the ordinary tokens replaced by `unknown`."""
    return input_ids.masked_fill(ordinary & (_uniform(ordinary) < share), unknown)


def substitute_tokens(
    input_ids: Tensor, ordinary: Tensor, *, share: float, choices: Tensor
) -> Tensor:
    """Ids (B, T) with a random `share` of the ordinary tokens replaced by others of `choices`.

    Args:
        input_ids: (B, T).
        ordinary: the tokens that may be replaced, (B, T); their ids are among `choices`.
        share: in [0, 1].
        choices: different ids (N,), two or more.
    """
    # one of the first N - 1 choices; where that is the token itself, the last one stands in
    drawn = choices[torch.randint(len(choices) - 1, input_ids.shape, device=input_ids.device)]
    drawn = torch.where(drawn == input_ids, choices[-1], drawn)
    return torch.where(ordinary & (_uniform(ordinary) < share), drawn, input_ids)


def order_without_deleted(mask: Tensor, ordinary: Tensor, *, share: float) -> tuple[Tensor, Tensor]:
    """Deletes a random `share` of the ordinary tokens, but never all of a row.

    Returns:
        The order (B, T) that moves the deleted tokens behind all others, and the mask (B, T) of the
        tokens in that order, 0 at the deleted.
    """
    draws = _uniform(ordinary)
    # the token that is drawn highest is the last to go, and stays
    highest = draws.masked_fill(~ordinary, -1.0).argmax(dim=1, keepdim=True)
    deleted = (ordinary & (draws < share)).scatter(1, highest, False)
    order = deleted.int().argsort(dim=1, stable=True)
    return order, mask.masked_fill(deleted, 0).gather(1, order)


def shuffled_order(ordinary: Tensor, *, distance: int) -> Tensor:
    """An order (B, T) of the ordinary tokens alone, none more than `distance` places from its own.

    Places are counted among the ordinary tokens of a row. Token i is sorted by i + U(0, d + 1),
    which is at most i + d + 1, so that it never falls behind the token d + 1 places later.
    """
    places = ordinary.cumsum(dim=1) - 1  # (B, T), of ordinary tokens
    keys = places + (distance + 1) * _uniform(ordinary)
    shuffled = keys.masked_fill(~ordinary, torch.inf).argsort(dim=1, stable=True)  # ordinary first
    positions = torch.arange(ordinary.shape[1], device=ordinary.device)
    # the token that now has place p stands where the p-th ordinary token stood
    return torch.where(ordinary, shuffled.gather(1, places.clamp(min=0)), positions)


def _uniform(like: Tensor) -> Tensor:
    return torch.rand(like.shape, device=like.device)


def check_noise(kind: str | None, *, rate: float | None, distance: int | None) -> None:
    """Raises where the words of a noise do not belong together."""
    if kind is not None and kind not in NOISES:
        raise ValueError(f"input_noise must be one of {sorted(NOISES)} or None, got {kind!r}.")
    if kind in (None, "shuffle"):
        if rate is not None:
            raise ValueError(
                f"input_noise_rate is the share of tokens that {NOISES[:3]} touch, got {rate} "
                f"beside input_noise={kind!r}. Choose one of them, or leave input_noise_rate out."
            )
    elif rate is None or not 0.0 < rate <= 1.0:
        raise ValueError(
            f"input_noise {kind!r} needs input_noise_rate, a share in (0, 1], got {rate}."
        )
    if distance is not None and kind != "shuffle":
        raise ValueError(
            f"shuffle_distance is read by input_noise='shuffle' alone, got {distance} beside "
            f"input_noise={kind!r}. Choose that noise, or leave shuffle_distance out."
        )
    if distance is not None and distance < 1:
        raise ValueError(
            f"shuffle_distance must be at least 1 place, got {distance}. For no noise, leave "
            "input_noise out."
        )


def check_noise_tokens(
    kind: str | None, *, unknown: int | None, special: list[int], vocab_size: int
) -> None:
    """Raises where the encoder's vocabulary lacks what a noise puts in."""
    if kind == "token_dropout":
        if unknown is None:
            raise ValueError(
                "input_noise 'token_dropout' replaces tokens by encoder_unk_token_id, which the "
                "encoder's config does not tell. Set it to the id of the encoder's unknown (or "
                "mask) token."
            )
        if unknown in special or not 0 <= unknown < vocab_size:
            raise ValueError(
                "encoder_unk_token_id must be an id below the encoder's vocab_size "
                f"({vocab_size}) and none of the special tokens {special}, got {unknown}. Give the "
                "encoder's tokenizer an unknown (or mask) token of its own."
            )
    if kind == "substitution" and vocab_size - len(special) < 2:
        raise ValueError(
            f"input_noise 'substitution' draws other tokens, which {vocab_size} tokens with "
            f"{len(special)} special ones do not hold. Choose another noise."
        )
