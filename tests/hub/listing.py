"""What is where: facts of repositories, trees, references, history."""

from typing import Any

import yaml
from hub.cards import metadata
from hub.repos import POINTER_SIZE, Blob, Commit, Repo, git_hash
from hub.wire import Call, HubError, page, reply, route
from starlette.responses import Response


def facts(call: Call, repo: Repo, commit: Commit, *, blobs: bool = False) -> dict[str, Any]:
    """What the Hub says of a repository at a commit."""
    card = card_data(commit)
    tags = card.get("tags") or []
    tags = [tags] if isinstance(tags, str) else list(tags)
    if card.get("library_name"):
        tags.append(card["library_name"])
    siblings = []
    for path, blob in sorted(commit.files.items()):
        row = file_row(call, path, blob)
        sizes = {"size": row["size"], "blobId": row["oid"]}
        if "lfs" in row:
            sizes["lfs"] = row["lfs"] | {"sha256": row["lfs"]["oid"]}
        siblings.append({"rfilename": path} | (sizes if blobs else {}))
    return {
        "id": repo.id,
        "modelId": repo.id,
        "sha": commit.oid,
        "author": repo.author,
        "private": repo.private,
        "gated": repo.gated,
        "disabled": False,
        "lastModified": commit.date,
        "createdAt": repo.created,
        "tags": tags,
        "library_name": card.get("library_name"),
        "pipeline_tag": card.get("pipeline_tag"),
        "cardData": card,
        "siblings": siblings,
        "downloads": 0,
        "likes": 0,
        "spaces": [],
    }


def card_data(commit: Commit) -> dict[str, Any]:
    """The metadata of the README, empty where there is none that can be read."""
    readme = commit.files.get("README.md")
    try:
        data = metadata(readme.content.decode()) if readme and readme.content else None
    except (yaml.YAMLError, UnicodeDecodeError):
        return {}
    return data if isinstance(data, dict) else {}


def file_row(call: Call, path: str, blob: Blob) -> dict[str, Any]:
    row: dict[str, Any] = {"type": "file", "path": path, "size": blob.size, "oid": blob.oid}
    if blob.sha256:
        row["lfs"] = {"oid": blob.sha256, "size": blob.size, "pointerSize": POINTER_SIZE}
        if blob.sha256 in call.hub.xet.files_by_sha256:
            row["xetHash"] = call.hub.xet.files_by_sha256[blob.sha256]
    return row


def rows(call: Call, commit: Commit, paths: list[str], *, expand: bool) -> list[dict[str, Any]]:
    """A row for each path that is a file or a folder."""
    found = []
    for path in paths:
        if path in commit.files:
            row = file_row(call, path, commit.files[path])
        elif commit.under(path):
            row = {"type": "directory", "path": path, "size": 0, "oid": git_hash(path.encode())}
        else:
            continue
        found.append(row | ({"lastCommit": commit.last_change(path)} if expand else {}))
    return found


@route("GET", "/api/models")
def models(call: Call) -> Response:
    wanted = {key: call.query.get(key, [""])[0] for key in ("author", "search")}
    found = []
    for repo in call.hub.repos.values():
        shown = facts(call, repo, repo.at("main"))
        if repo.private and not (call.user and call.user.name == repo.author):
            continue
        if wanted["author"] not in ("", repo.author) or wanted["search"] not in repo.id:
            continue
        if set(call.query.get("filter", [])) <= {*shown["tags"], shown["pipeline_tag"]}:
            found.append(shown)
    return page(call, found)


@route("GET", "/api/models/{repo}")
def model(call: Call) -> Response:
    repo = call.repo()
    return reply(facts(call, repo, repo.at("main"), blobs=call.flag("blobs")))


@route("GET", "/api/models/{repo}/revision/{revision}")
def model_at(call: Call) -> Response:
    repo = call.repo()
    return reply(facts(call, repo, repo.at(call.parts["revision"]), blobs=call.flag("blobs")))


@route("GET", "/api/models/{repo}/tree/{revision}")
@route("GET", "/api/models/{repo}/tree/{revision}/{path}")
def tree(call: Call) -> Response:
    commit = call.repo().at(call.parts["revision"])
    top = call.parts["path"].rstrip("/") + "/" if "path" in call.parts else ""
    inside = [path for path in commit.files if path.startswith(top)]
    if top and not inside:
        raise HubError(404, f"{top} does not exist", "EntryNotFound")
    folders = {"/".join(p.split("/")[:n]) for p in inside for n in range(1, p.count("/") + 1)}
    paths = sorted({*inside, *(folder for folder in folders if folder.startswith(top))})
    if not call.flag("recursive"):
        paths = [path for path in paths if "/" not in path[len(top) :]]
    return page(call, rows(call, commit, paths, expand=call.flag("expand")))


@route("POST", "/api/models/{repo}/paths-info/{revision}")
def paths_info(call: Call) -> Response:
    commit, form = call.repo().at(call.parts["revision"]), call.form
    expand = form.get("expand", [""])[0].lower() == "true"
    return reply(rows(call, commit, form["paths"], expand=expand))


@route("GET", "/api/models/{repo}/refs")
def refs(call: Call) -> Response:
    kinds = {"branches": "refs/heads/", "tags": "refs/tags/", "pullRequests": "refs/pr/"}
    found: dict[str, list[dict[str, str]]] = {"converts": []}
    for kind, prefix in kinds.items():
        found[kind] = [
            {"name": name.removeprefix(prefix), "ref": name, "targetCommit": oid}
            for name, oid in call.repo().refs.items()
            if name.startswith(prefix)
        ]
    return reply(found)


@route("GET", "/api/models/{repo}/commits/{revision}")
def commits(call: Call) -> Response:
    history = call.repo().at(call.parts["revision"]).history()
    return page(
        call,
        [
            {
                "id": commit.oid,
                "title": commit.title,
                "message": commit.message,
                "date": commit.date,
                "authors": [{"user": commit.author}],
            }
            for commit in history
        ],
    )
