"""A local test double of the Hub's wire protocol, driven by the real, unmodified client.

It does not show that the real Hub accepts us. It knows model repositories alone, keeps all in
memory, and does not sign the links of its CDN.
"""

import asyncio
import logging
import os
import re
import socket
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import hub.accounts
import hub.listing
import hub.pulls
import hub.transfer  # noqa: F401  (each enters its routes)
import uvicorn
from hub.faults import Fault, Faults
from hub.repos import Repo, missing
from hub.wire import OWNER, USERS, Call, HubError, User, find
from hub.xet import Store
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response


@dataclass
class Entry:
    """One request in the log; `role` names the token and never holds it."""

    method: str
    path: str
    query: str
    role: str
    received: int  # bytes of the request's body
    range: str = ""
    known: bool = True  # False: no route has this path
    status: int | None = None  # None: no answer was sent
    sent: int = 0  # bytes of the answer's body

    def __str__(self) -> str:
        return f"{self.method} {self.path}" + (f"?{self.query}" if self.query else "")


class Hub:
    """The double: repositories, large objects, faults and the log of requests."""

    def __init__(self, listener: socket.socket):
        port = listener.getsockname()[1]
        self.listener = listener
        self.endpoint = f"http://127.0.0.1:{port}"
        self.cdn = f"http://localhost:{port}"  # another origin: tokens must not go there
        self.xet = Store()
        self.reset()

    def reset(self) -> None:
        """Forgets all but the xorbs, which the client's own shard cache refers to."""
        self.repos: dict[str, Repo] = {}
        self.objects: dict[str, bytes] = {}  # sha256 -> large file
        self.parts: dict[str, bytes] = {}  # path of the upload -> part of a large file
        self.xet.forget_files()
        self.faults = Faults()
        self.log: list[Entry] = []
        self.broken: list[str] = []  # requests that the double itself failed at
        self.page_size = 1000
        self.part_size: int | None = None  # bytes; larger LFS files come in parts
        self.transport: str | None = None

    def start(self) -> None:
        config = uvicorn.Config(
            self.app,
            http="h11",
            loop="asyncio",
            ws="none",
            interface="asgi3",
            lifespan="off",
            proxy_headers=False,
            log_config=None,
            log_level="error",
            timeout_keep_alive=3600,  # an idle connection never closes under a request
        )
        # a connection that a fault cut is no error; a traceback of the double is
        logging.getLogger("uvicorn.error").addFilter(lambda record: bool(record.exc_info))
        self.server = uvicorn.Server(config)
        self.listener.listen(128)  # a request that comes before the thread is ready waits
        self.thread = threading.Thread(
            target=self.server.run, kwargs={"sockets": [self.listener]}, daemon=True, name="hub"
        )
        self.thread.start()

    def stop(self) -> None:
        self.server.should_exit = self.server.force_exit = True
        self.thread.join(10)

    def environment(self, home: Path, token: str | None = OWNER) -> dict[str, str]:
        """The environment of a fresh process that finds this Hub and none of our caches."""
        mine = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "TRANSFORMERS_"))}
        mine |= {
            "HF_ENDPOINT": self.endpoint,
            "HF_HOME": str(home),
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_ETAG_TIMEOUT": "10",
            "HF_HUB_DOWNLOAD_TIMEOUT": "10",
            "HF_XET_CLIENT_RETRY_BASE_DELAY": "20ms",
        }
        if token is not None:
            mine["HF_TOKEN"] = token
        if self.transport == "lfs":
            mine["HF_HUB_DISABLE_XET"] = "1"
        return mine

    def requests(self, pattern: str) -> list[Entry]:
        """The requests whose "METHOD /path?query" matches, in order."""
        return [entry for entry in self.log if re.search(pattern, str(entry))]

    def check(self) -> None:
        """What must hold after any test: the double did its work, and its faults struck."""
        assert not self.broken, f"the double itself failed at {self.broken}"
        assert not self.faults.idle, f"no request came for {self.faults.idle}: nothing was tested"

    def check_transport(self) -> None:
        """Large files went the way that `transport` names, and none the other way."""
        ways = {
            "xet": self.requests(r"^POST /_cas/v2/shards|^GET /_cdn/xorbs/"),
            "lfs": self.requests(r"^(PUT|POST) /_lfs/|^GET /_cdn/lfs/"),
        }
        went = {way: [str(entry) for entry in entries] for way, entries in ways.items() if entries}
        assert went.keys() == {self.transport}, (
            f"{self.transport} was wanted, the files took {went}"
        )

    def repo(self, repo_id: str, user: User | None, access: str) -> Repo:
        if repo_id not in self.repos:
            raise missing(user)
        self.repos[repo_id].check(user, access)
        return self.repos[repo_id]

    def answer(self, call: Call) -> Response:
        """The answer without faults."""
        at_cdn = call.headers["host"].startswith("localhost:")
        if at_cdn and "authorization" in call.headers:
            return HubError(400, "A token was sent to the CDN").response()
        handler, call.parts = find(call.method, call.path)
        try:
            if handler is not None:
                return handler(call)
            if call.path.startswith("/api/models/") or "/resolve/" in call.path:
                raise missing(call.user)
            raise HubError(404, f"No such route: {call.method} {call.path}")
        except HubError as error:
            return error.response()

    async def app(self, scope: Any, receive: Any, send: Any) -> None:
        request = Request(scope, receive)
        path, query = scope["raw_path"].decode(), scope["query_string"].decode()
        body = await request.body()
        call = Call(self, request.method, path, parse_qs(query), request.headers, body, {})
        entry = Entry(call.method, path, query, role(call.headers), len(body))
        entry.range = call.headers.get("range", "")
        entry.known = find(call.method, path)[0] is not None
        self.log.append(entry)
        fault = self.faults.strike(str(entry))
        if not fault.after:
            await asyncio.sleep(fault.delay)
        response = None
        if fault.works:
            self.broken.append(str(entry))
            response = self.answer(call)
            self.broken.remove(str(entry))
        if fault.after:
            await asyncio.sleep(fault.delay)
        if fault.status is not None:
            response = injected(fault)
        await deliver(send, entry, response, fault)


def role(headers: Headers) -> str:
    """Whose token a request carries, in a word."""
    token = headers.get("authorization", "").removeprefix("Bearer ")
    if not token:
        return "none"
    if token in USERS:
        return USERS[token].role
    return "xet" if token.startswith("xet_") else "unknown"


def injected(fault: Fault) -> Response:
    # A 401 says which by a header here: the client tells repositories by URL for https alone.
    code = "RepoNotFound" if fault.status == 401 else ""
    if "X-Error-Message" in fault.headers:
        code = ""
    return HubError(fault.status or 500, "A fault of the test", code, **fault.headers).response()


async def deliver(send: Any, entry: Entry, response: Response | None, fault: Fault) -> None:
    """Sends the answer as the fault leaves it."""
    transport = send.__self__.transport  # uvicorn's own: ASGI has no word for a broken connection
    if fault.drop or response is None:
        transport.abort()
        return
    body = bytes(response.body)
    if fault.corrupt:
        middle = len(body) // 2
        body = body[:middle] + bytes([body[middle] ^ 1]) + body[middle + 1 :]
    sent = body if fault.truncate is None else body[: fault.truncate]
    entry.status, entry.sent = response.status_code, 0 if entry.method == "HEAD" else len(sent)
    headers = [*response.raw_headers, (b"x-request-id", b"double-%d" % id(entry))]
    start = {"type": "http.response.start", "status": response.status_code, "headers": headers}
    await send(start)
    await send({"type": "http.response.body", "body": sent, "more_body": len(sent) < len(body)})
    if len(sent) < len(body):
        transport.close()
