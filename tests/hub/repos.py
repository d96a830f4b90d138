"""Repositories in memory: blobs, commits, references, and who may see or change them."""

import hashlib
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from hub.wire import HubError, User

LFS_SUFFIXES = (".bin", ".gz", ".h5", ".npy", ".npz", ".onnx", ".pkl", ".pt", ".pth")
LFS_SUFFIXES += (".safetensors", ".zip")
GITATTRIBUTES = "".join(f"*{s} filter=lfs diff=lfs merge=lfs -text\n" for s in LFS_SUFFIXES)
POINTER_SIZE = 134  # bytes of a usual LFS pointer file


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def git_hash(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@dataclass(frozen=True)
class Blob:
    """A file: its bytes in git, or (content None) a pointer to the large object `sha256`."""

    oid: str
    size: int
    content: bytes | None = None
    sha256: str | None = None

    @classmethod
    def regular(cls, content: bytes) -> "Blob":
        return cls(git_hash(content), len(content), content=content)

    @classmethod
    def large(cls, sha256: str, size: int) -> "Blob":
        return cls(git_hash(f"oid sha256:{sha256}\nsize {size}\n".encode()), size, sha256=sha256)

    @property
    def etag(self) -> str:
        """What the client compares its own file with: sha256 of a large one, else the git hash."""
        return self.sha256 or self.oid


@dataclass(frozen=True)
class Commit:
    files: dict[str, Blob]
    title: str
    message: str
    author: str
    parent: "Commit | None" = None
    # not a hash of the content: no client cache of one test can serve another
    oid: str = field(default_factory=lambda: hashlib.sha1(uuid.uuid4().bytes).hexdigest())
    date: str = field(default_factory=now)

    def history(self) -> list["Commit"]:
        """This commit and those before it, newest first."""
        return [self] + (self.parent.history() if self.parent else [])

    def last_change(self, path: str) -> dict[str, str]:
        """The commit that gave the file or the folder at `path` its present state."""
        commit, state = self, self.under(path)
        while commit.parent and commit.parent.under(path) == state:
            commit = commit.parent
        return {"id": commit.oid, "title": commit.title, "date": commit.date}

    def under(self, path: str) -> dict[str, Blob]:
        inside = {name: blob for name, blob in self.files.items() if name.startswith(f"{path}/")}
        return {path: self.files[path]} if path in self.files else inside


@dataclass
class Repo:
    id: str
    private: bool = False
    gated: str | bool = False
    refs: dict[str, str] = field(default_factory=dict)  # full name -> commit
    commits: dict[str, Commit] = field(default_factory=dict)
    discussions: list[dict[str, Any]] = field(default_factory=list)
    granted: set[str] = field(default_factory=set)  # users let into a gated repository
    created: str = field(default_factory=now)

    def __post_init__(self):
        blobs = {".gitattributes": Blob.regular(GITATTRIBUTES.encode())}
        self.commit("refs/heads/main", Commit(blobs, "initial commit", "", self.author))

    @property
    def author(self) -> str:
        return self.id.split("/")[0]

    def commit(self, ref: str, commit: Commit) -> None:
        self.commits[commit.oid] = commit
        self.refs[ref] = commit.oid

    def at(self, revision: str) -> Commit:
        """The commit of a branch, a tag, a full reference or a commit id."""
        for name in (f"refs/heads/{revision}", f"refs/tags/{revision}", revision):
            if name in self.refs:
                return self.commits[self.refs[name]]
        if revision in self.commits:
            return self.commits[revision]
        raise HubError(404, f"Invalid rev id: {revision}", "RevisionNotFound")

    def branch(self, revision: str) -> str:
        """The full name of a reference that commits may move."""
        for name in (f"refs/heads/{revision}", revision):
            if name in self.refs and not name.startswith("refs/tags/"):
                return name
        raise HubError(404, f"{revision} is not a branch", "RevisionNotFound")

    def check(self, user: User | None, access: str) -> None:
        """Raises unless the user has the access: "read" (facts), "files" (contents) or "write"."""
        own = user is not None and user.name == self.author
        if self.private and not own:
            raise missing(user)
        if access == "files" and self.gated and not own:
            if user is None:
                raise HubError(401, f"Access to model {self.id} is restricted.", "GatedRepo")
            if user.name not in self.granted:
                message = f"Access to model {self.id} is restricted and you are not in the list."
                raise HubError(403, message, "GatedRepo")
        if access == "write":
            if user is None:
                raise HubError(401, "Invalid username or password.", "RepoNotFound")
            if not (own and user.can_write):
                raise HubError(403, f"Your token has no write access to {self.id}")


def missing(user: User | None) -> HubError:
    """A repository that is not there or is somebody's secret: the answers are the same."""
    if user is None:
        return HubError(401, "Invalid username or password.", "RepoNotFound")
    return HubError(404, "Repository not found", "RepoNotFound")
