"""Xet's content-addressed store, as hf_xet 1.8 talks to it: xorbs, shards, reconstructions.

A xorb is a run of packed chunks. A shard says of which chunks files are made. A reconstruction
says it of one file, and where the bytes are. The hashes of xorbs and chunks are taken on trust
(no BLAKE3 here); the sha256 of every file is computed from its chunks and compared.
"""

import hashlib
import json
import struct
import time
from dataclasses import dataclass, field
from typing import NamedTuple

import lz4.frame
from hub.repos import Repo
from hub.wire import Call, HubError, content, reply, route
from starlette.responses import Response

FOOTER = b"XETBLOB"  # begins the part of a xorb after its chunks
ROW = 48  # bytes of every row of a shard
VERIFIED, HAS_SHA256 = 1 << 31, 1 << 30  # flags of a file's row


class Xorb(NamedTuple):
    packed: bytes
    chunks: list[bytes]
    places: list[int]  # where each packed chunk begins, and where the last one ends


class Term(NamedTuple):
    """Chunks [start, end) of a xorb, `size` bytes of a file."""

    xorb: str
    size: int
    start: int
    end: int


@dataclass
class Store:
    """What Xet holds; the xorbs outlive a reset, since the client's shard cache knows them."""

    xorbs: dict[str, Xorb] = field(default_factory=dict)
    files: dict[str, list[Term]] = field(default_factory=dict)  # file hash -> terms
    files_by_sha256: dict[str, str] = field(default_factory=dict)

    def forget_files(self) -> None:
        self.files, self.files_by_sha256 = {}, {}


def hash_text(raw: bytes) -> str:
    return "".join(f"{word:016x}" for word in struct.unpack("<4Q", raw))


def unpack(packed: bytes, scheme: int, size: int) -> bytes:
    if scheme == 0:
        return packed
    body = lz4.frame.decompress(packed)
    if scheme == 1:
        return body
    if scheme != 2:
        raise HubError(400, f"Unknown packing {scheme} of a chunk")
    planes, start = bytearray(size), 0  # byte n of every group of four, then n + 1, ...
    for plane in range(4):
        length = len(range(plane, size, 4))
        planes[plane::4] = body[start : start + length]
        start += length
    return bytes(planes)


def read_xorb(body: bytes) -> Xorb:
    chunks, places, at = [], [0], 0
    while at < len(body) and not body.startswith(FOOTER, at):
        version, scheme = body[at], body[at + 4]
        packed_size = int.from_bytes(body[at + 1 : at + 4], "little")
        size = int.from_bytes(body[at + 5 : at + 8], "little")
        packed = body[at + 8 : at + 8 + packed_size]
        chunk = unpack(packed, scheme, size) if version == 0 and len(packed) == packed_size else b""
        if len(chunk) != size:
            raise HubError(400, f"Chunk {len(chunks)} of the xorb is broken")
        at += 8 + packed_size
        chunks.append(chunk)
        places.append(at)
    return Xorb(body[:at], chunks, places)


def read_shard(body: bytes) -> list[tuple[str, list[Term], str]]:
    """The files of a shard: hash, terms, and sha256 ("" where the shard does not say)."""
    rows = (body[at : at + ROW] for at in range(ROW, len(body), ROW))
    files = []
    for row in rows:
        if row[:32] == b"\xff" * 32:
            return files
        file, (flags, count) = hash_text(row[:32]), struct.unpack("<2I", row[32:40])
        terms = []
        for _ in range(count):
            row = next(rows)
            _, size, start, end = struct.unpack("<4I", row[32:])
            terms.append(Term(hash_text(row[:32]), size, start, end))
        for _ in range(count if flags & VERIFIED else 0):
            next(rows)
        files.append((file, terms, hash_text(next(rows)[:32]) if flags & HAS_SHA256 else ""))
    raise HubError(400, "The shard has no end")


def token(call: Call, repo: Repo, kind: str) -> Response:
    url, key = f"{call.hub.endpoint}/_cas", f"xet_{kind}_{repo.id}"
    expires = int(time.time()) + 3600
    headers = {
        "X-Xet-Cas-Url": url,
        "X-Xet-Access-Token": key,
        "X-Xet-Token-Expiration": str(expires),
    }
    return reply({"casUrl": url, "accessToken": key, "exp": expires}, **headers)


@route("GET", "/api/models/{repo}/xet-read-token/{revision}")
def read_token(call: Call) -> Response:
    return token(call, call.repo("files"), "read")


@route("GET", "/api/models/{repo}/xet-write-token/{revision}")
def write_token(call: Call) -> Response:
    return token(call, call.repo("read" if call.flag("create_pr") else "write"), "write")


def store(call: Call, *kinds: str) -> Store:
    """The store, for a bearer of a Xet token of one of the kinds."""
    if not (call.token or "").startswith(tuple(f"xet_{kind}_" for kind in kinds)):
        raise HubError(401, f"Needs a Xet token to {' or '.join(kinds)}")
    return call.hub.xet


@route("GET", "/_cas/v1/chunks/default/{hash}")
def known_chunk(call: Call) -> Response:
    raise HubError(404, "The double dedups no chunks between uploads")


@route("POST", "/_cas/v1/xorb-grants/default/{hash}")
def grant(call: Call) -> Response:
    raise HubError(404, "The double grants no direct uploads")


@route("POST", "/_cas/v1/telemetry")
@route("POST", "/_cas/v1/telemetry/{path}")
def telemetry(call: Call) -> Response:
    return reply({})


@route("POST", "/_cas/v1/xorbs/default/{hash}")
def put_xorb(call: Call) -> Response:
    xorbs, name = store(call, "write").xorbs, call.parts["hash"]
    new = name not in xorbs
    xorbs[name] = read_xorb(call.body)
    return reply({"was_inserted": new})


@route("POST", "/_cas/v2/shards")
def put_shard(call: Call) -> Response:
    xet = store(call, "write")
    for file, terms, sha256 in read_shard(call.body):
        pieces = []
        for term in terms:
            if term.xorb not in xet.xorbs or term.end > len(xet.xorbs[term.xorb].chunks):
                raise HubError(400, f"The shard refers to xorb {term.xorb}, which was not uploaded")
            pieces += xet.xorbs[term.xorb].chunks[term.start : term.end]
        body = b"".join(pieces)
        came = hashlib.sha256(body).hexdigest()
        if sha256 not in ("", came):
            raise HubError(400, f"sha256 is {came}, not {sha256} as the shard says")
        call.hub.objects[came] = body
        xet.files[file] = terms
        xet.files_by_sha256[came] = file
    return Response(json.dumps({"type": "result"}) + "\n", media_type="application/x-ndjson")


@route("GET", "/_cas/v2/reconstructions/{hash}")
def reconstruction(call: Call) -> Response:
    xet = store(call, "read", "write")
    if call.parts["hash"] not in xet.files:
        raise HubError(404, "No such file")
    terms = xet.files[call.parts["hash"]]
    size = sum(term.size for term in terms)
    wanted = call.headers.get("range", f"bytes=0-{size - 1}").removeprefix("bytes=")
    first, last = (int(number) for number in wanted.split("-"))
    if first >= size:
        raise HubError(416, "Range past the end")
    rows, places, at, offset = [], {}, 0, 0
    for term in terms:
        if at <= last and at + term.size > first:
            offset = offset if rows else first - at
            chunks = {"start": term.start, "end": term.end}
            rows.append({"hash": term.xorb, "range": chunks, "unpacked_length": term.size})
            bounds = xet.xorbs[term.xorb].places
            span = {"start": bounds[term.start], "end": bounds[term.end] - 1}
            url = f"{call.hub.cdn}/_cdn/xorbs/{term.xorb}?part={term.start}-{term.end}"
            place = {"url": url, "ranges": [{"chunks": chunks, "bytes": span}]}
            places.setdefault(term.xorb, {})[url] = place
        at += term.size
    xorbs = {xorb: list(parts.values()) for xorb, parts in places.items()}
    return reply({"offset_into_first_range": offset, "terms": rows, "xorbs": xorbs})


@route("GET", "/_cdn/xorbs/{hash}")
def get_xorb(call: Call) -> Response:
    xorbs = call.hub.xet.xorbs
    if call.parts["hash"] not in xorbs:
        raise HubError(404, "NoSuchKey")
    return content(call, xorbs[call.parts["hash"]].packed, {})
