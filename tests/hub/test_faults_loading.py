"""Loading from a Hub that fails: one clear message or the cached copy, and what is kept."""

import errno
import json
import logging
import os
import resource
import shutil
import socket
import time
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
from cli_standins import call, refused, terminal
from hub.fault_page import holds, says
from hub.wire import OTHER
from hub_standins import REPO, model_folder
from huggingface_hub import CommitOperationAdd, HfApi, constants

from hf_seqvae.hub_errors import HubError, hub_errors
from hf_seqvae.latent_space import LatentSpace, fetching, load_model

LARGE_DOWN = "^GET /_cdn/"  # the bytes of a large file, over Xet or LFS
QUESTION = r"^GET /api/models/owner/tiny(/revision/[^/]+)?\?blobs"
FOR_EVER = {"times": None}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return model_folder(tmp_path_factory.mktemp("model") / "m")


def push(folder, repo_id=REPO, **kwargs):
    """Put a folder on the Hub as it is, in one commit."""
    api = HfApi()
    api.create_repo(repo_id, exist_ok=True)
    paths = [path for path in folder.rglob("*") if path.is_file()]
    adds = [CommitOperationAdd(str(path.relative_to(folder)), path) for path in paths]
    return api.create_commit(repo_id, adds, commit_message="x", **kwargs).oid


@pytest.fixture(autouse=True)
def pauses(hub, waits, monkeypatch):
    """Our own pauses, in seconds: noted, and not waited for."""
    noted: list[float] = []
    clock = SimpleNamespace(**vars(time) | {"sleep": noted.append})
    monkeypatch.setattr(fetching, "time", clock)
    return noted


@pytest.fixture
def online(hub, folder):
    """The commit of a model on the Hub."""
    return push(folder)


@pytest.fixture
def warm(online):
    """As `online`, and in the cache."""
    load_model(REPO)
    return online


def failure(kind=HubError, **kwargs):
    with pytest.raises(kind) as raised:
        load_model(REPO, **kwargs)
    return str(raised.value)


def no_hub(monkeypatch):
    """A port that nobody listens at, in place of the Hub's."""
    taken = socket.create_server(("127.0.0.1", 0))
    address = f"http://127.0.0.1:{taken.getsockname()[1]}"
    taken.close()
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(
        constants,
        "HUGGINGFACE_CO_URL_TEMPLATE",
        address + "/{repo_id}/resolve/{revision}/{filename}",
    )


# The question which commit it is

REFUSALS = {
    "401, the token is not valid": {
        "status": 401,
        "headers": {"X-Error-Message": "Invalid credentials in Authorization header"},
    },
    "401 or 404, no such repository, or a private one": {"status": 401},
    "404, no such branch, tag or commit": {
        "status": 404,
        "headers": {"X-Error-Code": "RevisionNotFound"},
    },
}
SILENCE = {
    "the Hub is down": {"drop": True},
    "it answers too late": {"delay": 30.0},
    "429 with Retry-After": {"status": 429, "headers": {"Retry-After": "7"}},
    "500 for ever": {"status": 500},
}


@holds(*REFUSALS)
@pytest.mark.parametrize("row", REFUSALS)
def test_a_refusal_is_an_error_also_with_a_warm_cache(hub, warm, row, pauses, monkeypatch):
    hub.faults.append({"match": QUESTION} | REFUSALS[row] | FOR_EVER)
    message = failure()
    assert says(row, message) and "HF_HUB_OFFLINE=1 loads the copy in the cache" in message
    assert not pauses
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    load_model(REPO)


@holds(*SILENCE)
@pytest.mark.parametrize("row", SILENCE)
def test_without_an_answer_and_without_a_copy_it_is_asked_again_and_then_an_error(
    hub, online, row, pauses, monkeypatch
):
    monkeypatch.setattr(constants, "HF_HUB_ETAG_TIMEOUT", 0.1)
    hub.faults.append({"match": QUESTION} | SILENCE[row] | FOR_EVER)
    assert says(row, failure())
    assert pauses == ([7.0, 7.0] if "429" in row else [1.0, 4.0])


@holds("any of these four, and a copy is in the cache")
@pytest.mark.parametrize("row", SILENCE)
def test_without_an_answer_the_copy_is_used_and_said_so(
    hub, warm, row, pauses, monkeypatch, caplog
):
    monkeypatch.setattr(constants, "HF_HUB_ETAG_TIMEOUT", 0.1)
    hub.faults.append({"match": "" if "down" in row else QUESTION} | SILENCE[row] | FOR_EVER)
    before = len(hub.log)
    caplog.set_level(logging.WARNING, "hf_seqvae")
    load_model(REPO)
    assert says("any of these four, and a copy is in the cache", caplog.messages)
    assert f"(commit {warm[:8]})" in caplog.text
    assert len(hub.log) == before + 1 and not pauses  # one question, no second one


def test_a_refused_connection_is_as_no_answer(warm, monkeypatch, pauses, tmp_path):
    no_hub(monkeypatch)
    started = time.monotonic()
    load_model(REPO)
    assert time.monotonic() - started < 3 and not pauses
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    assert says("the Hub is down", failure()) and pauses == [1.0, 4.0]


@holds("500 once")
def test_a_question_that_fails_once_is_asked_again(hub, online, pauses):
    hub.faults.append({"match": QUESTION, "status": 500})
    load_model(REPO)
    assert pauses == [1.0] and len(hub.requests(QUESTION)) == 2


def test_a_time_that_is_too_long_to_wait_is_told_at_once(hub, online, pauses):
    hub.faults.append({"match": QUESTION, "status": 429, "headers": {"Retry-After": "3600"}})
    assert "Try again in 3600 seconds" in failure() and not pauses


@holds("offline, and nothing or not all in the cache")
def test_offline_without_a_whole_copy_is_an_error(hub, warm, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    copy = fetching.fetch(REPO)
    (copy / "model.safetensors").unlink()
    assert says("offline, and nothing or not all in the cache", failure())


@holds("a proxy or a login page answers")
def test_a_page_in_place_of_an_answer_is_named(hub, online, monkeypatch):
    hub.faults.append({"match": QUESTION, "truncate": None, "status": 200} | FOR_EVER)
    monkeypatch.setattr(
        "hub.server.injected",
        lambda fault: SimpleNamespace(
            body=b"<html>log in", status_code=200, raw_headers=[(b"content-type", b"text/html")]
        ),
    )
    assert says("a proxy or a login page answers", failure())


@holds("403, gated")
def test_a_gated_model_says_where_access_is_asked_for(hub, online, monkeypatch):
    hub.repos[REPO].gated = "manual"
    monkeypatch.setenv("HF_TOKEN", OTHER)
    assert says("403, gated", failure())


def test_a_revision_is_that_of_its_name(hub, folder, tmp_path):
    first = push(folder)
    HfApi().create_tag(REPO, tag="v1")
    other = model_folder(tmp_path / "other")
    push(other)
    wanted = load_model(folder)[0].state_dict()
    found = LatentSpace.from_pretrained(REPO, revision="v1").model.state_dict()
    assert all(bool((found[name] == wanted[name]).all()) for name in wanted)
    assert fetching.fetch(REPO, revision="v1").name == first
    assert fetching.fetch(REPO).name != first
    with pytest.raises(ValueError, match="revision is of a Hub id, and .* is a folder"):
        load_model(folder, revision="v1")


def test_a_warm_load_writes_nothing_into_the_cache(warm):
    def state():
        files = (path for path in Path(constants.HF_HUB_CACHE).rglob("*"))
        return {path: path.lstat().st_mtime_ns for path in files}

    before = state()
    load_model(REPO)
    assert state() == before


def test_an_adapter_beside_the_weights_leads_to_no_other_model(hub, folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "m")
    adapter = {"base_model_name_or_path": "somebody/else", "peft_type": "LORA"}
    (copy / "adapter_config.json").write_text(json.dumps(adapter))
    push(copy)
    load_model(REPO)
    assert not hub.requests("somebody/else|adapter_config.json")


# The bytes


@holds("a body is cut, or the connection drops, once")
@pytest.mark.parametrize("fault", [{"truncate": 500}, {"drop": True}, {"status": 500}], ids=str)
def test_bytes_that_break_off_once_are_fetched_again(hub, transport, online, fault):
    hub.faults.append({"match": LARGE_DOWN} | fault)
    load_model(REPO)
    assert len(hub.requests(LARGE_DOWN)) > 1


@holds("the bytes break off every time")
@pytest.mark.parametrize("fault", [{"truncate": 500}, {"status": 403}], ids=str)
def test_bytes_that_always_break_off_leave_what_came_whole(hub, transport, online, fault):
    hub.faults.append({"match": LARGE_DOWN} | fault | FOR_EVER)
    assert says("the bytes break off every time", failure())
    hub.faults.clear()
    before = len(hub.log)
    load_model(REPO)
    fetched = [entry.path for entry in hub.log[before:] if entry.method == "GET" and entry.sent]
    assert not [path for path in fetched if path.endswith("/config.json")]


@holds("the download of a newer commit breaks off")
def test_an_update_that_breaks_off_leaves_the_earlier_commit(hub, transport, warm, tmp_path):
    push(model_folder(tmp_path / "newer"))
    hub.faults.append({"match": LARGE_DOWN, "status": 403} | FOR_EVER)
    assert says("the download of a newer commit breaks off", failure())
    hub.faults.clear()
    hub.faults.append({"match": QUESTION, "status": 500})
    assert fetching.fetch(REPO).name == warm
    newer = fetching.fetch(REPO)
    assert newer.name != warm and (newer / "model.safetensors").is_file()


@holds("a file comes with another sum than the Hub lists")
def test_a_file_that_came_changed_is_refused_and_removed(hub, transport, online):
    hub.faults.append({"match": LARGE_DOWN, "corrupt": True, "times": None})
    assert says("a file comes with another sum than the Hub lists", failure())
    hub.faults.clear()
    load_model(REPO)


@contextmanager
def files_no_larger_than(size):
    """A disk that is full, as far as this process can have one: longer writes fail."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@holds("the disk is full")
def test_a_full_disk_is_named_and_the_next_call_goes_on(hub, transport, online, folder):
    size = os.path.getsize(folder / "model.safetensors")
    with files_no_larger_than(size - 1):
        message = failure()
    assert says("the disk is full", message)
    load_model(REPO)


@holds("the cache may not be written")
@pytest.mark.parametrize(
    "error",
    [
        PermissionError(errno.EACCES, "Permission denied", "/cache/blobs"),
        OSError(errno.EROFS, "Read-only file system", "/cache/blobs"),
        RuntimeError("I/O error: Permission denied (os error 13)"),  # as Xet puts it
    ],
    ids=repr,
)
def test_a_cache_that_may_not_be_written_is_not_taken_for_a_network_that_fails(error):
    with pytest.raises(HubError) as raised, hub_errors(REPO):
        raise error
    assert says("the cache may not be written", raised.value)
    assert "network" not in str(raised.value)


# The command line


def test_the_command_says_it_in_one_line(hub, warm, monkeypatch):
    with terminal(monkeypatch):
        hub.faults.append({"match": QUESTION, "status": 500})
        made = call("sample", REPO, "-n", "1")
        assert says("any of these four, and a copy is in the cache", made.stderr)
        hub.faults.append({"match": QUESTION} | REFUSALS["401, the token is not valid"])
        line = refused("sample", REPO)
        assert line.startswith("error: ") and says("401, the token is not valid", line)
        shutil.rmtree(constants.HF_HUB_CACHE)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
        assert says("offline, and nothing or not all in the cache", refused("sample", REPO))
