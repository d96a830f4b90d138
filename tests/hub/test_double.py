"""The double of the Hub, asked by the real client: round trips, access, references, lists."""

import os
import struct
from pathlib import Path

import pytest
from hub.wire import OTHER, OWNER, READ_ONLY
from huggingface_hub import (
    CommitOperationAdd,
    CommitOperationDelete,
    HfApi,
    hf_hub_download,
    hf_hub_url,
    snapshot_download,
)
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

REPO = "owner/model"
WEIGHTS = "model.safetensors"


def fresh(size: int = 100_000) -> bytes:
    """Bytes that no test before has uploaded."""
    return os.urandom(size)


@pytest.fixture
def api(hub):
    client = HfApi()
    client.create_repo(REPO)
    return client


def put(api, path, body, repo_id=REPO, **kwargs):
    return api.upload_file(path_or_fileobj=body, path_in_repo=path, repo_id=repo_id, **kwargs)


def get(path, repo_id=REPO, **kwargs):
    return Path(hf_hub_download(repo_id, path, **kwargs)).read_bytes()


def snapshot(**kwargs):
    """The files of a snapshot that the tests put there."""
    top = Path(snapshot_download(REPO, **kwargs))
    paths = [path for path in top.rglob("*") if path.is_file() and path.name != ".gitattributes"]
    return {path.relative_to(top).as_posix(): path.read_bytes() for path in paths}


def status(raised):
    return raised.value.response.status_code


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


def test_repositories_are_created_once_and_by_their_owner(api, hub):
    assert api.create_repo(REPO, exist_ok=True) == f"{hub.endpoint}/{REPO}"
    assert api.create_repo("mine").repo_id == "owner/mine"
    for repo_id, code in ((REPO, 409), ("other/model", 403)):
        with pytest.raises(HfHubHTTPError) as raised:
            api.create_repo(repo_id)
        assert status(raised) == code
    api.delete_repo(REPO)
    assert not api.repo_exists(REPO) and api.repo_exists("owner/mine")


NONE, WRONG = False, "hf_nobodys"
ALL = (OWNER, READ_ONLY, OTHER, NONE)
ACCESS = [
    ("public", "facts", dict.fromkeys(ALL)),
    ("public", "file", dict.fromkeys(ALL)),
    ("public", "write", {OWNER: None, READ_ONLY: 403, OTHER: 403, NONE: RepositoryNotFoundError}),
    ("private", "facts", {OWNER: None, READ_ONLY: None}),
    ("private", "file", {OWNER: None, READ_ONLY: None}),
    ("private", "write", {OWNER: None, READ_ONLY: 403}),
    ("gated", "facts", dict.fromkeys(ALL)),
    ("gated", "file", {OWNER: None, READ_ONLY: None, OTHER: GatedRepoError, NONE: GatedRepoError}),
    ("gated", "write", {OWNER: None, READ_ONLY: 403, OTHER: 403, NONE: RepositoryNotFoundError}),
    ("public", "facts", {WRONG: 401}),
]
ASK = {
    "facts": lambda api: api.model_info(REPO),
    "file": lambda api: api.get_hf_file_metadata(url=hf_hub_url(REPO, "a.txt"), token=api.token),
    "write": lambda api: put(api, "b.txt", b"x"),
}


@pytest.mark.parametrize(("state", "wish", "answers"), ACCESS)
def test_every_token_gets_its_own_answer(api, hub, state, wish, answers):
    put(api, "a.txt", b"x")
    hub.repos[REPO].private = state == "private"
    hub.repos[REPO].gated = "auto" if state == "gated" else False
    expected = (
        answers if WRONG in answers else dict.fromkeys(ALL, RepositoryNotFoundError) | answers
    )
    for token, answer in expected.items():
        if answer is None:
            ASK[wish](HfApi(token=token))
            continue
        with pytest.raises(HfHubHTTPError) as raised:
            ASK[wish](HfApi(token=token))
        if isinstance(answer, int):
            assert type(raised.value) is HfHubHTTPError and status(raised) == answer
        else:
            assert type(raised.value) is answer


def test_settings_make_a_repository_private_or_gated(api):
    assert HfApi(token=OTHER).model_info(REPO).private is False
    api.update_repo_settings(REPO, private=True, gated="manual")
    assert (api.model_info(REPO).private, api.model_info(REPO).gated) == (True, "manual")
    assert api.create_repo("owner/secret", private=True).repo_id == "owner/secret"
    assert not HfApi(token=OTHER).repo_exists("owner/secret")


def test_who_is_let_in_reads_a_gated_repository(api, hub, transport):
    put(api, WEIGHTS, body := fresh())
    api.update_repo_settings(REPO, gated="manual")
    with pytest.raises(GatedRepoError):
        get(WEIGHTS, token=OTHER)
    hub.repos[REPO].granted.add("other")
    assert get(WEIGHTS, token=OTHER) == body


def test_no_token_goes_to_the_place_where_the_bytes_are(api, hub, transport):
    api.update_repo_settings(REPO, private=True)
    put(api, WEIGHTS, fresh())
    get(WEIGHTS)
    assert {entry.role for entry in hub.requests(r" /_(cdn|lfs)/")} == {"none"}
    assert {entry.role for entry in hub.requests(" /_cas/")} <= {"xet"}


def test_whoami_tells_the_tokens_apart(hub):
    found = [HfApi(token=token).whoami() for token in (OWNER, READ_ONLY, OTHER)]
    assert [user["name"] for user in found] == ["owner", "owner", "other"]
    assert [user["auth"]["accessToken"]["role"] for user in found] == ["write", "read", "write"]
    with pytest.raises(HfHubHTTPError):
        HfApi(token=WRONG).whoami()


def test_branches_and_tags_are_made_once_and_deleted(api):
    api.create_branch(REPO, branch="draft")
    api.create_tag(REPO, tag="v1", revision="draft")
    for again in (
        lambda: api.create_branch(REPO, branch="draft"),
        lambda: api.create_tag(REPO, tag="v1"),
    ):
        with pytest.raises(HfHubHTTPError) as raised:
            again()
        assert status(raised) == 409
    refs = api.list_repo_refs(REPO)
    assert [ref.name for ref in refs.branches + refs.tags] == ["main", "draft", "v1"]
    api.delete_branch(REPO, branch="draft")
    api.delete_tag(REPO, tag="v1")
    assert [ref.name for ref in api.list_repo_refs(REPO).branches] == ["main"]
    with pytest.raises(HfHubHTTPError):
        api.delete_branch(REPO, branch="main")
    for missing in ("draft", "v1", "0" * 40):
        with pytest.raises(RevisionNotFoundError):
            get(".gitattributes", revision=missing)


def test_commits_go_to_branches_alone(api):
    api.create_tag(REPO, tag="v1")
    for revision in ("v1", "nowhere", api.model_info(REPO).sha):
        with pytest.raises(RevisionNotFoundError):
            api.create_commit(
                REPO, [CommitOperationDelete("x")], commit_message="x", revision=revision
            )


def test_lists_come_in_pages(api, hub):
    for n in range(5):
        put(api, f"folder/{n}.txt", b"x", commit_message=f"number {n}")
        api.create_repo(f"owner/other-{n}")
    hub.page_size, start = 2, len(hub.log)
    assert api.list_repo_files(REPO) == [".gitattributes", *(f"folder/{n}.txt" for n in range(5))]
    assert len(api.list_repo_commits(REPO)) == 6
    assert len(list(api.list_models(author="owner"))) == 6
    assert [entry.status for entry in hub.log[start:]] == [200] * (
        4 + 3 + 3
    )  # seven rows of a tree


def test_lists_show_what_is_there(api, hub):
    put(api, "README.md", b"---\nlibrary_name: hf_seqvae\ntags: [vae]\n---\n")
    commit = put(api, "folder/a.txt", b"12345")
    put(api, "b.txt", b"x")
    rows = {row.path: row for row in api.list_repo_tree(REPO, recursive=True, expand=True)}
    assert list(rows) == [".gitattributes", "README.md", "b.txt", "folder", "folder/a.txt"]
    assert rows["folder"].last_commit.oid == rows["folder/a.txt"].last_commit.oid == commit.oid
    assert [row.path for row in api.list_repo_tree(REPO, "folder")] == ["folder/a.txt"]
    assert [row.size for row in api.get_paths_info(REPO, ["folder/a.txt", "none"])] == [5]
    with pytest.raises(RemoteEntryNotFoundError):
        list(api.list_repo_tree(REPO, "none"))
    assert [model.id for model in api.list_models(search="mod", filter=["vae"])] == [REPO]
    assert not list(api.list_models(filter="gan"))
    assert api.model_info(REPO).card_data.library_name == "hf_seqvae"
