"""The page's tables have a test for each row; and no fault shows or keeps a token."""

import importlib
import logging
from pathlib import Path

import pytest
from cli_standins import refused, terminal
from hub import test_faults_content, test_faults_loading, test_faults_publish
from hub.fault_page import HELD, rows
from hub.wire import USERS, User
from hub.wire import HubError as Refusal
from hub_standins import REPO, run_folder, use_card
from huggingface_hub import HfApi, constants

from hf_seqvae.hub import commit as committing
from hf_seqvae.hub import publish
from hf_seqvae.hub_errors import HubError
from hf_seqvae.latent_space import fetching, load_model

# rows that tests of publishing hold: what they expect stands there
ELSEWHERE = {
    "no token, or one that only reads": (
        "test_what_cannot_be_published_is_refused_before_anything_is_sent"
    ),
    "500 or a dropped connection once": "test_a_commit_whose_answer_is_lost_lands_exactly_once",
    "the answer is lost, and the Hub is gone": (
        "test_where_the_hub_does_not_answer_any_more_the_end_is_said_to_be_unknown"
    ),
    "the tag fails": "test_a_tag_that_fails_leaves_the_commit_and_the_next_publish_makes_it",
}


def test_every_row_has_a_test_and_every_test_of_a_row_its_row():
    assert {*rows()} == {*HELD, *ELSEWHERE}
    modules = (test_faults_loading, test_faults_publish, test_faults_content)
    for names in HELD.values():
        assert all(any(hasattr(module, name) for module in modules) for name in names)
    publishing = importlib.import_module("hub.test_publish")
    text = " ".join(Path(str(publishing.__file__)).read_text().split())
    for row, name in ELSEWHERE.items():
        assert callable(getattr(publishing, name))
        for quoted in rows()[row]:
            words = quoted.split()
            assert " ".join(words[-4:]) in text, f"{name} does not expect {quoted!r}"


def test_a_row_without_a_test_would_be_seen(monkeypatch):
    monkeypatch.setitem(HELD, "a row that is not there", ["test"])
    with pytest.raises(AssertionError):
        test_every_row_has_a_test_and_every_test_of_a_row_its_row()


# Tokens

TOKEN = "a-token.that-looks-like-none/93b1f7c2"
FAULTS = [{"drop": True}, *({"status": status} for status in (401, 403, 500))]


@pytest.fixture
def run(hub, waits, tmp_path, monkeypatch):
    """A run; the owner has this token alone, and every error of the Hub repeats it."""
    use_card(monkeypatch)
    monkeypatch.setitem(USERS, TOKEN, User("owner", "owner", can_write=True))
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    for module in (committing, fetching):
        monkeypatch.setattr(module, "PAUSES", (0.0, 0.0))
    words = f"the token {TOKEN} may not do this"
    monkeypatch.setattr("hub.server.injected", lambda f: Refusal(f.status, words).response())
    return run_folder(tmp_path / "run")


def chain(error):
    """An error and all that it came from, as anybody could print them."""
    if error is not None:
        yield from (str(error), repr(error), repr(error.args))
        yield from chain(error.__cause__)
        yield from chain(error.__context__)


def failures(hub, match, act):
    """All that is shown where requests that match fail in each of the ways."""
    for fault in FAULTS:
        hub.faults.append({"match": match, "times": None} | fault)
        with pytest.raises(HubError) as raised:
            act()
        yield from chain(raised.value)
        hub.faults.clear()


def commands(hub, run, monkeypatch):
    """All that two commands print."""
    with terminal(monkeypatch):
        for command in (("publish", run, REPO), ("sample", REPO)):
            hub.faults.append({"match": "^GET /api/models", "status": 403})
            yield refused(*command)


WAYS = {
    "commit": lambda hub, run, _: failures(hub, "POST .*/commit/", lambda: publish(run, REPO)),
    "look": lambda hub, run, _: failures(hub, "^GET .*/tiny$", lambda: publish(run, REPO)),
    "load": lambda hub, run, _: failures(
        hub, test_faults_loading.QUESTION, lambda: load_model(REPO)
    ),
    "command": commands,
}


@pytest.mark.parametrize("way", WAYS)
def test_no_fault_shows_or_keeps_the_token(hub, run, way, tmp_path, caplog, capfd, monkeypatch):
    caplog.set_level(logging.DEBUG, "hf_seqvae")
    shown = list(WAYS[way](hub, run, monkeypatch))
    assert "the token [token] may not do this" in "".join(shown)
    publish(run, REPO)
    load_model(REPO)
    hub.faults.append({"match": test_faults_loading.QUESTION, "status": 500})
    load_model(REPO)  # from the cache, with a warning
    assert not [text for text in [*shown, *caplog.messages, *capfd.readouterr()] if TOKEN in text]
    HfApi().snapshot_download(REPO, local_dir=tmp_path / "down")
    places = [tmp_path, Path(constants.HF_HUB_CACHE), Path(constants.HF_HOME)]
    files = [path for place in places for path in place.rglob("*") if path.is_file()]
    assert len(files) > 40
    assert not [path for path in files if TOKEN.encode() in path.read_bytes()]
