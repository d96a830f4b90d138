"""The facts of a model, as plain values for JSON: all that its card says is rendered from them."""

import logging
from dataclasses import dataclass
from pathlib import Path, PurePath, PureWindowsPath
from typing import Any

from hf_seqvae import everyday
from hf_seqvae.data.files import FORMATS
from hf_seqvae.diagnosis import diagnose, known_setup
from hf_seqvae.hub.metadata import check_names, is_hub_id
from hf_seqvae.hub.shown import example_sentences, interpolations, samples
from hf_seqvae.hub.source import Source, open_source
from hf_seqvae.model.decoder_tokenizer import DECODER_TOKENIZER
from hf_seqvae.recipe.text import EVERYDAY

logger = logging.getLogger(__name__)

FORMAT = 1
OUR_LICENSE = "apache-2.0"  # of this package, and so of the sentences that its grammar writes
# the figures that a reader asks for first, and that stand in the metadata of the card
HEADLINES = (
    "exact_model_nll",
    "negative_elbo",
    "iw_nll",
    "iw_effective_sample_size",
    "bound_gap",
    "iw_gap",
    "model_gap",
    "word_perplexity_bound",
    "word_perplexity",
    "token_perplexity_bound",
    "token_perplexity",
    "reconstruction_nll",
    "kl",
    "mutual_information",
    "used_fraction",
    "active_units",
    "swap_gap",
    "pooled_relative_variance",
    "unknown_share",
    "reconstruction_bleu",
    "exact_match",
    "self_bleu",
    "forward_perplexity",
    "reverse_perplexity",
)


@dataclass(frozen=True)
class Options:
    """What the maker of a card says of the model, and what is to be shown of it.

    Attributes:
        repo_id: where the model is to be found on the Hub, "name/model".
        license: identifier of the Hub, such as "mit"; None for Apache-2.0 where all that the model
            was made of is ours (the embedded corpus), and for none elsewhere.
        language: ISO 639 codes of the text, such as ["en"]; None: known of the embedded corpus.
        data_origin: where the text of the training comes from, in words.
        data_license: its license, in words.
        seed: of the samples and the walks that are shown.
        num_samples: sentences of the prior to show.
        show_data: False keeps sentences of the data out of the card, and so walks and latent map.
    """

    repo_id: str | None = None
    license: str | None = None
    language: list[str] | None = None
    data_origin: str | None = None
    data_license: str | None = None
    seed: int = 0
    num_samples: int = 8
    show_data: bool = True

    def __post_init__(self) -> None:
        """Refuse what the Hub would."""
        check_names(repo_id=self.repo_id, license=self.license, language=self.language)


def collect_facts(
    folder: str | Path, *, evaluation: str | Path | None = None, **options: Any
) -> dict[str, Any]:
    """What is known of the model in a run folder or a model folder; None where nothing is.

    Args:
        folder: the one or the other.
        evaluation: folder that `hf-seqvae evaluate` wrote; None for `evaluation/` in `folder`, or
            else for what training measured.
        **options: of `Options`.
    """
    wishes = Options(**options)
    return facts_of(open_source(folder, evaluation=evaluation), wishes)


def facts_of(source: Source, options: Options) -> dict[str, Any]:
    """`collect_facts` of what is open already."""
    data = _data(source, options)
    base_models = _base_models(source)
    license, language = options.license, options.language
    if license is None and data["is_everyday"] and not base_models:
        license = OUR_LICENSE
    if license is None:
        logger.warning(
            "the card names no license, so nobody may use the model: choose one that the text and "
            "the backbones allow (--license)."
        )
    if language is None:
        language = ["en"] if data["is_everyday"] else []
    walks = interpolations(source, seed=options.seed) if options.show_data else None
    if walks is not None and not data["is_everyday"]:
        logger.warning(
            "the card shows %d sentences of the %s text (--hide-data keeps them out).",
            2 * len(walks["walks"]),
            source.split,
        )
    drawn = samples(source, num_samples=options.num_samples, seed=options.seed)
    return {
        "format": FORMAT,
        "name": _name(source, options.repo_id),
        "repo_id": options.repo_id,
        "license": license,
        "language": language,
        "base_models": base_models,
        "model": _model(source),
        "data": data,
        "recipe": _recipe(source),
        "training": _training(source),
        "evaluation": _evaluation(source, data["name"]),
        "diagnosis": _diagnosis(source),
        "samples": drawn,
        "interpolations": walks,
        "examples": example_sentences(source, walks, drawn),
        "pictures": [],
    }


def _name(source: Source, repo_id: str | None) -> str:
    if repo_id is not None:
        return repo_id.rpartition("/")[2]
    return source.folder.resolve().name if source.recipe is None else source.recipe.name


def _model(source: Source) -> dict[str, Any]:
    """Sizes and parts; of a model without latents there are fewer."""
    model, config, space = source.model, source.model.config, source.space
    found = {
        "class": type(model).__name__,
        "num_parameters": sum(value.numel() for value in model.parameters()),
        "weights_sha256": source.weights_sha256,
        "decoder": {"model_type": config.model_type, "tokens": len(source.tokenizer)},
        "latent_size": None,
    }
    if space is None:
        return found
    writer = space.decoder_tokenizer
    return found | {
        "encoder": {"model_type": config.encoder.model_type, "tokens": len(source.tokenizer)},
        "decoder": {"model_type": config.decoder.model_type, "tokens": len(writer)},
        "latent_size": config.latent_size,
        "pooling": config.pooling,
        "posterior": config.posterior,
        "latent_injection": list(config.latent_injection),
        "decoder_tokenizer": None if writer is source.tokenizer else DECODER_TOKENIZER,
    }


def _base_models(source: Source) -> list[str]:
    """Hub ids of pretrained backbones; of one that came from a folder nobody knows the id."""
    if source.space is None:
        return []
    config = source.model.config
    names = [getattr(part, "name_or_path", "") for part in (config.encoder, config.decoder)]
    return [name for name in dict.fromkeys(names) if is_hub_id(name) and not Path(name).exists()]


def _data(source: Source, options: Options) -> dict[str, Any]:
    """Name, origin, licence and sizes of the text; what nobody said is None."""
    found: dict[str, Any] = {
        "name": None,
        "is_everyday": False,
        "hub_id": None,
        "origin": options.data_origin,
        "license": options.data_license,
        "num_texts": {},
        "entropy": None,
    }
    if source.recipe is None:
        return found
    data = source.recipe.data
    counts = {"train": data.num_train, "validation": data.num_validation, "test": data.num_test}
    if data.dataset == EVERYDAY:
        ours = "sentences drawn by the grammar of everyday English in the package hf_seqvae: "
        ours += "written by nobody, taken from nowhere"
        return found | {
            "name": EVERYDAY,
            "is_everyday": True,
            "origin": options.data_origin or ours,
            "license": options.data_license or OUR_LICENSE,
            "num_texts": counts,
            "entropy": everyday.entropy(),
        }
    if source.texts is not None and source.split is not None:
        counts[source.split] = len(source.texts)
    files = (data.train_file, data.validation_file, data.test_file)
    named = [data.dataset] if data.dataset else [file for file in files if file is not None]
    name = ", ".join(map(public_name, named))
    return found | {
        "name": name,
        "hub_id": data.dataset if data.dataset == name and is_hub_id(name) else None,
        "num_texts": {split: count for split, count in counts.items() if count is not None},
    }


def _recipe(source: Source) -> dict[str, Any] | None:
    """Every option of the run, without where things lay on the machine it ran on."""
    if source.recipe is None:
        return None
    values = source.recipe.to_dict()
    del values["output_dir"]
    data = values["data"]
    for key in ("train_file", "validation_file", "test_file"):
        data[key] = None if data[key] is None else public_name(data[key])
    for section, key in ((data, "dataset"), (values["tokenizer"], "name")):
        section[key] = None if section[key] is None else public_name(section[key])
    return values


def _training(source: Source) -> dict[str, Any]:
    cost = source.cost
    return {
        "steps": (source.progress or {}).get("steps"),
        "best_step": (source.progress or {}).get("best_step"),
        "wall_seconds": None if cost is None else cost.wall,
        "cpu_seconds": None if cost is None else cost.cpu,
        "environment": None if source.environment is None else dict(source.environment),
    }


def _evaluation(source: Source, data_name: str | None) -> dict[str, Any] | None:
    """The report without where model and data lay; a split of the run's goes by the run's name."""
    if source.report is None:
        return None
    values = source.report.to_dict()
    given = values["data"].pop("name", None)
    own = source.report_split is not None
    values["data"]["name"] = data_name if own else public_name(given) if given else None
    values["model"].pop("name", None)
    headlines = [name for name in HEADLINES if name in values["figures"]]
    return values | {"split": source.report_split, "headlines": headlines}


def _diagnosis(source: Source) -> dict[str, Any] | None:
    """What the collapse doctor says; None without latents, figures, or a second sentence."""
    report = source.report
    if source.space is None or report is None or report["swap_gap"].value is None:
        return None
    recipe = None if source.recipe is None else source.recipe.to_dict()
    found = diagnose(report, setup=known_setup(source.model.config, recipe)).to_dict()
    told = {name: found[name] for name in ("verdict", "rule", "meaning")}
    return told | {"evidence": list(found["evidence"])}


def public_name(name: str) -> str:
    """A Hub id as it is; of a path its last part, so that no card tells where things lay."""
    is_path = Path(name).exists() or PurePath(name).suffix.lower() in FORMATS
    if is_hub_id(name) and not is_path:
        return name
    return PureWindowsPath(name).name or name
