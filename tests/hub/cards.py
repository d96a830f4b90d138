"""The double's rules for a model card's metadata, the YAML between the first two `---` lines.

They follow the Hub's published specification of the fields, and what huggingface_hub.repocard_data
reads of them; the real Hub may know more.
"""

from typing import Any

import yaml

LICENSES = """
    apache-2.0 mit openrail bigscience-openrail-m creativeml-openrail-m bigscience-bloom-rail-1.0
    bigcode-openrail-m afl-3.0 artistic-2.0 bsl-1.0 bsd bsd-2-clause bsd-3-clause bsd-3-clause-clear
    c-uda cc cc0-1.0 cc-by-2.0 cc-by-2.5 cc-by-3.0 cc-by-4.0 cc-by-sa-3.0 cc-by-sa-4.0 cc-by-nc-2.0
    cc-by-nc-3.0 cc-by-nc-4.0 cc-by-nd-4.0 cc-by-nc-nd-3.0 cc-by-nc-nd-4.0 cc-by-nc-sa-2.0
    cc-by-nc-sa-3.0 cc-by-nc-sa-4.0 cdla-sharing-1.0 cdla-permissive-1.0 cdla-permissive-2.0 wtfpl
    ecl-2.0 epl-1.0 epl-2.0 etalab-2.0 eupl-1.1 eupl-1.2 agpl-3.0 gfdl gpl gpl-2.0 gpl-3.0 lgpl
    lgpl-2.1 lgpl-3.0 isc h-research intel-research lppl-1.3c ms-pl apple-ascl mpl-2.0 odc-by odbl
    openrail++ osl-3.0 postgresql ofl-1.1 ncsa unlicense zlib pddl lgpl-lr deepfloyd-if-license
    fair-noncommercial-research-license llama2 llama3 llama3.1 llama3.2 llama3.3 llama4 gemma
    unknown other"""
TASKS = """
    text-classification token-classification table-question-answering question-answering
    zero-shot-classification translation summarization feature-extraction text-generation
    text2text-generation fill-mask sentence-similarity text-to-speech text-to-audio text-ranking
    automatic-speech-recognition audio-to-audio audio-classification voice-activity-detection
    depth-estimation image-classification object-detection image-segmentation text-to-image
    image-to-text image-to-image image-to-video unconditional-image-generation
    video-classification reinforcement-learning robotics tabular-classification
    tabular-regression tabular-to-text table-to-text multiple-choice text-retrieval
    time-series-forecasting text-to-video image-text-to-text visual-question-answering
    document-question-answering zero-shot-image-classification graph-ml mask-generation
    zero-shot-object-detection text-to-3d image-to-3d image-feature-extraction
    video-text-to-text keypoint-detection visual-document-retrieval any-to-any other"""
# a string, or a list of strings
WORDS = ["license", "language", "tags", "datasets", "metrics", "base_model"]
NAMES = ["library_name", "pipeline_tag", "license_name", "license_link"]  # one string each
MISSING = "empty or missing yaml metadata in repo card"


def metadata(card: str) -> Any:
    """The parsed metadata of a card, None where it has none; yaml.YAMLError where it is broken."""
    lines = card.lstrip("\ufeff").splitlines()
    if not lines or lines[0].rstrip() != "---" or "---" not in [x.rstrip() for x in lines[1:]]:
        return None
    end = [x.rstrip() for x in lines[1:]].index("---") + 1
    return yaml.safe_load("\n".join(lines[1:end]))


def problems(card: str) -> tuple[list[str], list[str]]:
    """The errors and the warnings of a card's metadata."""
    try:
        data = metadata(card)
    except yaml.YAMLError as error:
        return [f"the metadata is not YAML: {error}"], []
    if data is None:
        return [], [MISSING]
    if not isinstance(data, dict):
        return [f"the metadata must be a mapping, got {type(data).__name__}"], []
    errors = [f'"{key}" must be a string or a list of strings' for key in WORDS if worse(data, key)]
    errors += [
        f'"{key}" must be a string' for key in NAMES if not isinstance(data.get(key, ""), str)
    ]
    if not errors:
        licenses = data.get("license") or []
        for name in [licenses] if isinstance(licenses, str) else licenses:
            if name not in LICENSES.split():
                errors.append(f'"license" must be one of the known licenses, got "{name}"')
        if data.get("license") == "other" and not data.get("license_name"):
            errors.append('"license_name" is needed where "license" is other')
    if "model-index" in data:
        errors += [f'"model-index"{message}' for message in index_errors(data["model-index"])]
    task = data.get("pipeline_tag", "other")
    warnings = (
        [] if task in TASKS.split() else [f'"pipeline_tag" {task!r} is not a task of the Hub']
    )
    return errors, [] if errors else warnings


def worse(data: dict[str, Any], key: str) -> bool:
    value = data.get(key) or []
    words = value if isinstance(value, list) else [value]
    return not all(isinstance(word, str) and word for word in words)


def index_errors(index: Any) -> list[str]:
    """What is wrong with a model index: the first fault of each entry, by its place."""
    if not isinstance(index, list) or not index:
        return [" must be a list of models that is not empty"]
    errors = []
    for i, model in enumerate(index):
        errors += lacking(model, f"[{i}]", name=str, results=list)
        results = model.get("results", []) if isinstance(model, dict) else []
        for j, result in enumerate(results if isinstance(results, list) else []):
            errors += result_errors(result, f"[{i}].results[{j}]")
    return errors


def result_errors(result: Any, place: str) -> list[str]:
    if errors := lacking(result, place, task=dict, dataset=dict, metrics=list):
        return errors
    errors = lacking(result["task"], f"{place}.task", type=str)
    errors += lacking(result["dataset"], f"{place}.dataset", type=str, name=str)
    for k, metric in enumerate(result["metrics"]):
        errors += lacking(metric, f"{place}.metrics[{k}]", type=str, value=object)
    if "source" in result:
        errors += lacking(result["source"], f"{place}.source", url=str)
    return errors


def lacking(value: Any, place: str, /, **fields: type) -> list[str]:
    """The first field that a mapping lacks or has of another type, as a message.

    A list may be empty: the Trainer's own cards have `results: []`.
    """
    if not isinstance(value, dict):
        return [f"{place} must be a mapping"]
    for name, kind in fields.items():
        got = value.get(name)
        if got in (None, "") or not isinstance(got, kind):
            return [f"{place}.{name} is missing or no {kind.__name__}"]
    return []
