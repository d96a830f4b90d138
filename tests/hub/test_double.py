"""The double of the Hub, asked by the real client: what goes up comes down."""

import struct
from pathlib import Path

import pytest
from hub.client import REPO, WEIGHTS, fresh, get, put, status
from hub.wire import OTHER
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, snapshot_download
from huggingface_hub.errors import HfHubHTTPError, RemoteEntryNotFoundError


def snapshot(**kwargs):
    """The files of a snapshot that the tests put there."""
    top = Path(snapshot_download(REPO, **kwargs))
    paths = [path for path in top.rglob("*") if path.is_file() and path.name != ".gitattributes"]
    return {path.relative_to(top).as_posix(): path.read_bytes() for path in paths}


FILES = {"config.json": b"{}", "code/model.py": "ö = 1".encode(), "empty.txt": b""}


def by_upload_file(api, folder):
    for path in folder.rglob("*.*"):
        put(api, path.relative_to(folder).as_posix(), path)


def by_upload_folder(api, folder):
    api.upload_folder(repo_id=REPO, folder_path=folder)


def by_create_commit(api, folder):
    paths = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*.*")}
    adds = [CommitOperationAdd(name, path) for name, path in paths.items()]
    api.create_commit(REPO, adds, commit_message="all at once")


@pytest.mark.parametrize("upload", [by_upload_file, by_upload_folder, by_create_commit])
def test_what_is_uploaded_comes_back(api, transport, tmp_path, upload):
    files = FILES | {WEIGHTS: fresh(), "deep/er/x.bin": fresh(20_000)}
    for name, body in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(body)
    upload(api, tmp_path)
    assert snapshot() == files


CONTENTS = {
    "random": lambda: fresh(400_000),  # several chunks, none of which can be packed
    "text": lambda: fresh(50).hex().encode() * 3000,
    "floats": lambda: b"".join(
        struct.pack("<f", 1 + byte / 256) for byte in fresh(50_000)
    ),  # packed by byte planes
    "one byte": lambda: fresh(1),
}


@pytest.mark.parametrize("kind", CONTENTS)
def test_large_files_of_every_kind_come_back(api, transport, kind):
    body = CONTENTS[kind]()
    put(api, WEIGHTS, body)
    assert get(WEIGHTS) == body


def test_a_file_made_of_two_uploads_comes_back(api, transport):
    first, second = fresh(300_000), fresh(200_000)
    put(api, "first.bin", first)
    put(api, "both.bin", first + second)
    assert get("both.bin") == first + second


def test_a_large_file_comes_in_parts_over_lfs(api, hub, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
    hub.part_size, body = 40_000, fresh(100_000)
    put(api, WEIGHTS, body)
    assert [entry.received for entry in hub.requests("^PUT")] == [40_000, 40_000, 20_000]
    assert get(WEIGHTS) == body


def test_what_is_no_text_is_large_and_what_is_ignored_stays_at_home(api, tmp_path):
    files = {"a.txt": "ö".encode() * 400, "b": b"a\0b", "c.png": b"\xff\xfe", "x.log": b"1"}
    files |= {".gitignore": b"*.log\ncheckpoint-*/\n", "checkpoint-1/d.txt": b"1", "y.pt": b"1"}
    for name, body in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(body)
    api.upload_folder(repo_id=REPO, folder_path=tmp_path)
    large = {row.path: row.lfs is not None for row in api.list_repo_tree(REPO)}
    assert large == {".gitattributes": False, ".gitignore": False, "a.txt": False} | dict.fromkeys(
        ("b", "c.png", "y.pt"), True
    )


def test_a_gitignore_on_the_hub_holds_unless_the_client_sends_one(api, tmp_path):
    put(api, ".gitignore", b"*.json\n*.bin\n")
    adds = [CommitOperationAdd(name, fresh()) for name in ("a.json", "b.bin", "c.txt")]
    api.create_commit(REPO, adds, commit_message="some")
    assert api.list_repo_files(REPO) == [".gitattributes", ".gitignore", "c.txt"]
    again = [CommitOperationAdd(name, fresh()) for name in ("a.json", "b.bin")]
    api.preupload_lfs_files(REPO, again, gitignore_content="")
    api.create_commit(REPO, again, commit_message="all")
    assert {"a.json", "b.bin"} < set(api.list_repo_files(REPO))


def test_every_revision_has_its_own_files(api, transport):
    old, new = fresh(), fresh()
    first = put(api, WEIGHTS, old)
    api.create_tag(REPO, tag="v1")
    api.create_branch(REPO, branch="feature/x")
    put(api, WEIGHTS, new)
    put(api, "only.txt", b"x", revision="feature/x")
    assert get(WEIGHTS) == new
    for revision in ("v1", "feature/x", first.oid):
        assert get(WEIGHTS, revision=revision) == old
    assert snapshot(revision="feature/x") == {WEIGHTS: old, "only.txt": b"x"}
    assert snapshot(revision="v1") == {WEIGHTS: old}


def test_a_file_in_the_cache_is_asked_for_and_not_sent_again(api, hub, transport):
    body = fresh()
    put(api, WEIGHTS, body)
    get(WEIGHTS)
    sent = len(hub.requests("^GET"))
    assert get(WEIGHTS) == body
    assert len(hub.requests("^HEAD")) == 2 and len(hub.requests("^GET")) == sent


def test_deleted_files_are_gone_from_the_head_alone(api):
    for path in ("a.txt", "folder/b.txt", "folder/c.txt", "d.txt"):
        before = put(api, path, b"x")
    api.create_commit(REPO, [CommitOperationDelete("folder/")], commit_message="x")
    api.delete_file("a.txt", REPO)
    assert api.list_repo_files(REPO) == [".gitattributes", "d.txt"]
    assert "a.txt" in api.list_repo_files(REPO, revision=before.oid)
    with pytest.raises(RemoteEntryNotFoundError):
        api.delete_file("a.txt", REPO)


def test_unchanged_files_make_no_commit(api, hub, transport, tmp_path):
    (tmp_path / WEIGHTS).write_bytes(fresh())
    (tmp_path / "config.json").write_bytes(b"{}")
    first = api.upload_folder(repo_id=REPO, folder_path=tmp_path)
    again = api.upload_folder(repo_id=REPO, folder_path=tmp_path)
    assert again.oid == first.oid and len(hub.requests("^POST .*/commit/")) == 1


def test_stored_content_is_not_sent_again(api, hub, transport):
    body = fresh()
    put(api, "a.bin", body)
    before = len(hub.requests("^PUT /_lfs|/_cas/v1/xorbs/"))
    put(api, "b.bin", body)
    assert before == len(hub.requests("^PUT /_lfs|/_cas/v1/xorbs/")) == 1
    assert get("b.bin") == body


def test_a_stale_parent_is_refused_and_changes_nothing(api):
    first = put(api, "a.txt", b"1")
    second = put(api, "a.txt", b"2", parent_commit=first.oid[:7])
    with pytest.raises(HfHubHTTPError) as raised:
        put(api, "a.txt", b"3", parent_commit=first.oid)
    assert status(raised) == 412
    assert api.model_info(REPO).sha == second.oid and get("a.txt") == b"2"


def test_a_pull_request_leaves_main_as_it_is(api, transport, tmp_path):
    (tmp_path / WEIGHTS).write_bytes(body := fresh())
    (tmp_path / "config.json").write_bytes(b"{}")
    head = api.model_info(REPO).sha
    whole = api.upload_folder(repo_id=REPO, folder_path=tmp_path, create_pr=True)
    small = put(HfApi(token=OTHER), "fix.txt", b"x", create_pr=True)
    assert [whole.pr_revision, small.pr_revision] == ["refs/pr/1", "refs/pr/2"]
    assert api.model_info(REPO).sha == head
    assert get(WEIGHTS, revision="refs/pr/1") == body
    pulls = api.list_repo_refs(REPO, include_pull_requests=True).pull_requests
    assert [pull.ref for pull in pulls] == ["refs/pr/1", "refs/pr/2"]
    assert [pull.author for pull in api.get_repo_discussions(REPO)] == ["owner", "other"]
