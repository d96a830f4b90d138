"""The pictures of a card: curves of the training, KL of each dimension, map of the latents."""

from pathlib import Path
from typing import Any

from PIL import Image

from hf_seqvae import everyday, plots
from hf_seqvae.hub.shown import is_readable
from hf_seqvae.hub.source import Source
from hf_seqvae.recipe.text import EVERYDAY

ASSETS = "assets"
MAP_SIZE = 1000  # sentences on the map
_COLOURS = 64  # of a PNG file, a third as large so; lines and letters stay sharp


def draw_pictures(source: Source, folder: Path, *, show_data: bool = True) -> list[dict[str, str]]:
    """Draw what there is something for into `folder`/assets; file, title and words of each.

    Args:
        source: of the card.
        folder: of the card.
        show_data: False leaves the map out, whose colours say something of the sentences.
    """
    assets = folder / ASSETS
    found = [_curves(source, assets), _spectrum(source, assets)]
    found.append(_map(source, assets) if show_data else None)
    for picture in filter(None, found):
        _shrink(folder / picture["file"])
    return [picture for picture in found if picture is not None]


def _curves(source: Source, assets: Path) -> dict[str, str] | None:
    if source.log is None:
        return None
    path = assets / "curves.png"
    floored = source.report is not None and "exact_nll" in source.report.figures
    plots.training_curves(source.log, path, floor=everyday.entropy() if floored else None)
    text = "Terms of the bound, KL weight, mutual information and active units over the training."
    return _picture(path, "Training", text)


def _spectrum(source: Source, assets: Path) -> dict[str, str] | None:
    if source.report is None or source.space is None:
        return None
    values: Any = source.report["kl_per_dimension"].value
    path = plots.kl_per_dimension(values, assets / "kl_per_dimension.png")
    text = f"KL of each of the {len(values)} latent dimensions in nats a sentence, largest first."
    return _picture(path, "KL spectrum", text)


def _map(source: Source, assets: Path) -> dict[str, str] | None:
    space = source.space
    if source.texts is None or source.recipe is None or space is None:
        return None
    texts = [text for text in source.texts[:MAP_SIZE]["text"] if is_readable(space, text)]
    if len(texts) < 2:
        return None
    labels = None
    if source.recipe.data.dataset == EVERYDAY:
        labels = [everyday.parse(text)["tense"] for text in texts]
    means = space.encode(texts).cpu().numpy()
    path = assets / "latent_map.png"
    plots.latent_map(means, path, labels=labels, label_name="" if labels is None else "tense")
    coloured = "" if labels is None else ", coloured by tense"
    text = f"Posterior means of {len(texts):,} {source.split} sentences on their two principal "
    return _picture(path, "Latent map", f"{text}axes{coloured}.")


def _picture(path: Path, title: str, text: str) -> dict[str, str]:
    return {"file": f"{ASSETS}/{path.name}", "title": title, "text": text}


def _shrink(path: Path) -> None:
    with Image.open(path) as image:
        smaller = image.convert("RGB").quantize(_COLOURS, dither=Image.Dither.NONE)
    smaller.save(path, optimize=True)
