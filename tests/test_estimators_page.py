"""The page of the estimators names every figure of a report, and code that is there."""

import re
from pathlib import Path

import pytest
from evaluation_standins import tiny_data, tiny_language_model, tiny_tokenizer, tiny_vae

from hf_seqvae.evaluation import measure

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "training" / "results" / "estimators.md").read_text(encoding="utf-8")
NAMES = set(re.findall(r"`([a-z_.0-9]+)`", PAGE))
ENDINGS = tuple(name.removeprefix("...") for name in NAMES if name.startswith("..."))


@pytest.mark.parametrize("model", [tiny_vae, tiny_language_model])
def test_every_figure_of_a_report_is_on_the_page(model):
    report = measure(
        model(), tiny_tokenizer(), tiny_data(), iw_samples=2, num_generated=4, batch_size=8
    )
    missing = [
        name
        for name in report.figures
        if name not in NAMES and not (ENDINGS and name.endswith(ENDINGS))
    ]
    assert missing == []


def test_the_code_that_the_page_names_is_there():
    places = re.findall(r"`(hf_seqvae/[\w/]+\.py): (\w+)`", PAGE)
    assert len(places) > 20
    gone = [
        (path, name)
        for path, name in places
        if not re.search(rf"^(def|class) {name}\b", (ROOT / path).read_text(), re.MULTILINE)
    ]
    assert gone == []


def test_the_page_tells_what_the_self_check_holds():
    checks = re.search(r"(\d+) comparisons, all hold", PAGE)
    assert checks and "hf-seqvae selfcheck" in PAGE
