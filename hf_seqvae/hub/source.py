"""What a card is made of: a run folder or a model folder, opened once."""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datasets import Dataset
from datasets.exceptions import DatasetsError
from transformers import PreTrainedTokenizerBase

from hf_seqvae import recipe as recipes
from hf_seqvae.engine.environment import ENVIRONMENT_NAME
from hf_seqvae.engine.parts import load_texts
from hf_seqvae.evaluation import Report
from hf_seqvae.evaluation.fingerprint import config_fingerprint, model_fingerprint
from hf_seqvae.latent_space import LatentSpace, load_scorable
from hf_seqvae.model.modeling_seqvae import SeqVAEModel
from hf_seqvae.recipe import Recipe
from hf_seqvae.study.cost import Cost, read_costs
from hf_seqvae.study.folder import COST_NAME, EVALUATION_NAME

logger = logging.getLogger(__name__)

SPLITS = ("test", "validation")  # the first that there is, is shown
REPORT_NAME, LOG_NAME, RECIPE_NAME = "report.json", "log.jsonl", "recipe.yaml"


@dataclass(frozen=True)
class Source:
    """A trained model and what is known of it; None where nothing is.

    Attributes:
        folder: of the run or of the model.
        model: a SeqVAEModel or, without latents, a SeqVAELSTMForCausalLM.
        tokenizer: of the encoder, or of the model without one.
        space: its latent space; None without latents.
        weights_sha256: of the weights.
        recipe: what it was trained by.
        texts: held-out sentences of the run.
        split: which of its splits they are.
        report: the figures of exactly these weights.
        report_split: the split that they are of.
        progress: of the run's report: steps, best_step.
        cost: what training took, in seconds.
        environment: of the training.
        log: log.jsonl.
    """

    folder: Path
    model: Any
    tokenizer: PreTrainedTokenizerBase
    space: LatentSpace | None
    weights_sha256: str
    recipe: Recipe | None = None
    texts: Dataset | None = None
    split: str | None = None
    report: Report | None = None
    report_split: str | None = None
    progress: Mapping[str, int] | None = None
    cost: Cost | None = None
    environment: Mapping[str, Any] | None = None
    log: Path | None = None


def open_source(folder: str | Path, *, evaluation: str | Path | None = None) -> Source:
    """A run folder (its best/ is taken) or a model folder, with all that lies in it.

    Args:
        folder: the one or the other.
        evaluation: folder that `hf-seqvae evaluate` wrote; None for `evaluation/` in `folder`, or
            else for what training measured at its end.

    Raises:
        ValueError: no such folder, no model of ours in it, or figures of other weights.
    """
    folder = Path(folder).expanduser()
    if not folder.is_dir():
        raise ValueError(
            f"there is no folder {str(folder)!r}. A card is made of the folder of a run or of a "
            "model; download a model of the Hub first (hf download NAME --local-dir FOLDER)."
        )
    model, tokenizer, decoder_tokenizer = load_scorable(folder)
    space = None
    if isinstance(model, SeqVAEModel):
        space = LatentSpace(model, tokenizer, decoder_tokenizer=decoder_tokenizer)
    weights = model_fingerprint(model)
    kept = folder / RECIPE_NAME
    recipe = recipes.load(kept) if kept.is_file() else None
    split, texts = _held_out(recipe)
    own = _read_json(folder / REPORT_NAME) or {}
    report, report_split = _report(folder, own, model, evaluation)
    log = folder / LOG_NAME
    return Source(
        folder=folder,
        model=model,
        tokenizer=tokenizer,
        space=space,
        weights_sha256=weights,
        recipe=recipe,
        texts=texts,
        split=split,
        report=report,
        report_split=report_split,
        progress={name: own[name] for name in ("steps", "best_step") if name in own} or None,
        cost=_cost(folder),
        environment=_read_json(folder / ENVIRONMENT_NAME),
        log=log if log.is_file() else None,
    )


def _held_out(recipe: Recipe | None) -> tuple[str | None, Dataset | None]:
    """The first of `SPLITS` that the recipe's data has; nothing where the data is gone."""
    if recipe is None:
        return None, None
    try:
        found = load_texts(recipe)
    except (OSError, ValueError, DatasetsError) as error:
        logger.warning("no interpolations and no latent map: the text is not there (%s).", error)
        return None, None
    for split in SPLITS:
        if split in found:
            texts: Any = found[split]
            return split, texts
    return None, None


def _report(
    folder: Path, own: Mapping[str, Any], model: Any, evaluation: str | Path | None
) -> tuple[Report | None, str | None]:
    """The report of these weights and its split, by preference that of a full evaluation."""
    place = folder / EVALUATION_NAME if evaluation is None else Path(evaluation)
    values = _read_json(place / REPORT_NAME)
    if evaluation is not None and values is None:
        raise ValueError(
            f"{place} holds no {REPORT_NAME}: give the folder that hf-seqvae evaluate wrote."
        )
    splits = [name for name in SPLITS if name in own]
    if values is None and "figures" in own:
        place, values = folder, own  # an evaluation that lies beside a model
    elif values is None:
        if not splits:
            return None, None
        place, values = folder, own[splits[0]]
    if "figures" not in values:
        raise ValueError(
            f"{place / REPORT_NAME} is not the report of an evaluation. Give --evaluation the "
            "folder that hf-seqvae evaluate wrote."
        )
    measured, weights = values.get("model", {}).get("sha256"), model_fingerprint(model)
    config = values.get("key", {}).get("config_sha256")
    if measured == weights and config not in (None, config_fingerprint(model)):
        raise ValueError(
            f"the figures in {place} are of these weights under another config, such as another "
            f"pooling. Measure the model again (hf-seqvae evaluate {folder} DATA --output-dir "
            f"{folder / EVALUATION_NAME} --fresh), or put its config back."
        )
    if measured != weights:
        raise ValueError(
            f"the figures in {place} are of the weights {measured}, and the model in {folder} has "
            f"{weights}. Measure it (hf-seqvae evaluate {folder} DATA --output-dir "
            f"{folder / EVALUATION_NAME} --fresh), or move the figures away."
        )
    tokens = values["data"]["tokens_sha256"]
    same = [name for name in splits if own[name]["data"]["tokens_sha256"] == tokens]
    named = values["data"].get("name")
    split = same[0] if same else named if named in SPLITS else None
    return Report.from_dict(values), split


def _cost(folder: Path) -> Cost | None:
    """What training took; None where nobody looked, or not from the first line of the log on."""
    costs = read_costs(folder / COST_NAME)
    log = folder / LOG_NAME
    if not costs or not log.is_file():
        return None
    with log.open(encoding="utf-8") as lines:
        first = json.loads(lines.readline())
    return costs[-1] if costs[0].step <= first["step"] else None


def _read_json(path: Path) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not JSON: {error}. Restore the file or remove it.") from error
    if not isinstance(values, dict):
        raise ValueError(f"{path} must hold a JSON object. Restore the file or remove it.")
    return values
