"""One request as the double sees it: its parts, who asks, its route, and the ways to answer."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import parse_qs, unquote, urlencode

from starlette.datastructures import Headers
from starlette.responses import JSONResponse, Response

if TYPE_CHECKING:
    from hub.repos import Repo
    from hub.server import Hub


class User(NamedTuple):
    name: str
    role: str  # of the token, as the request log names it
    can_write: bool


OWNER = "hf_ownerOfTheRepositories00000000001"
OTHER = "hf_somebodyElseWithAnAccount0000000002"
READ_ONLY = "hf_ownersTokenThatMayOnlyRead00000003"
USERS = {
    OWNER: User("owner", "owner", can_write=True),
    OTHER: User("other", "other", can_write=True),
    READ_ONLY: User("owner", "read_only", can_write=False),
}


class HubError(Exception):
    """An answer that is an error; `code` is what the client turns into an exception class."""

    def __init__(self, status: int, message: str, code: str = "", **headers: str):
        super().__init__(message)
        self.status, self.message, self.code, self.headers = status, message, code, headers

    def response(self) -> Response:
        headers = self.headers | {"X-Error-Message": self.message}
        if self.code:
            headers["X-Error-Code"] = self.code
        return JSONResponse({"error": self.message}, self.status, headers)


@dataclass
class Call:
    """A request whose route is known: `parts` are the named pieces of its path, unquoted."""

    hub: "Hub"
    method: str
    path: str  # still percent-encoded: refs%2Fpr%2F1 is one piece
    query: dict[str, list[str]]
    headers: Headers
    body: bytes
    parts: dict[str, str]

    @property
    def token(self) -> str | None:
        scheme, _, token = self.headers.get("authorization", "").partition(" ")
        return token if scheme == "Bearer" else None

    @property
    def user(self) -> User | None:
        """Who asks, or None without a token; a token that is nobody's is refused."""
        if self.token is None:
            return None
        if self.token not in USERS:
            raise HubError(401, "Invalid credentials in Authorization header")
        return USERS[self.token]

    @property
    def writer(self) -> User:
        """Who asks, where only somebody with a token that may write can."""
        if self.user is None:
            raise HubError(401, "Invalid username or password.")
        if not self.user.can_write:
            raise HubError(403, "This token may only read: use one with the role write")
        return self.user

    @property
    def json(self) -> dict[str, Any]:
        return json.loads(self.body)

    @property
    def form(self) -> dict[str, list[str]]:
        return parse_qs(self.body.decode())

    def flag(self, name: str) -> bool:
        return self.query.get(name, [""])[0].lower() in {"1", "true"}

    def repo(self, access: str = "read") -> "Repo":
        """The repository in the path, for one of the kinds of access of Repo.check."""
        return self.hub.repo(self.parts["repo"], self.user, access)


Handler = Callable[[Call], Response]
ROUTES: list[tuple[str, re.Pattern[str], Handler]] = []
PIECES = {"repo": r"[^/]+/[^/]+?", "path": r".+"}


def route(methods: str, path: str) -> Callable[[Handler], Handler]:
    """Enters a handler in the table; `{repo}` is two pieces of the path, `{path}` any number."""
    pattern = re.sub(r"{(\w+)}", lambda m: f"(?P<{m[1]}>{PIECES.get(m[1], '[^/]+')})", path)

    def enter(handler: Handler) -> Handler:
        for method in methods.split():
            ROUTES.append((method, re.compile(pattern), handler))
        return handler

    return enter


def find(method: str, path: str) -> tuple[Handler | None, dict[str, str]]:
    """The handler of a raw path and its pieces, or None."""
    for known, pattern, handler in ROUTES:
        if known == method and (match := pattern.fullmatch(path)):
            return handler, {name: unquote(piece) for name, piece in match.groupdict().items()}
    return None, {}


def reply(data: Any, status: int = 200, **headers: str) -> Response:
    return JSONResponse(data, status, {k.replace("_", "-"): v for k, v in headers.items()})


def page(call: Call, rows: list[Any]) -> Response:
    """One page of the rows, with a link to the next where there is one."""
    start, size = int(call.query.get("cursor", ["0"])[0]), call.hub.page_size
    if start + size >= len(rows):
        return reply(rows[start:])
    query = urlencode(call.query | {"cursor": [str(start + size)]}, doseq=True)
    link = f'<{call.hub.endpoint}{call.path}?{query}>; rel="next"'
    return reply(rows[start : start + size], Link=link)


def content(call: Call, body: bytes, headers: dict[str, str]) -> Response:
    """Bytes of a file: all of them, or those that the Range header names."""
    headers = headers | {"Accept-Ranges": "bytes", "Content-Type": "application/octet-stream"}
    match = re.fullmatch(r"bytes=(\d+)-(\d*)", call.headers.get("range", ""))
    if not match:
        return Response(body, headers=headers)
    start, end = int(match[1]), min(int(match[2] or len(body)), len(body) - 1)
    if start >= len(body):
        raise HubError(416, "Range past the end", **{"Content-Range": f"bytes */{len(body)}"})
    headers["Content-Range"] = f"bytes {start}-{end}/{len(body)}"
    return Response(body[start : end + 1], 206, headers)
