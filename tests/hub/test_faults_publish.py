"""Publishing to a Hub that fails: one clear message, and what the Hub has then."""

import json
import time
from types import SimpleNamespace

import pytest
from cli_standins import refused, terminal
from hub.fault_page import holds, says
from hub.test_faults_loading import no_hub
from hub_standins import REPO, give_new_weights, run_folder, use_card
from huggingface_hub import HfApi

from hf_seqvae.hub import HubError, publish
from hf_seqvae.hub import commit as committing

UPLOADS = r"^(PUT|POST) /_lfs/|^POST /_cas/v1/xorbs/"
COMMIT = r"^POST /api/models/owner/tiny/commit/"
FOR_EVER = {"times": None}


@pytest.fixture(autouse=True)
def pauses(hub, waits, monkeypatch):
    """Our own pauses, in seconds: noted, and not waited for; and a card of a few lines."""
    use_card(monkeypatch)
    noted: list[float] = []
    clock = SimpleNamespace(**vars(time) | {"sleep": noted.append})
    monkeypatch.setattr(committing, "time", clock)
    return noted


@pytest.fixture
def run(hub, tmp_path):
    return run_folder(tmp_path / "run")


def failure(run, **kwargs):
    with pytest.raises(HubError) as raised:
        publish(run, REPO, **kwargs)
    return str(raised.value)


def commits():
    return [commit.commit_id for commit in HfApi().list_repo_commits(REPO)]


AT_THE_COMMIT = {
    "403, the right to write was taken away": {"status": 403},
    "404, the repository was deleted in between": {
        "status": 404,
        "headers": {"X-Error-Code": "RepoNotFound"},
    },
    "409, the Hub is busy with the repository": {"status": 409},
    "412, someone else committed in between": {"status": 412},
    "429, too many requests": {"status": 429, "headers": {"Retry-After": "7"}},
    "500 at every try": {"status": 500},
    "the connection drops at every try": {"drop": True},
}
AGAIN = {"429": [7.0, 7.0], "500": [1.0, 4.0], "the": [1.0, 4.0]}


@holds(*AT_THE_COMMIT)
@pytest.mark.parametrize("row", AT_THE_COMMIT)
def test_a_commit_that_fails_leaves_the_hub_as_it_was(hub, run, row, pauses):
    publish(run, REPO)
    before = commits()
    (run / "report.json").write_text(json.dumps({"name": "other"}))
    hub.faults.append({"match": COMMIT} | AT_THE_COMMIT[row] | FOR_EVER)
    message = failure(run)
    assert says(row, message) and "Nothing was committed." in message
    assert commits() == before
    assert pauses == AGAIN.get(row.replace(",", "").split()[0], [])
    hub.faults.clear()
    assert publish(run, REPO).committed and commits()[1:] == before


BEFORE = {
    "the Hub cannot be reached": {"drop": True},
    "401, the token is not known": {
        "status": 401,
        "headers": {"X-Error-Message": "Invalid credentials in Authorization header"},
    },
}


@holds(*BEFORE)
@pytest.mark.parametrize("row", BEFORE)
@pytest.mark.parametrize("at", ["^GET /api/whoami", "^GET /api/models/owner/tiny/refs"])
def test_what_fails_before_anything_is_sent_sends_nothing(hub, run, row, at):
    HfApi().create_repo(REPO)
    before, asked = commits(), len(hub.log)
    hub.faults.append({"match": at} | BEFORE[row] | FOR_EVER)
    assert says(row, failure(run))
    assert {entry.method for entry in hub.log[asked:]} == {"GET"}
    assert commits() == before


def test_a_refused_connection_is_as_an_unreachable_hub(run, monkeypatch):
    no_hub(monkeypatch)
    assert says("the Hub cannot be reached", failure(run))


@holds("the bytes of a large file do not go up")
@pytest.mark.parametrize("status", [403, 500])
def test_bytes_that_do_not_go_up_commit_nothing(hub, transport, run, status, pauses):
    publish(run, REPO)
    before = commits()
    give_new_weights(run)
    hub.faults.append({"match": UPLOADS, "status": status} | FOR_EVER)
    assert says("the bytes of a large file do not go up", failure(run))
    assert commits() == before and not hub.requests(COMMIT)[1:]
    hub.faults.clear()
    done = publish(run, REPO)
    assert "model.safetensors" in [file.path for file in done.files if file.sent]


@holds("it answers slowly")
def test_a_slow_hub_is_waited_for(hub, transport, run):
    for at in (COMMIT, UPLOADS, "^POST .*/preupload/"):
        hub.faults.append({"match": at, "delay": 0.3})
    assert publish(run, REPO).committed and len(commits()) == 2


@holds("409, the branch was made by someone else in between")
def test_a_branch_that_is_taken_in_between_is_named(hub, run):
    publish(run, REPO)
    hub.faults.append({"match": "^POST .*/branch/", "status": 409})
    message = failure(run, revision="next")
    assert says("409, the branch was made by someone else in between", message)
    assert publish(run, REPO, revision="next").branch == "next"


def test_the_command_says_it_in_one_line(hub, run, monkeypatch):
    with terminal(monkeypatch):
        hub.faults.append({"match": COMMIT, "status": 403} | FOR_EVER)
        line = refused("publish", run, REPO)
    assert says("403, the right to write was taken away", line)
    assert line.startswith("error: ") and "Nothing was committed." in line


def test_a_branch_is_made_also_where_nothing_is_new(hub, run):
    first = publish(run, REPO)
    done = publish(run, REPO, revision="next")
    assert not done.committed and done.commit == first.commit
    branches = {ref.name: ref.target_commit for ref in HfApi().list_repo_refs(REPO).branches}
    assert branches == {"main": first.commit, "next": first.commit}
