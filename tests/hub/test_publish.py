"""A publish is one commit, all or nothing, over both transports, and nothing leaks."""

import json
import logging
import sys
from pathlib import Path

import pytest
from hub.wire import OTHER, OWNER, READ_ONLY
from hub_standins import REPO, give_new_weights, run_folder, use_card
from huggingface_hub import HfApi, constants
from huggingface_hub.errors import RepositoryNotFoundError

from hf_seqvae.hub import HubError, publish
from hf_seqvae.hub import commit as committing
from hf_seqvae.hub.bundle import MANIFEST
from hf_seqvae.hub_errors import redact

WRITES = r"^(POST|PUT|DELETE) (?!/api/validate-yaml)"
UPLOADS = r"^(PUT|POST) /_lfs/|^POST /_cas/v1/xorbs/"
COMMIT = r"^POST /api/models/owner/tiny/commit/"


@pytest.fixture(autouse=True)
def card(monkeypatch):
    use_card(monkeypatch)
    monkeypatch.setattr(committing, "PAUSES", (0.0, 0.0))


@pytest.fixture
def run(hub, tmp_path):
    return run_folder(tmp_path / "run")


@pytest.fixture
def api(hub):
    return HfApi()


def head(api, branch="main"):
    return api.list_repo_commits(REPO, revision=branch)[0].commit_id


def files_of(api, revision="main"):
    return set(api.list_repo_files(REPO, revision=revision))


def refused(hub, kind, source, repo_id=REPO, **kwargs):
    """The message of a publish that must not have changed anything."""
    before = len(hub.requests(WRITES))
    with pytest.raises(kind) as raised:
        publish(source, repo_id, **kwargs)
    assert len(hub.requests(WRITES)) == before
    assert not any(token in str(raised.value) for token in (OWNER, OTHER, READ_ONLY))
    return str(raised.value)


def test_everything_goes_up_in_one_commit_on_the_head_that_was_looked_at(
    hub, transport, run, api, monkeypatch
):
    parents = []
    create_commit = HfApi.create_commit
    monkeypatch.setattr(
        HfApi,
        "create_commit",
        lambda self, *args, **kwargs: (
            parents.append(kwargs["parent_commit"]) or create_commit(self, *args, **kwargs)
        ),
    )
    done = publish(run, REPO, message="the first")
    assert len(hub.requests(COMMIT)) == 1
    commits = api.list_repo_commits(REPO)
    assert [commit.title for commit in commits][0] == "the first" and len(commits) == 2
    assert parents == [commits[1].commit_id]
    assert done.commit == commits[0].commit_id and done.committed
    assert done.url == f"{hub.endpoint}/{REPO}/commit/{done.commit}"
    assert files_of(api) == {file.path for file in done.files} | {".gitattributes"}
    assert all(file.sent for file in done.files) and not done.deleted


def test_the_same_again_commits_nothing_and_sends_nothing(hub, transport, run, api):
    first = publish(run, REPO)
    uploads, commits = len(hub.requests(UPLOADS)), len(hub.requests(COMMIT))
    again = publish(run, REPO)
    assert not again.committed and again.commit == first.commit
    assert not any(file.sent for file in again.files)
    assert (len(hub.requests(UPLOADS)), len(hub.requests(COMMIT))) == (uploads, commits)


def test_new_weights_alone_are_sent_and_old_shards_go(hub, transport, run, api):
    publish(run, REPO, max_shard_size="4KB")
    sharded = files_of(api)
    api.upload_file(path_or_fileobj=b"MIT", path_in_repo="LICENSE", repo_id=REPO)
    give_new_weights(run)
    done = publish(run, REPO)
    assert {file.path for file in done.files if file.sent} == {"model.safetensors", MANIFEST}
    old = {name for name in sharded if name.startswith("model-")}
    assert len(old) > 2 and set(done.deleted) == old | {"model.safetensors.index.json"}
    assert files_of(api) == sharded - set(done.deleted) | {"model.safetensors", "LICENSE"}


def test_pictures_of_an_earlier_card_go_and_those_of_others_stay(hub, transport, run, api):
    publish(run, REPO, card={"pictures": ("map", "curve")})
    api.upload_file(path_or_fileobj=b"\x89PNG", path_in_repo="assets/mine.png", repo_id=REPO)
    done = publish(run, REPO, card={"pictures": ("map",)})
    assert done.deleted == ["assets/curve.png"]
    assert {"assets/map.png", "assets/mine.png", ".gitattributes"} < files_of(api)


def test_weights_of_an_earlier_push_do_not_stay_beside_new_shards(hub, transport, run, api):
    api.create_repo(REPO)
    api.upload_file(
        path_or_fileobj=run / "best" / "model.safetensors",
        path_in_repo="model.safetensors",
        repo_id=REPO,
    )
    done = publish(run, REPO, max_shard_size="4KB")
    assert "model.safetensors" in done.deleted and "model.safetensors" not in files_of(api)


@pytest.mark.parametrize(
    "fault",
    [{"status": 500}, {"status": 503}, {"drop": True}, {"status": 502, "after": True}]
    + [{"drop": True, "after": True}],
    ids=str,
)
def test_a_commit_whose_answer_is_lost_lands_exactly_once(hub, run, api, fault):
    publish(run, REPO, card={"pictures": ("map", "curve")})
    before = len(api.list_repo_commits(REPO))
    (run / "report.json").write_text(json.dumps({"name": "other"}))
    hub.faults.append({"match": COMMIT, **fault})
    done = publish(run, REPO)
    posts = len(hub.requests(COMMIT)) - 1
    assert posts == (1 if fault.get("after") else 2)  # one that landed is not sent again
    assert len(api.list_repo_commits(REPO)) == before + 1
    assert done.commit == head(api) and done.deleted == ["assets/curve.png"]
    assert {file.path for file in done.files if file.sent} == {"report.json", MANIFEST}


def test_large_files_are_not_sent_again_after_a_failed_commit(hub, transport, run, api):
    hub.faults.append({"match": COMMIT, "status": 500, "times": 3})
    with pytest.raises(HubError, match="failed with status 500.*Nothing was committed"):
        publish(run, REPO)
    assert files_of(api) == {".gitattributes"} and len(hub.requests(COMMIT)) == 3
    uploads = len(hub.requests(UPLOADS))
    assert uploads
    publish(run, REPO)
    assert len(hub.requests(UPLOADS)) == uploads


@pytest.mark.parametrize("lost", [False, True])
def test_a_commit_of_someone_else_in_between_is_not_overwritten(hub, run, api, monkeypatch, lost):
    publish(run, REPO)
    (run / "report.json").write_text(json.dumps({"name": "mine"}))
    compare = committing.compare

    def slow(*args):
        found = compare(*args)
        if len(hub.requests(COMMIT)) == 1:
            api.upload_file(path_or_fileobj=b"{}", path_in_repo="report.json", repo_id=REPO)
        return found

    monkeypatch.setattr(sys.modules["hf_seqvae.hub.publish"], "compare", slow)
    if lost:
        hub.faults.append({"match": COMMIT, "status": 500, "skip": 1})
    with pytest.raises(HubError, match="someone else committed to main of owner/tiny in between"):
        publish(run, REPO)
    assert api.list_repo_commits(REPO)[0].title == "Upload report.json with huggingface_hub"


def test_where_the_hub_does_not_answer_any_more_the_end_is_said_to_be_unknown(hub, run, waits):
    publish(run, REPO)
    (run / "report.json").write_text(json.dumps({"name": "other"}))
    hub.faults.append({"match": COMMIT, "drop": True, "after": True})
    hub.faults.append({"match": "GET .*/commits/main", "status": 403})
    with pytest.raises(HubError, match="whether it landed is not known. Publish again"):
        publish(run, REPO)
    assert not publish(run, REPO).committed


def test_branch_and_tag_are_made_and_a_tag_is_never_moved(hub, transport, run, api):
    first = publish(run, REPO, tag="v1")
    give_new_weights(run)
    second = publish(run, REPO, revision="next", tag="v2")
    refs = api.list_repo_refs(REPO)
    assert {ref.name: ref.target_commit for ref in refs.tags} == {
        "v1": first.commit,
        "v2": second.commit,
    }
    assert head(api) == first.commit and head(api, "next") == second.commit
    # at this very commit a tag may be asked for again; elsewhere it is taken
    assert publish(run, REPO, revision="next", tag="v2").tag == "v2"
    assert "points at another commit" in refused(hub, ValueError, run, tag="v2")
    assert "points at another commit" in refused(hub, ValueError, run, tag="v1")
    assert "'v1' is a tag" in refused(hub, ValueError, run, revision="v1")
    assert "'next' is a branch" in refused(hub, ValueError, run, tag="next")
    give_new_weights(run)
    assert "points at another" in refused(hub, ValueError, run, revision="next", tag="v2")


def test_a_new_branch_is_made_where_nothing_is_new_and_not_by_a_dry_run(hub, run, api):
    first = publish(run, REPO)
    publish(run, REPO, revision="same", dry_run=True)
    assert [ref.name for ref in api.list_repo_refs(REPO).branches] == ["main"]
    again = publish(run, REPO, revision="same")
    assert not again.committed and head(api, "same") == first.commit == again.commit


def test_a_tag_that_fails_leaves_the_commit_and_the_next_publish_makes_it(hub, run, api):
    hub.faults.append({"match": "POST .*/tag/", "status": 500})
    with pytest.raises(HubError, match="The files are there as commit .* publish again to tag it"):
        publish(run, REPO, tag="v1")
    assert publish(run, REPO, tag="v1").committed is False
    assert [ref.name for ref in api.list_repo_refs(REPO).tags] == ["v1"]


def test_private_is_private_and_never_quietly_public(hub, run, api):
    publish(run, REPO, private=True)
    assert api.model_info(REPO).private
    with pytest.raises(RepositoryNotFoundError):
        HfApi(token=OTHER).model_info(REPO)
    assert not publish(run, REPO).committed  # without the word it stays as it is
    publish(run, "owner/open")
    assert "is public, and --private" in refused(hub, ValueError, run, "owner/open", private=True)


def test_a_dry_run_says_what_would_be_sent_and_sends_nothing(hub, run, api):
    planned = publish(run, REPO, dry_run=True, tag="v1", revision="next")
    assert not hub.requests(WRITES)
    assert planned.commit is None and planned.committed and planned.dry_run
    assert all(file.sent and file.size > 0 for file in planned.files)
    done = publish(run, REPO)
    assert [file.path for file in planned.files] == [file.path for file in done.files]
    give_new_weights(run)
    before = len(hub.requests(WRITES))
    planned = publish(run, REPO, dry_run=True, max_shard_size="4KB")
    assert len(hub.requests(WRITES)) == before
    assert planned.deleted == ["model.safetensors"]
    unchanged = {file.path for file in planned.files if not file.sent}
    assert {"config.json", "README.md", "modeling_seqvae.py"} < unchanged


def test_what_cannot_be_published_is_refused_before_anything_is_sent(hub, run, monkeypatch):
    for name in ("owner/", "a/b/c", "owner/a--b", "owner/ä"):
        assert "repo_id must be owner/name" in refused(hub, ValueError, run, name)
    assert "revision must be a name" in refused(hub, ValueError, run, revision="a b")
    assert "must be a branch to commit to" in refused(hub, ValueError, run, revision="a" * 40)
    assert "tag must be a new name" in refused(hub, ValueError, run, tag="main")
    assert "max_shard_size must" in refused(hub, ValueError, run, max_shard_size="x")
    assert "may publish under owner, got other/x" in refused(hub, ValueError, run, "other/x")
    message = refused(hub, ValueError, run, token=READ_ONLY)
    assert "needs a token with write access, and this one of owner only reads" in message
    assert "token is not valid" in refused(hub, HubError, run, token="hf_" + "x" * 34)
    mangled = refused(hub, ValueError, run, token="not a\ntoken")
    assert "holds blanks" in mangled and "not a" not in mangled
    monkeypatch.delenv("HF_TOKEN")
    assert "there is none" in refused(hub, ValueError, run)


@pytest.mark.parametrize("dry_run", [False, True])
def test_a_card_that_the_hub_refuses_is_found_before_anything_is_made(
    hub, run, monkeypatch, dry_run
):
    monkeypatch.setattr(
        "hub_standins.CARD", "---\nlicense: no-such-license\n---\n{repo_id}{words}\n"
    )
    message = refused(hub, ValueError, run, dry_run=dry_run)
    assert "refuses the metadata of the model card" in message and "no-such-license" in message
    assert not hub.repos


def test_a_gitignore_of_the_repository_leaves_nothing_of_a_publish_out(hub, transport, run, api):
    api.create_repo(REPO)
    ignore = b"*.json\n*.py\n*.safetensors\nassets/\n"
    api.upload_file(path_or_fileobj=ignore, path_in_repo=".gitignore", repo_id=REPO)
    done = publish(run, REPO)
    assert files_of(api) == {file.path for file in done.files} | {".gitattributes", ".gitignore"}
    assert not publish(run, REPO).committed


def test_a_repository_that_was_made_in_between_must_be_private_too(hub, run, api, monkeypatch):
    publishing = sys.modules["hf_seqvae.hub.publish"]
    make_bundle = publishing.make_bundle

    def slow(*args, **kwargs):
        api.create_repo(REPO)
        return make_bundle(*args, **kwargs)

    monkeypatch.setattr(publishing, "make_bundle", slow)
    with pytest.raises(ValueError, match="exists and is public, and --private"):
        publish(run, REPO, private=True)
    assert files_of(api) == {".gitattributes"}


def test_what_an_earlier_publish_made_is_read_without_the_cache(hub, run, monkeypatch):
    publish(run, REPO, card={"pictures": ("map", "curve")})
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(run / "report.json" / "no folder"))
    assert publish(run, REPO).deleted == ["assets/curve.png"]


@pytest.mark.parametrize("damaged", [b"{", b"[]", b"{}"])
def test_a_damaged_list_of_files_is_named(hub, run, api, damaged):
    publish(run, REPO)
    api.upload_file(path_or_fileobj=damaged, path_in_repo=MANIFEST, repo_id=REPO)
    assert f"{MANIFEST} of {REPO} is damaged" in refused(hub, ValueError, run)


def test_a_name_without_owner_goes_to_the_owner_of_the_token(hub, run, api):
    assert publish(run, "tiny").repo_id == REPO


def test_no_token_in_logs_errors_or_files(
    hub, transport, run, api, caplog, tmp_path, capfd, monkeypatch
):
    caplog.set_level(logging.DEBUG)
    publish(run, REPO)

    def leak(*args, **kwargs):
        raise ConnectionError(f"illegal header Authorization: Bearer {OWNER}")

    with monkeypatch.context() as patch, pytest.raises(HubError) as raised:
        patch.setattr(HfApi, "list_repo_refs", leak)
        publish(run, REPO)
    assert "[token]" in str(raised.value) and raised.value.__cause__ is None
    printed = capfd.readouterr()
    shown = [record.getMessage() for record in caplog.records] + [str(raised.value), *printed]
    assert not any(OWNER in text for text in shown)
    down = api.snapshot_download(REPO, local_dir=tmp_path / "down")
    files = [path for path in Path(down).rglob("*") if path.is_file()]
    assert len(files) > 20
    assert not any(OWNER.encode() in path.read_bytes() for path in files)


def test_redaction_knows_tokens_by_their_look():
    text = f"Bearer abc.def and {OTHER}, not hf_seqvae or hf_hub"
    assert redact(text) == "Bearer [token] and [token], not hf_seqvae or hf_hub"
