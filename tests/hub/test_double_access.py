"""The double of the Hub, asked by the real client: who may do what, references, lists."""

import pytest
from hub.client import NOBODY, REPO, WEIGHTS, WRONG, fresh, get, put, status
from hub.wire import OTHER, OWNER, READ_ONLY
from huggingface_hub import CommitOperationDelete, HfApi, hf_hub_url
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)


def test_repositories_are_created_once_and_by_their_owner(api, hub):
    assert api.create_repo(REPO, exist_ok=True) == f"{hub.endpoint}/{REPO}"
    assert api.create_repo("mine").repo_id == "owner/mine"
    for repo_id, code in ((REPO, 409), ("other/model", 403)):
        with pytest.raises(HfHubHTTPError) as raised:
            api.create_repo(repo_id)
        assert status(raised) == code
    api.delete_repo(REPO)
    assert not api.repo_exists(REPO) and api.repo_exists("owner/mine")


ALL = (OWNER, READ_ONLY, OTHER, NOBODY)
ACCESS = [
    ("public", "facts", dict.fromkeys(ALL)),
    ("public", "file", dict.fromkeys(ALL)),
    ("public", "write", {OWNER: None, READ_ONLY: 403, OTHER: 403, NOBODY: RepositoryNotFoundError}),
    ("private", "facts", {OWNER: None, READ_ONLY: None}),
    ("private", "file", {OWNER: None, READ_ONLY: None}),
    ("private", "write", {OWNER: None, READ_ONLY: 403}),
    ("gated", "facts", dict.fromkeys(ALL)),
    (
        "gated",
        "file",
        {OWNER: None, READ_ONLY: None, OTHER: GatedRepoError, NOBODY: GatedRepoError},
    ),
    ("gated", "write", {OWNER: None, READ_ONLY: 403, OTHER: 403, NOBODY: RepositoryNotFoundError}),
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
    shown = {token: len(list(HfApi(token=token).list_models())) for token in (OWNER, OTHER, NOBODY)}
    assert shown == {OWNER: 2, OTHER: 0, NOBODY: 0}


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
