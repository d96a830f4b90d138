"""The card from facts alone: its metadata, its figures, what it says of the unknown, its code."""

import ast
import copy
import json
import re

import pytest
import yaml
from card_standins import figure, small_facts
from hub.cards import problems
from huggingface_hub import ModelCard
from huggingface_hub.repocard_data import model_index_to_eval_results
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from hf_seqvae.hub.card import render_card
from hf_seqvae.hub.markdown import code, escape, fenced, number, python, visible
from hf_seqvae.hub.metadata import check_names, missing_fields

MARKDOWN = MarkdownIt("commonmark").enable("table")


def metadata(card: str) -> dict:
    return yaml.safe_load(card.split("\n---\n")[0].removeprefix("---\n"))


def row(card: str, first: str) -> list[str]:
    """The cells of the only table row that begins so; escaped pipes are part of a cell."""
    rows = [line for line in card.splitlines() if line.startswith(f"| {first} |")]
    assert len(rows) == 1, rows
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", rows[0])[1:-1]]


# -- metadata


def test_metadata_is_what_the_hub_reads():
    found = metadata(render_card(small_facts()))
    assert found["library_name"] == "transformers"
    assert found["pipeline_tag"] == "text-generation"
    assert found["license"] == "mit"
    assert found["language"] == ["de"]
    assert {"seqvae", "vae", "custom_code"} <= set(found["tags"])
    assert "datasets" not in found and "base_model" not in found  # letters.txt is nowhere


def test_metadata_names_a_data_set_and_a_backbone_of_the_hub():
    facts = small_facts(base_models=["google/bert"])
    facts["data"] |= {"name": "owner/words", "hub_id": "owner/words"}
    found = metadata(render_card(facts))
    assert found["datasets"] == ["owner/words"]
    assert found["base_model"] == ["google/bert"]


def test_the_model_index_holds_each_number_with_definition_error_cap_split_and_size():
    found = metadata(render_card(small_facts()))
    name, results = model_index_to_eval_results(found["model-index"])
    assert name == "small"
    values = {result.metric_type: result for result in results}
    # an undefined figure is no result, and neither is one that is no headline
    assert {name: one.metric_value for name, one in values.items()} == {
        "negative_elbo": 20.5,
        "iw_nll": 19.75,
        "mutual_information": 1.5,
    }
    assert values["iw_nll"].metric_args == {
        "definition": "of 8 importance weights, nats",
        "standard_error": 0.125,
    }
    assert values["mutual_information"].metric_args["cap"] == 2.302585
    assert {(one.dataset_name, one.dataset_split) for one in results} == {("letters.txt", "test")}
    assert results[0].dataset_args == {"num_sentences": 10}


def test_what_is_unknown_has_no_field():
    facts = small_facts(license=None, language=[], evaluation=None, diagnosis=None)
    assert set(metadata(render_card(facts))) == {"library_name", "pipeline_tag", "tags"}
    assert set(missing_fields(facts)) == {"license", "language", "datasets", "model-index"}
    facts["data"]["hub_id"] = "owner/words"
    assert "datasets" not in missing_fields(facts)


@pytest.mark.parametrize(
    "wish",
    [
        {"license": "Apache 2.0"},
        {"license": ""},
        {"license": "other"},
        {"language": ["German"]},
        {"language": ["en", "EN"]},
        {"repo_id": "a/b/c"},
        {"repo_id": "../b"},
        {"repo_id": 'x"); import os #'},
    ],
)
def test_what_the_hub_would_refuse_is_refused(wish):
    check_names(repo_id="me/small", license="cc-by-sa-4.0", language=["en", "deu"])
    with pytest.raises(ValueError, match="got|by hand"):
        check_names(**{"repo_id": None, "license": None, "language": None} | wish)


def test_the_hub_takes_the_card(hub):
    cards = [small_facts(), with_text("a: b\n---\n| `c` {{ d }}"), small_facts(evaluation=None)]
    for facts in cards:
        card = render_card(facts)
        ModelCard(card).validate()
        assert problems(card) == ([], [])  # no error and no warning
    assert [entry for entry in hub.log if "validate-yaml" in str(entry)]
    with pytest.raises(ValueError, match="license"):
        ModelCard(render_card(small_facts(license="my-own-words"))).validate()


# -- what it says


def test_a_figure_stands_with_error_cap_and_definition():
    card = render_card(small_facts())
    assert row(card, "`negative_elbo`")[1:] == ["20.500", "0.250", "–", "upper bound, nats"]
    assert row(card, "`mutual_information`")[3] == "ln N = 2.303"
    assert row(card, "`used_fraction`")[1] == "–"
    assert row(card, "`used_fraction`")[4].endswith("undefined: KL is below 0.05")
    assert row(card, "`kl_per_dimension`")[1:3] == ["0.500 to 1.250 (2 values)", "0.050 to 0.125"]
    assert "N = 10 sentences" in card and "S = 2 posterior samples" in card
    assert "K = 8 importance samples" in card and "split `test`" in card


def test_without_a_report_nothing_was_measured_and_the_command_is_told():
    card = render_card(small_facts(evaluation=None, diagnosis=None))
    assert "Nothing was measured." in card
    assert "hf-seqvae evaluate RUN DATA --iw-samples 500 --output-dir RUN/evaluation" in card
    figures = card[card.index("## Figures") : card.index("## Is the latent used?")]
    assert "|" not in figures  # no table of figures
    assert "**Whether the latent is used was not measured.**" in card


def test_without_importance_samples_the_command_for_them_is_told():
    facts = small_facts()
    facts["evaluation"]["settings"] = {"seed": 0, "num_samples": 1, "iw_samples": None}
    assert "was not measured:\n\n```bash\nhf-seqvae evaluate RUN DATA" in render_card(facts)


def test_hours_are_those_that_were_measured():
    card = render_card(small_facts())
    assert row(card, "CPU hours")[1] == "1.000 (of the first of 2 processes)"
    assert row(card, "GPU hours")[1] == "4.000"  # two hours on two devices
    facts = small_facts()
    facts["training"] |= {"cpu_seconds": None, "wall_seconds": None}
    assert row(render_card(facts), "CPU and GPU hours")[1].startswith("unknown")


def test_the_unknown_is_said_to_be_unknown():
    facts = small_facts(license=None, language=[], repo_id=None, recipe=None, interpolations=None)
    facts["data"] |= {"name": None, "origin": None, "license": None, "num_texts": {}}
    facts["training"]["environment"] = None
    facts["evaluation"]["split"] = None
    card = render_card(facts)
    assert row(card, "license")[1].startswith("none given")
    for label in ("language", "text", "where it comes from", "its license", "GPU hours"):
        assert row(card, label)[1].startswith("unknown"), label
    assert "split unknown" in card and "No recipe lies beside the model" in card
    assert "No interpolations" in card and "`MODEL` stands for" in card


def test_limits_follow_from_the_facts():
    toy, letters = "A toy language", "The text is in the model"
    facts = small_facts()
    assert letters in render_card(facts) and toy not in render_card(facts)
    facts["data"]["is_everyday"] = True
    assert toy in render_card(facts) and letters not in render_card(facts)
    facts["model"]["num_parameters"] = 10**9
    assert "**Small.**" not in render_card(facts)
    facts["diagnosis"] |= {"verdict": "collapsed", "meaning": "z holds nothing."}
    assert "**The latent is collapsed.** z holds nothing." in render_card(facts)
    facts["evaluation"]["figures"]["unknown_share"] = figure(0.25, "share")
    assert "**Unknown words:** 0.250" in render_card(facts)


def test_a_model_without_latents_has_a_card_without_them():
    facts = small_facts(diagnosis=None, interpolations=None, examples=[], pictures=[])
    facts["model"] = {
        "class": "SeqVAELSTMForCausalLM",
        "num_parameters": 10,
        "weights_sha256": "ab",
        "decoder": {"model_type": "seqvae_lstm", "tokens": 20},
        "latent_size": None,
    }
    facts["evaluation"]["figures"] = {"exact_model_nll": figure(20.5, "exact")}
    facts["evaluation"]["headlines"] = ["exact_model_nll"]
    card = render_card(facts)
    assert "A language model without latents" in card and "This model has none." in card
    assert "posterior mean" not in card and "importance" not in card
    assert "vae" not in metadata(card)["tags"] and "AutoModelForCausalLM" in card


def test_the_card_is_a_function_of_its_facts():
    facts = small_facts()
    before = copy.deepcopy(facts)
    assert render_card(facts) == render_card(json.loads(json.dumps(facts)))
    assert facts == before


# -- text of any origin

SNIPPETS = st.sampled_from(
    [
        "---",
        "\n---\n",
        "```",
        "````\n# heading",
        "|",
        "a | b \\",
        "<script>alert(1)</script>",
        "<!--",
        "</details>",
        "[x](http://a)",
        "![x](y)",
        "$$x$$",
        "\\(x\\)",
        "&amp;",
        "* item",
        "{{ 7 * 7 }}",
        "{% raw %}",
        ": {a: [",
        "\u2028",
        "\u202e",
        "\x00\x1b[31m",
        "\ud800",
        "\ufeff",
        "👩‍👩‍👧",
        "x" * 10_000,
    ]
)
HOSTILE = st.lists(st.one_of(SNIPPETS, st.text(max_size=8)), max_size=4).map("".join)


def with_text(text: str) -> dict:
    """The facts with one text wherever text of data, model, machine or user stands."""
    facts = small_facts(name=text)
    facts["data"] |= {"name": text, "origin": text, "license": text}
    facts["recipe"] = {"name": text, "data": {"text_column": text}}
    facts["training"]["environment"] |= {"device_name": text, "versions": {text: text}}
    facts["evaluation"]["data"]["name"] = text
    facts["evaluation"]["figures"]["used_fraction"] |= {"definition": text, "reason": text}
    facts["evaluation"]["figures"]["iw_nll"]["definition"] = text
    facts["diagnosis"] |= {"rule": text, "meaning": text}
    facts["diagnosis"]["evidence"][0] |= {"label": text, "reading": text}
    facts["samples"]["sentences"] = [text, text]
    facts["interpolations"]["walks"] = [{"a": text, "b": text, "sentences": [text, text]}]
    facts["examples"] = [text, text]
    facts["pictures"][0] |= {"title": text, "text": text}
    return facts


def shape(card: str) -> list[str]:
    """Every block of the body, and every inline mark but code, which a pipe may undo."""
    found = []
    for token in MARKDOWN.parse(ModelCard(card).text):
        found.append(f"{token.type} {token.level} {token.info}")
        inside = [part.type for part in token.children or ()]
        found += [part for part in inside if part not in ("text", "code_inline", "text_special")]
    return found


@pytest.fixture(scope="module")
def plain_shape() -> list[str]:
    return shape(render_card(with_text("plain")))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(HOSTILE)
@example("\n---\n```\n| a | b |\n</details>$$x$$")
def test_no_text_breaks_markdown_or_metadata(plain_shape, text):
    card = render_card(with_text(text))
    card.encode("utf-8")
    assert shape(card) == plain_shape
    found = ModelCard(card)
    assert found.data.model_name == visible(text)
    assert found.data.license == "mit"
    blocks = [token for token in MARKDOWN.parse(found.text) if token.type == "fence"]
    samples = next(token for token in blocks if token.info == "text")
    line = visible(text)
    assert samples.content == f"{line if line.strip() else '(empty)'}\n" * 2
    recipe = next(token for token in blocks if token.info == "yaml")
    if "\ud800" not in text:  # no text of UTF-8, and so of no recipe
        assert yaml.safe_load(recipe.content)["data"]["text_column"] == text
    for block in blocks:
        if block.info == "python":
            compile(block.content, "card", "exec")


def test_words_are_readable_after_escaping():
    assert escape("a|b <i> *c* $d$") == r"a\|b \<i\> \*c\* \$d\$"
    assert code("plain.txt") == "`plain.txt`"
    assert code("a`b``c") == "```a`b``c```"
    assert code("") == "(empty)"
    assert visible("a\nb\x1b\u2028\u202e👩‍👧") == r"a\nb\x1b\u2028\u202e👩‍👧"
    assert visible("x" * 400) == "x" * 300 + "… (400 characters)"
    assert fenced(["```", "b"]) == "````text\n```\nb\n````"
    assert fenced(["", "b"]) == "```text\n(empty)\nb\n```"  # as a model may write
    for text in ("it's", 'a "b"', "a\n\u2028", """it's a "b" """, "back\\slash"):
        assert ast.literal_eval(python(text)) == text
    assert python("dog") == '"dog"'
    assert [number(value) for value in (None, 0, 1234, 0.0, 1.5, 0.00123, [2.0, None, 1.0])] == [
        *("–", "0", "1,234", "0.000", "1.500", "1.23e-03", "1.000 to 2.000"),
    ]
