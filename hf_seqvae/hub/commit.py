"""One commit that is all or nothing: what differs from the Hub's head, sent and looked after."""

import json
import logging
import re
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
from huggingface_hub.hf_api import RepoFile

from hf_seqvae.hub.bundle import MANIFEST
from hf_seqvae.hub_errors import CLIENT_ERRORS, HubError, hub_errors, pause_before_next
from hf_seqvae.latent_space.fetching import is_as_sent

logger = logging.getLogger(__name__)

PAUSES = (1.0, 4.0)  # seconds before the second and the third try

# read in place of the repository's own .gitignore, by which the client silently leaves files out
_IGNORE_NOTHING = "# a publish is complete"

# weights of any earlier save: one that stays beside new shards would be loaded in their place
_WEIGHTS = re.compile(r"model(-\d{5}-of-\d{5})?\.safetensors(\.index\.json)?")


@dataclass(frozen=True)
class Changes:
    """What a commit on top of `head` would do.

    Attributes:
        head: the commit that was looked at.
        sent: files that are new or differ.
        deleted: files of an earlier publish, or of an earlier save of weights, that are no more.
    """

    head: str
    sent: Sequence[str]
    deleted: Sequence[str]

    @property
    def empty(self) -> bool:
        """Whether there is nothing to commit."""
        return not self.sent and not self.deleted


def compare(api: HfApi, repo_id: str, head: str, folder: Path, files: Sequence[str]) -> Changes:
    """What differs between a bundle and a commit, by the hashes that the Hub lists."""
    rows = api.list_repo_tree(repo_id, recursive=True, revision=head)
    there = {row.path: row for row in rows if isinstance(row, RepoFile)}
    same = {file for file in files if file in there and is_as_sent(folder / file, there[file])}
    ours = set(_earlier_files(api, repo_id, head)) if MANIFEST in there else set()
    ours |= {path for path in there if _WEIGHTS.fullmatch(path)}
    return Changes(
        head=head,
        sent=[file for file in files if file not in same],
        deleted=sorted((ours & set(there)) - set(files)),
    )


def commit(
    api: HfApi,
    repo_id: str,
    branch: str,
    changes: Changes,
    folder: Path,
    files: Sequence[str],
    *,
    message: str,
) -> str:
    """Commit the changes on top of the head that was looked at, and return the commit's id.

    The client never repeats the request that commits. Where it failed, the branch is looked at: the
    commit may have landed all the same. Only where it has not is it sent again, and never without
    the same parent: it cannot land twice.

    Args:
        api: with the token.
        repo_id: the repository.
        branch: exists, and stood at `changes.head`.
        changes: of `compare`.
        folder: of the bundle.
        files: all of the bundle.
        message: first line of the commit.

    Raises:
        HubError: someone else committed in between, or the Hub refused, failed or was out of reach.
    """
    for pause in (*PAUSES, None):
        adds = [CommitOperationAdd(path, folder / path) for path in changes.sent]
        try:
            api.preupload_lfs_files(
                repo_id, adds, revision=branch, gitignore_content=_IGNORE_NOTHING
            )
            return api.create_commit(
                repo_id,
                [*(CommitOperationDelete(path) for path in changes.deleted), *adds],
                commit_message=message,
                revision=branch,
                parent_commit=changes.head,
            ).oid
        except CLIENT_ERRORS as error:
            landed = _landed(api, repo_id, branch, changes, folder, files, error)
            if landed is not None:
                logger.info("the commit landed although the answer was lost: %s", landed)
                return landed
            wait = pause_before_next(error, pause)
            if wait is None:
                with hub_errors(repo_id, token=api.token, kept="Nothing was committed."):
                    raise
        time.sleep(wait)
    raise AssertionError("the last try returns or raises")


def _landed(
    api: HfApi,
    repo_id: str,
    branch: str,
    changes: Changes,
    folder: Path,
    files: Sequence[str],
    error: BaseException,
) -> str | None:
    """The id of our commit where the branch has it after all; None where it stands as it did.

    Raises:
        HubError: the branch moved and its next commit is not ours, or it cannot be looked at.
    """
    unknown = (
        f"Before that the commit failed ({type(error).__name__}), and whether it landed is not "
        "known. Publish again: what is there is not sent twice."
    )
    with hub_errors(repo_id, token=api.token, kept=unknown):
        ids = [commit.commit_id for commit in api.list_repo_commits(repo_id, revision=branch)]
        since = ids[: ids.index(changes.head)] if changes.head in ids else ids
        if not since:
            return None
        if compare(api, repo_id, since[-1], folder, files).empty:
            return since[-1]
    raise HubError(
        f"someone else committed to {branch} of {repo_id} in between ({since[-1][:8]}), so nothing "
        "was committed over it. Publish again to build on the newest state."
    ) from error


def _earlier_files(api: HfApi, repo_id: str, head: str) -> list[str]:
    """The files that an earlier publish made, from the list that it left."""
    with tempfile.TemporaryDirectory(prefix="hf-seqvae-") as made:  # the cache need not be writable
        path = api.hf_hub_download(repo_id, MANIFEST, revision=head, cache_dir=made)
        text = Path(path).read_text(encoding="utf-8")
    try:
        return [str(file) for file in json.loads(text)["files"]]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{MANIFEST} of {repo_id} is damaged ({error!r}): which files an earlier publish made "
            "is not known. Remove it from the repository, then publish again."
        ) from error
