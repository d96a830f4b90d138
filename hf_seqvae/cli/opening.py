"""MODEL on the command line -> LatentSpace, or model and tokenizers."""

from typing import TYPE_CHECKING, Any

from hf_seqvae.cli.options import check_device
from hf_seqvae.cli.screen import quiet

if TYPE_CHECKING:
    from hf_seqvae.latent_space import LatentSpace


def open_space(model: str, device: str | None, **kwargs: Any) -> "LatentSpace":
    """The latent space of a run folder, a model folder or a Hub id, on a device.

    Raises:
        ValueError: no such device or folder, no model there, another model, damaged weights.
        OSError: the Hub does not have it, or cannot be reached.
    """
    from hf_seqvae.latent_space import LatentSpace

    quiet()
    device = check_device(device)
    return LatentSpace.from_pretrained(model, device=device, **kwargs)


def open_scorable(model: str, device: str | None) -> tuple[Any, Any, Any]:
    """Model, encoder's and decoder's tokenizer; also of a language model without latents.

    Raises:
        ValueError, OSError: as of `open_space`.
    """
    from hf_seqvae.latent_space import load_scorable

    quiet()
    device = check_device(device)
    return load_scorable(model, device=device)
