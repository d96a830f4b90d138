"""Who asks, and the life of repositories, branches and tags."""

from hub.cards import problems
from hub.repos import Repo
from hub.wire import Call, HubError, reply, route
from starlette.responses import Response


@route("GET", "/api/whoami-v2")
def whoami(call: Call) -> Response:
    if call.user is None:
        raise HubError(401, "Invalid username or password.")
    token = {"displayName": "tests", "role": "write" if call.user.can_write else "read"}
    name = call.user.name
    facts = {"type": "user", "name": name, "fullname": name.title(), "orgs": []}
    return reply(facts | {"auth": {"type": "access_token", "accessToken": token}})


def named(call: Call) -> str:
    """The repository that the body of a create or a delete means."""
    if call.json.get("type", "model") != "model":
        raise HubError(501, "The double knows model repositories alone")
    return f"{call.json.get('organization') or call.writer.name}/{call.json['name']}"


@route("POST", "/api/repos/create")
def create_repo(call: Call) -> Response:
    repo_id, author = named(call), call.writer.name
    facts = {"url": f"{call.hub.endpoint}/{repo_id}", "name": repo_id, "id": repo_id}
    if not repo_id.startswith(f"{author}/"):
        raise HubError(403, f"You don't have the rights to create a model under {repo_id}")
    if repo_id in call.hub.repos:
        return reply(facts | {"error": "You already created this model repo"}, 409)
    private = call.json.get("visibility") == "private"
    call.hub.repos[repo_id] = Repo(repo_id, private=private)
    return reply(facts)


@route("DELETE", "/api/repos/delete")
def delete_repo(call: Call) -> Response:
    repo_id = named(call)
    call.hub.repo(repo_id, call.user, "write")
    del call.hub.repos[repo_id]
    return reply({})


@route("PUT", "/api/models/{repo}/settings")
def settings(call: Call) -> Response:
    repo = call.repo("write")
    if "visibility" in call.json:
        repo.private = call.json["visibility"] == "private"
    repo.gated = call.json.get("gated", repo.gated)
    return reply({"private": repo.private, "gated": repo.gated})


@route("GET", "/api/models/{repo}/auth-check")
def may_read(call: Call) -> Response:
    call.repo("files")
    return reply({})


@route("GET", "/api/models/{repo}/auth-check/write")
def may_write(call: Call) -> Response:
    call.repo("write")
    return reply({})


def create_reference(repo: Repo, name: str, revision: str) -> Response:
    if name in repo.refs:
        raise HubError(409, f"Reference {name} already exists")
    repo.refs[name] = repo.at(revision).oid
    return reply({})


def delete_reference(repo: Repo, name: str) -> Response:
    if name not in repo.refs:
        raise HubError(404, f"Reference {name} doesn't exist", "RevisionNotFound")
    if name == "refs/heads/main":
        raise HubError(403, "The main branch stays")
    del repo.refs[name]
    return reply({})


@route("POST", "/api/models/{repo}/branch/{name}")
def create_branch(call: Call) -> Response:
    start = call.json.get("startingPoint") or "main"
    return create_reference(call.repo("write"), f"refs/heads/{call.parts['name']}", start)


@route("DELETE", "/api/models/{repo}/branch/{name}")
def delete_branch(call: Call) -> Response:
    return delete_reference(call.repo("write"), f"refs/heads/{call.parts['name']}")


@route("POST", "/api/models/{repo}/tag/{revision}")
def create_tag(call: Call) -> Response:
    name = f"refs/tags/{call.json['tag']}"
    return create_reference(call.repo("write"), name, call.parts["revision"])


@route("DELETE", "/api/models/{repo}/tag/{name}")
def delete_tag(call: Call) -> Response:
    return delete_reference(call.repo("write"), f"refs/tags/{call.parts['name']}")


@route("POST", "/api/validate-yaml")
def validate_card(call: Call) -> Response:
    errors, warnings = problems(call.json["content"])
    body = {
        "errors": [{"message": message} for message in errors],
        "warnings": [{"message": message} for message in warnings],
    }
    return reply(body, 400 if errors else 200)
