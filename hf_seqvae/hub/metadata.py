"""The YAML block of a card: what the Hub's search, filters and badges read.

Rules, of github.com/huggingface/hub-docs modelcard.md: license is an identifier of the Hub's list
("other" needs license_name and license_link), language is a list of ISO 639 codes, datasets and
base_model are ids of the Hub, pipeline_tag and library_name are of the Hub's lists, a model-index
names task, data set and metrics of each result.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from huggingface_hub import EvalResult, ModelCardData
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id

from hf_seqvae.hub.markdown import visible

LIBRARY = "transformers"
# text in, text out, by generate(); "text2text-generation" is gone from the Hub and transformers
TASK, TASK_NAME = "text-generation", "Text generation"
TAGS = ("seqvae", "custom_code")
LATENT_TAGS = ("vae", "variational-autoencoder", "latent-space", "posterior-collapse")
# which of our figures are metrics that the Hub knows by name
_METRICS = {
    "perplexity": ("word_perplexity", "token_perplexity_bound", "token_perplexity"),
    "bleu": ("reconstruction_bleu",),
}


def card_data(facts: Mapping[str, Any]) -> ModelCardData:
    """The metadata of a model; what is not known has no field."""
    evaluation = facts["evaluation"]
    results = [] if evaluation is None else list(_results(facts, evaluation))
    measured = {result.metric_type for result in results}
    metrics = [name for name, ours in _METRICS.items() if measured.intersection(ours)]
    hub_id = facts["data"]["hub_id"]
    return ModelCardData(
        library_name=LIBRARY,
        pipeline_tag=TASK,
        license=facts["license"],
        language=facts["language"] or None,
        datasets=[hub_id] if hub_id else None,
        base_model=facts["base_models"] or None,
        tags=[*TAGS, *(() if facts["model"]["latent_size"] is None else LATENT_TAGS)],
        metrics=metrics or None,
        model_name=visible(facts["name"]) if results else None,
        eval_results=results or None,
    )


def missing_fields(facts: Mapping[str, Any]) -> dict[str, str]:
    """Fields that the Hub asks for and the facts do not give -> what to do about each."""
    cures = {}
    if facts["license"] is None:
        cures["license"] = "choose one that text and backbones allow: --license"
    if not facts["language"]:
        cures["language"] = "say which the text is in: --language"
    if not facts["data"]["hub_id"]:
        cures["datasets"] = "the text is no data set of the Hub: nothing to do"
    if facts["evaluation"] is None:
        cures["model-index"] = "measure the model: hf-seqvae evaluate"
    return cures


def check_names(*, repo_id: str | None, license: str | None, language: list[str] | None) -> None:
    """Raises ValueError for what the Hub would refuse."""
    if repo_id is not None and not is_hub_id(repo_id):
        raise ValueError(
            f"a repository is 'name' or 'owner/name' of letters, digits, '-', '_' and '.', got "
            f"{repo_id!r}."
        )
    if license is not None and not re.fullmatch(r"[a-z0-9][a-z0-9.+-]*", license):
        raise ValueError(
            f"license must be an identifier such as apache-2.0, mit or cc-by-4.0, got {license!r}. "
            "They are listed at https://hf.co/docs/hub/repositories-licenses."
        )
    if license == "other":
        raise ValueError(
            "license 'other' says nothing without license_name and license_link, which are to be "
            "written into README.md by hand. Leave it out here."
        )
    for code in language or ():
        if not re.fullmatch(r"[a-z]{2,3}|multilingual|code", code):
            raise ValueError(
                f"a language is an ISO 639 code such as en or deu, or multilingual, got {code!r}."
            )


def is_hub_id(name: str) -> bool:
    """Whether a repository of the Hub could have this name; a path could not."""
    if not name or name.startswith((".", "/", "~")) or "\\" in name:
        return False
    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return True


def _results(facts: Mapping[str, Any], evaluation: Mapping[str, Any]) -> Iterator[EvalResult]:
    """A result for each headline that is a number, with its definition, error and cap."""
    name = visible(evaluation["data"]["name"] or "unnamed text")
    for metric in evaluation["headlines"]:
        figure = evaluation["figures"][metric]
        if not isinstance(figure["value"], int | float):
            continue
        told = ("definition", "standard_error", "cap")
        yield EvalResult(
            task_type=TASK,
            task_name=TASK_NAME,
            dataset_type=name,
            dataset_name=name,
            dataset_split=evaluation["split"],
            dataset_args={"num_sentences": evaluation["num_sentences"]},
            metric_type=metric,
            metric_name=metric.replace("_", " "),
            metric_value=figure["value"],
            metric_args={key: figure[key] for key in told if figure[key] is not None},
        )
