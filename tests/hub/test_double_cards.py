"""The double of the Hub: model cards, the log of requests, what other processes see."""

import json
import os
import subprocess
import sys

import pytest
from hub.address import ENDPOINT
from hub.client import REPO, WEIGHTS, fresh, get, put
from hub.wire import OWNER
from huggingface_hub import HfApi, ModelCard, constants
from huggingface_hub.errors import BadRequestError, HfHubHTTPError

INDEX = """model-index:
- name: a
  results:
  - task: {type: text-generation}
    dataset: {type: ptb, name: PTB}
    metrics:
    - {type: nll, value: 101.5}
"""
GOOD = f"license: mit\ntags: [vae]\nlanguage: en\npipeline_tag: text-generation\n{INDEX}"


def card(metadata):
    return f"---\n{metadata}---\n# A model\n"


@pytest.mark.parametrize("metadata", [GOOD, "model-index: [{name: a, results: []}]\n"])
def test_a_good_card_passes(hub, metadata):
    ModelCard(card(metadata)).validate()


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ("license: mitt\n", "known licenses"),
        ("license: other\n", "license_name"),
        ("tags: {a: b}\n", '"tags" must be'),
        ("language: [en, 3]\n", '"language" must be'),
        ("library_name: [a]\n", '"library_name" must be'),
        ("model-index: []\n", "must be a list"),
        (INDEX.replace("- name: a", "- id: a"), r"\[0\].name is missing"),
        (INDEX.replace("{type: text-generation}", "{name: x}"), r"results\[0\].task.type"),
        (INDEX.replace("name: PTB", "split: test"), r"dataset.name"),
        (INDEX.replace("value: 101.5", "v: 1"), r"metrics\[0\].value"),
        (INDEX + "    source: {name: x}\n", r"source.url"),
        ("- a list\n", "must be a mapping"),
        ("license: [\n", "not YAML"),
    ],
)
def test_a_bad_card_is_refused(api, metadata, message):
    with pytest.raises(ValueError, match=message):
        put(api, "README.md", card(metadata).encode())
    assert api.list_repo_files(REPO) == [".gitattributes"]


@pytest.mark.parametrize(
    ("text", "message"),
    [("# No metadata\n", "empty or missing"), (card("pipeline_tag: vae\n"), "not a task")],
)
def test_a_poor_card_is_warned_of(api, text, message):
    with pytest.warns(UserWarning, match=message):
        put(api, "README.md", text.encode())
    assert get("README.md") == text.encode()


def test_a_commit_checks_the_card_itself(api, monkeypatch):
    monkeypatch.setattr(HfApi, "_validate_yaml", lambda *args, **kwargs: None)
    with pytest.raises(BadRequestError, match="known licenses"):
        put(api, "README.md", card("license: mitt\n").encode())


# The log, and other processes


def test_the_log_names_who_asked_and_never_a_token(api, hub):
    put(api, "a.txt", b"x")
    HfApi(token=False).model_info(REPO)
    assert [entry.role for entry in hub.log] == ["owner", "owner", "owner", "none"]
    assert OWNER not in json.dumps([vars(entry) for entry in hub.log])


def test_an_unknown_route_is_a_404_in_the_log(api, hub):
    with pytest.raises(HfHubHTTPError):
        api.dataset_info("owner/data")
    entry = hub.log[-1]
    assert (entry.status, entry.known) == (404, False)
    assert all(entry.known for entry in hub.log[:-1])


def download_elsewhere(environment):
    """The path and the bytes of the weights, as a fresh process gets them."""
    script = f"import huggingface_hub as h; print(h.hf_hub_download({REPO!r}, {WEIGHTS!r}))"
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    with open(done.stdout.strip(), "rb") as file:
        return file.name, file.read()


def test_a_fresh_process_finds_the_hub_and_nothing_of_ours(api, hub, transport, tmp_path):
    put(api, WEIGHTS, body := fresh())
    api.update_repo_settings(REPO, private=True)
    path, got = download_elsewhere(hub.environment(tmp_path))
    assert path.startswith(str(tmp_path)) and got == body


def test_a_large_download_over_xet_comes_piece_by_piece(api, hub, tmp_path):
    put(api, "half.bin", half := fresh(300_000))
    put(api, WEIGHTS, body := half + fresh(300_000))
    small = {
        f"HF_XET_RECONSTRUCTION_{x}_RECONSTRUCTION_FETCH_SIZE": "100kb" for x in ("MIN", "MAX")
    }
    assert download_elsewhere(hub.environment(tmp_path) | small)[1] == body
    ranges = [entry.range for entry in hub.requests("/_cas/v2/reconstructions/")]
    assert len(ranges) > 1 and "bytes=100000-199999" in ranges


def test_what_the_client_knows_of_an_earlier_test_is_still_there(api, hub):
    put(api, WEIGHTS, body := fresh())
    hub.reset()
    api.create_repo(REPO)
    put(api, WEIGHTS, body)
    assert get(WEIGHTS) == body and not hub.requests("/_cas/v1/xorbs/")


def test_a_test_begins_with_an_empty_hub_and_a_client_online(hub):
    assert not hub.repos and not hub.log and not constants.HF_HUB_OFFLINE
    assert hub.xet.files == {}


def test_without_the_fixture_the_client_is_offline_and_logged_out():
    assert constants.HF_HUB_OFFLINE and "HF_TOKEN" not in os.environ
    assert constants.ENDPOINT == ENDPOINT
