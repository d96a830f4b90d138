"""MODEL on the command line -> LatentSpace."""

from typing import TYPE_CHECKING

from hf_seqvae.cli.options import check_device
from hf_seqvae.cli.screen import quiet

if TYPE_CHECKING:
    from hf_seqvae.latent_space import LatentSpace


def open_space(model: str, device: str | None, **kwargs: int) -> "LatentSpace":
    """The latent space of a run folder, a model folder or a Hub id, on a device.

    Raises:
        ValueError: no such device or folder, no model there, another model, damaged weights.
        OSError: the Hub does not have it, or cannot be reached.
    """
    from safetensors import SafetensorError

    from hf_seqvae.latent_space import LatentSpace, model_folder

    quiet()
    device = check_device(device)
    try:
        return LatentSpace.from_pretrained(model, device=device, **kwargs)
    except SafetensorError as error:
        raise ValueError(
            f"the weights in {model_folder(model)} are damaged ({error}). Copy or download them "
            "again, or train again."
        ) from error
