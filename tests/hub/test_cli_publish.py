"""hf-seqvae publish as a person calls it, with the real card; and commands with a Hub id."""

import json
import re

import pytest
from card_standins import trained_run
from cli_standins import call, refused, terminal
from hub.wire import OTHER, OWNER
from hub_standins import language_model_folder, run_folder, use_card
from huggingface_hub import HfApi, ModelCard

REPO = "owner/tiny"
WRITES = r"^(POST|PUT|DELETE) (?!/api/validate-yaml)"


@pytest.fixture(autouse=True)
def clean(monkeypatch):
    with terminal(monkeypatch):
        yield


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return trained_run(tmp_path_factory.mktemp("trained"))


@pytest.fixture
def run(hub, tmp_path, monkeypatch):
    use_card(monkeypatch)
    return run_folder(tmp_path / "run")


def test_a_trained_run_goes_up_with_its_real_card_and_samples_from_there(hub, transport, trained):
    printed = call("publish", trained, REPO, "--tag", "v1", "--data-origin", "made here").stdout
    commit = HfApi().list_repo_commits(REPO)[0].commit_id
    (line,) = printed.splitlines()
    assert line.startswith("published ") and f"{hub.endpoint}/{REPO}/commit/{commit}" in line
    assert line.endswith(", tagged v1")
    card = ModelCard.load(REPO)
    assert card.data.library_name == "transformers" and REPO in card.content
    pictures = set(re.findall(r"\((assets/[^)]*)\)", card.content))
    files = set(HfApi().list_repo_files(REPO))
    assert pictures and pictures < files
    assert {"facts.json", "recipe.yaml", "report.json", "curves.png"} < files
    # the card of the same run is the same: nothing new
    again = call("publish", trained, REPO, "--data-origin", "made here").stdout
    assert again.startswith("nothing new to publish: ")
    assert len(hub.requests("POST .*/commit/")) == 1
    # and it is a model to the commands that take one
    here = call("sample", trained, "-n", "2", "--seed", "3", "--json").stdout
    there = call("sample", REPO, "-n", "2", "--seed", "3", "--json").stdout
    assert json.loads(there) == json.loads(here)


def test_a_language_model_goes_up_with_a_card_of_its_own(hub, transport, tmp_path):
    folder = language_model_folder(tmp_path / "lm")
    call("publish", folder, REPO, "--license", "mit", "--language", "en")
    card = ModelCard.load(REPO)
    assert card.data.license == "mit" and "SeqVAEModel" not in card.content
    here = call("sample", folder, "-n", "2", "--seed", "3", "--json").stdout
    assert json.loads(call("sample", REPO, "-n", "2", "--seed", "3", "--json").stdout) == (
        json.loads(here)
    )


def test_a_dry_run_lists_every_file_and_sends_nothing(hub, run):
    printed = call("publish", run, REPO, "--dry-run").stdout
    assert not hub.requests(WRITES)
    for name in ("model.safetensors", "modeling_seqvae.py", "README.md", "recipe.yaml"):
        assert re.search(rf"{re.escape(name)} +[\d.]+ [kM]?B +send", printed), name
    assert "nothing was changed" in printed.splitlines()[-1]
    call("publish", run, REPO)
    printed = call("publish", run, REPO, "--dry-run", "--max-shard-size", "4KB").stdout
    assert re.search(r"model.safetensors +delete", printed)
    assert re.search(r"README.md +[\d.]+ [kM]?B +there already", printed)


def test_json_says_what_was_done(hub, run):
    done = json.loads(
        call("publish", run, REPO, "--private", "--revision", "next", "--json").stdout
    )
    assert done["repo_id"] == REPO and done["branch"] == "next" and done["committed"]
    assert done["commit"] == HfApi().list_repo_commits(REPO, revision="next")[0].commit_id
    assert {"path": "README.md", "sent": True} in [
        {key: file[key] for key in ("path", "sent")} for file in done["files"]
    ]
    assert HfApi().model_info(REPO).private


def test_a_wrong_call_is_one_line_without_the_token(hub, run, monkeypatch):
    assert "there is no folder" in refused("publish", run / "nothing", REPO)
    assert not hub.log  # what lies here is looked at before the Hub is asked
    assert "repo_id must be owner/name" in refused("publish", run, "a/b/c")
    assert "max_shard_size must be" in refused("publish", run, REPO, "--max-shard-size", "big")
    hub.faults.append({"match": "GET /api/whoami-v2", "status": 401})
    line = refused("publish", run, REPO)
    assert "token is not valid" in line and OWNER not in line
    monkeypatch.setenv("HF_TOKEN", OTHER)
    assert "may publish under other, got owner/tiny" in refused("publish", run, REPO)
    monkeypatch.delenv("HF_TOKEN")
    assert "Run `hf auth login`" in refused("publish", run, REPO)
    assert not hub.requests(WRITES)


def test_a_model_that_the_hub_does_not_give_is_one_line(hub):
    line = refused("sample", "owner/nothing")
    assert "owner/nothing is not there, or is private" in line and OWNER not in line
    hub.faults.append({"match": "GET /api/models/owner/", "status": 403, "times": None})
    assert "has no right" in refused("sample", "owner/nothing")
