"""Files in and out: preupload, commit, the LFS protocol, resolve and the CDN."""

import base64
import codecs
import hashlib
import json
from fnmatch import fnmatch
from typing import Any

from hub.cards import problems
from hub.pulls import open_pull_request
from hub.repos import LFS_SUFFIXES, Blob, Commit, Repo
from hub.wire import Call, HubError, content, reply, route
from starlette.responses import Response

LARGE = 10 * 2**20  # bytes; larger files are no regular git files


def is_large(path: str, size: int, sample: bytes) -> bool:
    """Whether a file goes to the large storage: by its name, its size, or because it is no text."""
    if path.endswith(LFS_SUFFIXES) or size > LARGE or b"\0" in sample:
        return True
    try:
        codecs.getincrementaldecoder("utf-8")().decode(sample)  # the sample may end inside a letter
    except UnicodeDecodeError:
        return True
    return False


def ignored(path: str, gitignore: str) -> bool:
    """Whether a .gitignore of plain patterns leaves out the file: itself or a folder above it."""
    patterns = [line.strip().strip("/") for line in gitignore.splitlines()]
    parts = path.split("/")
    above = ["/".join(parts[: n + 1]) for n in range(len(parts))] + parts
    return any(fnmatch(p, x) for x in patterns if x and x[0] != "#" for p in above)


@route("POST", "/api/models/{repo}/preupload/{revision}")
def preupload(call: Call) -> Response:
    repo = call.repo("read" if call.flag("create_pr") else "write")
    present = repo.at(call.parts["revision"]).files
    stored = present.get(".gitignore")
    gitignore = call.json.get("gitIgnore", (stored.content or b"").decode() if stored else "")
    files = []
    for file in call.json["files"]:
        path = file["path"]
        large = is_large(path, file["size"], base64.b64decode(file["sample"]))
        row = {"path": path, "uploadMode": "lfs" if large else "regular"}
        row["shouldIgnore"] = ignored(path, gitignore)
        if path in present:
            row["oid"] = present[path].etag
        files.append(row)
    return reply({"files": files})


@route("POST", "/api/models/{repo}/commit/{revision}")
def commit(call: Call) -> Response:
    header, *operations = [json.loads(line) for line in call.body.splitlines()]
    in_pull_request = call.flag("create_pr")
    repo, user = call.repo("read" if in_pull_request else "write"), call.writer
    ref = repo.branch(call.parts["revision"])
    head, parent = repo.at(ref), header["value"].get("parentCommit")
    if parent and not in_pull_request and not head.oid.startswith(parent):
        raise HubError(412, "A commit has happened since. Please refresh and try again.")
    files = dict(head.files)
    for operation in operations:
        apply(call, files, operation["key"], operation["value"])
    title, message = header["value"]["summary"], header["value"].get("description", "")
    new = Commit(files, title, message, user.name, head)
    answer = {"success": True, "commitOid": new.oid}
    answer["commitUrl"] = f"{call.hub.endpoint}/{repo.id}/commit/{new.oid}"
    if in_pull_request:
        number = open_pull_request(repo, user, title, message)
        ref = f"refs/pr/{number}"
        answer["pullRequestUrl"] = f"{call.hub.endpoint}/{repo.id}/discussions/{number}"
    repo.commit(ref, new)
    return reply(answer)


def apply(call: Call, files: dict[str, Blob], key: str, value: dict[str, Any]) -> None:
    """One operation of a commit, on the files of the commit to be."""
    path = value["path"]
    if key == "file":
        body = base64.b64decode(value["content"])
        if len(body) > LARGE:
            raise HubError(400, f"{path} is too large for a regular file: upload it first")
        if path == "README.md" and (errors := problems(body.decode())[0]):
            raise HubError(400, f"Invalid metadata in README.md: {'; '.join(errors)}")
        files[path] = Blob.regular(body)
    elif key == "lfsFile":
        if value["oid"] not in call.hub.objects:
            raise HubError(400, f"{path} points to a large file that was not uploaded")
        size = len(call.hub.objects[value["oid"]])
        if value.get("size", size) != size:
            raise HubError(400, f"{path} has {size} bytes, not {value['size']}")
        files[path] = Blob.large(value["oid"], size)
    elif key in ("deletedFile", "deletedFolder"):
        folder = f"{path.rstrip('/')}/"
        gone = [p for p in files if p == path] if key == "deletedFile" else []
        gone += [p for p in files if p.startswith(folder)] if key == "deletedFolder" else []
        if not gone:
            raise HubError(404, "A file with this name doesn't exist", "EntryNotFound")
        for name in gone:
            del files[name]
    else:
        raise HubError(400, f"Unknown operation in a commit: {key}")


@route("POST", "/{repo}.git/info/lfs/objects/batch")
def lfs_batch(call: Call) -> Response:
    repo = call.repo("write")
    rows = []
    for wanted in call.json["objects"]:
        row = {"oid": wanted["oid"], "size": wanted["size"]}
        if wanted["oid"] not in call.hub.objects:
            verify = {"href": f"{call.hub.endpoint}/{repo.id}.git/info/lfs/verify"}
            row["actions"] = {"upload": upload_action(call, **wanted), "verify": verify}
        rows.append(row)
    return reply({"transfer": "basic", "objects": rows})


def upload_action(call: Call, oid: str, size: int) -> dict[str, Any]:
    """Where the client puts a large file: in one piece, or in parts and then a list of them."""
    place, part = f"{call.hub.cdn}/_lfs/{oid}", call.hub.part_size
    if part is None or size <= part:
        return {"href": place}
    header = {str(n + 1): f"{place}/{n + 1}" for n in range(-(-size // part))}
    return {"href": place, "header": header | {"chunk_size": str(part)}}


def keep(call: Call, sha256: str, body: bytes) -> None:
    """Stores a large file under its sha256, and nothing under a wrong one."""
    if (came := hashlib.sha256(body).hexdigest()) != sha256:
        raise HubError(400, f"sha256 is {came}, not {sha256} as the upload says")
    call.hub.objects[sha256] = body


@route("PUT", "/_lfs/{sha256}")
def put_object(call: Call) -> Response:
    keep(call, call.parts["sha256"], call.body)
    return reply({})


@route("PUT", "/_lfs/{sha256}/{number}")
def put_part(call: Call) -> Response:
    call.hub.parts[call.path] = call.body
    return reply({}, ETag=f'"{hashlib.md5(call.body).hexdigest()}"')


@route("POST", "/_lfs/{sha256}")
def complete_object(call: Call) -> Response:
    parts = call.hub.parts
    bodies = []
    for part in call.json["parts"]:
        body = parts.get(f"{call.path}/{part['partNumber']}", b"")
        if part["etag"] != f'"{hashlib.md5(body).hexdigest()}"':
            raise HubError(400, f"Part {part['partNumber']} is not what was uploaded")
        bodies.append(body)
    keep(call, call.parts["sha256"], b"".join(bodies))
    return reply({})


@route("POST", "/{repo}.git/info/lfs/verify")
def verify_object(call: Call) -> Response:
    call.repo("write")
    if len(call.hub.objects.get(call.json["oid"], b"")) != call.json["size"]:
        raise HubError(404, "The large file is not there, or of another size")
    return reply({})


@route("GET HEAD", "/{repo}/resolve/{revision}/{path}")
def resolve(call: Call) -> Response:
    repo, path = call.repo("files"), call.parts["path"]
    at = repo.at(call.parts["revision"])
    commit = {"X-Repo-Commit": at.oid}
    blob = at.files.get(path)
    if blob is None:
        raise HubError(404, f"{path} does not exist", "EntryNotFound", **commit)
    if blob.content is not None:
        return content(call, blob.content, commit | {"ETag": f'"{blob.oid}"'})
    return Response(status_code=302, headers=commit | links(call, repo, at, blob))


def links(call: Call, repo: Repo, commit: Commit, blob: Blob) -> dict[str, str]:
    """Where a large file is: at the CDN, and at Xet if it came by it."""
    headers = {
        "Location": f"{call.hub.cdn}/_cdn/lfs/{blob.sha256}",
        "ETag": f'"{blob.sha256}"',
        "X-Linked-Etag": f'"{blob.sha256}"',
        "X-Linked-Size": str(blob.size),
    }
    if xet := call.hub.xet.files_by_sha256.get(blob.sha256 or ""):
        token = f"{call.hub.endpoint}/api/models/{repo.id}/xet-read-token/{commit.oid}"
        headers |= {"X-Xet-Hash": xet, "Link": f'<{token}>; rel="xet-auth"'}
    return headers


@route("GET HEAD", "/_cdn/lfs/{sha256}")
def cdn_object(call: Call) -> Response:
    sha256 = call.parts["sha256"]
    if sha256 not in call.hub.objects:
        raise HubError(404, "NoSuchKey")
    return content(call, call.hub.objects[sha256], {"ETag": f'"{sha256}"'})
