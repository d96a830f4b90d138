"""Discussions and pull requests, as far as create_pr=True goes."""

from typing import Any

from hub.repos import Repo, now
from hub.wire import Call, HubError, User, reply, route
from starlette.responses import Response


def open_discussion(repo: Repo, user: User, title: str, text: str, *, pull: bool) -> int:
    number = len(repo.discussions) + 1
    author = {"name": user.name, "fullname": user.name.title(), "type": "user"}
    first = {"id": f"{number:024x}", "type": "comment", "createdAt": now(), "author": author}
    latest = {"raw": text, "updatedAt": now()}
    first["data"] = {"edited": False, "hidden": False, "latest": latest, "numEdits": 0}
    repo.discussions.append(
        {
            "num": number,
            "title": title,
            "author": author,
            "createdAt": now(),
            "status": "draft" if pull else "open",
            "isPullRequest": pull,
            "repo": {"name": repo.id, "type": "model"},
            "events": [first],
            "changes": {"base": "refs/heads/main"},
            "filesWithConflicts": [],
            "diff": "",
        }
    )
    return number


def open_pull_request(repo: Repo, user: User, title: str, text: str) -> int:
    """The number of a new pull request, whose reference starts at main."""
    number = open_discussion(repo, user, title, text, pull=True)
    repo.refs[f"refs/pr/{number}"] = repo.refs["refs/heads/main"]
    return number


@route("POST", "/api/models/{repo}/discussions")
def create_discussion(call: Call) -> Response:
    repo, user, wish = call.repo(), call.writer, call.json
    if wish.get("pullRequest"):
        return reply({"num": open_pull_request(repo, user, wish["title"], wish["description"])})
    number = open_discussion(repo, user, wish["title"], wish["description"], pull=False)
    return reply({"num": number})


@route("GET", "/api/models/{repo}/discussions")
def discussions(call: Call) -> Response:
    found: list[dict[str, Any]] = call.repo().discussions
    if call.query.get("p", ["0"])[0] != "0":
        found = []
    return reply({"discussions": found, "count": len(found), "start": 0})


@route("GET", "/api/models/{repo}/discussions/{number}")
def discussion(call: Call) -> Response:
    wanted = [d for d in call.repo().discussions if str(d["num"]) == call.parts["number"]]
    if not wanted:
        raise HubError(404, "No such discussion")
    return reply(wanted[0])
