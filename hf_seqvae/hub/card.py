"""The model card: facts -> Markdown, by one template; written beside facts.json and pictures."""

import functools
import json
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
import yaml

from hf_seqvae.engine.files import write_text
from hf_seqvae.hub.facts import Options, facts_of
from hf_seqvae.hub.limits import limits
from hf_seqvae.hub.markdown import code, escape, fenced, fenced_code, number, python
from hf_seqvae.hub.metadata import card_data
from hf_seqvae.hub.methods import methods
from hf_seqvae.hub.pictures import draw_pictures
from hf_seqvae.hub.source import open_source

CARD_NAME, FACTS_NAME = "README.md", "facts.json"


def render_card(facts: Mapping[str, Any]) -> str:
    """The card that `collect_facts` gives: a YAML block and Markdown, from the facts alone."""
    told = {"limits": list(limits(facts)), "methods": methods(facts)}
    body = _template().render(**facts, **told)
    return f"---\n{card_data(facts).to_yaml()}\n---\n\n{body}"


def write_card(
    source: str | Path,
    destination: str | Path,
    *,
    evaluation: str | Path | None = None,
    **options: Any,
) -> Path:
    """Write README.md, facts.json and assets/*.png into `destination`; the path of README.md.

    Args:
        source: the folder of a run or of a model.
        destination: a folder; files of the same names are replaced.
        evaluation: of `collect_facts`.
        **options: of `Options`: repo_id, license, language, data_origin, data_license, seed,
            num_samples, show_data.
    """
    wishes = Options(**options)
    opened = open_source(source, evaluation=evaluation)
    facts = facts_of(opened, wishes)
    destination = Path(destination)
    destination.mkdir(parents=True, exist_ok=True)
    facts["pictures"] = draw_pictures(opened, destination, show_data=wishes.show_data)
    write_text(destination / FACTS_NAME, json.dumps(facts, indent=2, allow_nan=False) + "\n")
    return render_folder(destination)


def render_folder(folder: str | Path) -> Path:
    """Write README.md from the facts.json beside it; the path of README.md."""
    path = Path(folder) / CARD_NAME
    write_text(path, render_card(read_facts(folder)))
    return path


def read_facts(folder: str | Path) -> dict[str, Any]:
    """The facts beside a card."""
    return json.loads((Path(folder) / FACTS_NAME).read_text(encoding="utf-8"))


@functools.cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # the filters escape Markdown, of which HTML is a part
    )
    environment.filters |= {
        "code": code,
        "escape": escape,
        "fenced": fenced,
        "fenced_code": fenced_code,
        "number": number,
        "python": python,
        "yaml": _yaml,
    }
    text = resources.files("hf_seqvae") / "hub" / "model_card.md.jinja"
    return environment.from_string(text.read_text(encoding="utf-8"))


def _yaml(values: Mapping[str, Any]) -> str:
    # no wrapping and nothing but ASCII: one option a line, whatever it holds
    return yaml.safe_dump(values, sort_keys=False, width=float("inf"))
