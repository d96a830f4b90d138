"""A run or model folder -> a folder that is complete for the Hub and holds nothing else."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from transformers.utils import CONFIG_NAME, GENERATION_CONFIG_NAME

from hf_seqvae.engine.lock import holder
from hf_seqvae.engine.weights import quiet_transformers
from hf_seqvae.hub.code import carry_code, check_type, has_own_code
from hf_seqvae.hub.privacy import check_private, without_paths
from hf_seqvae.hub.weights import copy_weights, shard_bytes
from hf_seqvae.latent_space.folders import model_folder, weight_files
from hf_seqvae.latent_space.loading import load_scorable
from hf_seqvae.model.decoder_tokenizer import DECODER_TOKENIZER
from hf_seqvae.recipe.io import parse_mapping

MANIFEST = "hf_seqvae_files.json"  # which files are ours, for the next publish
MAX_SHARD_SIZE = "5GB"

# all that goes up beside weights, code and card: files that are not named here stay at home
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "tokenizer.model",
    "spiece.model",
    "sentencepiece.bpe.model",
    "sentencepiece.model",
    "spm.model",
    "bpe.codes",
    "byte_maps.json",
    "entity_vocab.json",
    "prophetnet.tokenizer",
)
_RUN_FILES = ("recipe.yaml", "report.json", "curves.png")


def make_bundle(
    source: str | Path,
    folder: Path,
    *,
    repo_id: str,
    max_shard_size: int | str = MAX_SHARD_SIZE,
    token: str | None = None,
    **card: Any,
) -> list[str]:
    """Fill an empty `folder` with all that a repository holds, and name its files.

    Weights as safetensors, config, generation config, tokenizers, the code of the model, the card
    with its facts and pictures; the recipe, report and curves that lie in the folder.

    Args:
        source: a run folder (its best/ is taken) or a model folder.
        folder: exists and is empty.
        repo_id: for the card.
        max_shard_size: of a file of weights, in bytes or such as "5GB".
        token: must not stand in any file.
        card: further options of `write_card`.

    Raises:
        ValueError: the run is not finished, the model is damaged or of another type, or a file
            holds a token or a path of this machine.
    """
    size = shard_bytes(max_shard_size)
    model = check_folder(source)
    if not has_own_code(model):  # its own code is not run here: only its files are looked at
        with quiet_transformers():
            load_scorable(model)
    run = Path(source).expanduser()
    for name in (CONFIG_NAME, GENERATION_CONFIG_NAME):
        _copy(model / name, folder / name)
    for part in ("", DECODER_TOKENIZER):
        for name in TOKENIZER_FILES:
            _copy(model / part / name, folder / part / name)
    carry_code(model, folder)
    copy_weights(model, folder, size)
    for name in _RUN_FILES:  # of a run, or of one that was published and downloaded again
        _copy(run / name, folder / name)
    _write_card(run, folder, repo_id=repo_id, **card)
    paths = [path for path in folder.rglob("*") if path.is_file()]
    files = sorted([*(path.relative_to(folder).as_posix() for path in paths), MANIFEST])
    _write_json(folder / MANIFEST, {"files": files})
    check_private(folder, files, token=token, roots=(run, model))
    return files


def check_folder(source: str | Path) -> Path:
    """The folder of the model in `source`, once its files are found there; nothing is loaded.

    Raises:
        ValueError: see `make_bundle`.
    """
    run = Path(source).expanduser()
    if not run.is_dir():
        raise ValueError(
            f"there is no folder {str(source)!r}. Give the folder of a run (its best/ is "
            "published) or of a model."
        )
    model = Path(model_folder(run))
    if model != run:
        _check_finished(run)
    check_type(model)
    weight_files(model)
    return model


def _check_finished(run: Path) -> None:
    process = holder(run)
    if process is not None:
        raise ValueError(
            f"{run} is in use by process {process}. Wait until the run has finished, or stop it."
        )
    if not (run / "report.json").is_file():
        raise ValueError(
            f"the run in {run} has not finished: it has no report.json. Wait for it, or go on with "
            f"`hf-seqvae train {run / 'recipe.yaml'}`. To publish the weights as they stand, "
            f"without recipe and figures, give {run / 'best'}."
        )


def _write_card(source: Path, folder: Path, **options: Any) -> None:
    from hf_seqvae.hub.card import write_card  # draws pictures: only where a card is made

    write_card(source, folder, **options)


def _copy(source: Path, target: Path) -> None:
    """Copy a file that is there; a file of plain values without the paths that stand in it."""
    if not source.is_file():
        return
    target.parent.mkdir(exist_ok=True)
    tidy = _TIDIERS.get(source.name)
    shutil.copyfile(source, target) if tidy is None else tidy(source, target)


def _tidy_json(source: Path, target: Path) -> None:
    try:
        values = json.loads(source.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{source} is damaged ({error}). Make it again.") from error
    tidied = without_paths(values)
    if tidied == values:
        shutil.copyfile(source, target)
    else:
        _write_json(target, tidied)


def _tidy_recipe(source: Path, target: Path) -> None:
    values = parse_mapping(source.read_text(encoding="utf-8"), str(source))
    body = yaml.safe_dump(without_paths(values), sort_keys=False, allow_unicode=True)
    target.write_text(f"# hf-seqvae train {target.name}\n{body}", encoding="utf-8")


def _write_json(path: Path, values: Any) -> None:
    text = json.dumps(values, indent=2, ensure_ascii=False) + "\n"
    path.write_text(text, encoding="utf-8")


_TIDIERS: dict[str, Callable[[Path, Path], None]] = {
    CONFIG_NAME: _tidy_json,
    GENERATION_CONFIG_NAME: _tidy_json,
    "tokenizer_config.json": _tidy_json,
    "report.json": _tidy_json,
    "recipe.yaml": _tidy_recipe,
}
