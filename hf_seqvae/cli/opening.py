"""MODEL on the command line -> LatentSpace, or model and tokenizers."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

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
    from hf_seqvae.latent_space import LatentSpace

    quiet()
    device = check_device(device)
    with damage_explained(model):
        return LatentSpace.from_pretrained(model, device=device, **kwargs)


def open_scorable(model: str, device: str | None) -> tuple[Any, Any, Any]:
    """Model, encoder's and decoder's tokenizer; also of a language model without latents.

    Raises:
        ValueError, OSError: as of `open_space`.
    """
    from hf_seqvae.latent_space import load_scorable

    quiet()
    device = check_device(device)
    with damage_explained(model):
        return load_scorable(model, device=device)


@contextmanager
def damage_explained(model: str) -> Iterator[None]:
    """Damaged weights, and a Hub that refuses or fails, as an error that says what to do."""
    from huggingface_hub.errors import HTTPError  # pyright: ignore[reportPrivateImportUsage]
    from safetensors import SafetensorError

    from hf_seqvae.latent_space import model_folder

    try:
        yield
    except SafetensorError as error:
        raise ValueError(
            f"the weights in {model_folder(model)} are damaged ({error}). Copy or download them "
            "again, or train again."
        ) from error
    except (HTTPError, OSError) as error:
        from hf_seqvae.hub.errors import loading_error  # with it comes all of hub

        found = loading_error(error, model)
        if found is None:
            raise
        raise found from error
