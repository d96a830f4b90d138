"""`publish(source, repo_id)`: a trained model on the Hub, in one commit."""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, ModelCard, constants, get_token

from hf_seqvae.hub.access import (
    MAIN,
    Repository,
    check_names,
    check_rights,
    look,
    tag_taken,
    usable_token,
)
from hf_seqvae.hub.bundle import MAX_SHARD_SIZE, check_folder, make_bundle
from hf_seqvae.hub.commit import Changes, commit, compare
from hf_seqvae.hub.weights import shard_bytes
from hf_seqvae.hub_errors import hub_errors


@dataclass(frozen=True)
class PublishedFile:
    """A file of a published folder: its path, its size in bytes, whether it was new to the Hub."""

    path: str
    size: int
    sent: bool


@dataclass(frozen=True)
class Publication:
    """What a publish did, or would do.

    Attributes:
        repo_id: the repository, with its owner.
        url: the page of the commit, or of the repository where there is none yet.
        commit: id of the commit that holds the files; None where a dry run would make one.
        branch: that it is on.
        tag: that points at it.
        committed: whether there was anything new.
        files: all of them.
        deleted: paths that an earlier publish made and this one removed.
        dry_run: nothing was done.
    """

    repo_id: str
    url: str
    commit: str | None
    branch: str
    tag: str | None
    committed: bool
    files: Sequence[PublishedFile]
    deleted: Sequence[str]
    dry_run: bool

    def to_dict(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)


def publish(
    source: str | Path,
    repo_id: str,
    *,
    private: bool = False,
    revision: str | None = None,
    tag: str | None = None,
    message: str | None = None,
    max_shard_size: int | str = MAX_SHARD_SIZE,
    dry_run: bool = False,
    token: str | None = None,
    card: Mapping[str, Any] | None = None,
) -> Publication:
    """Put a trained model on the Hub: weights, code, tokenizers, card, recipe and report, at once.

    One commit on top of the head that was looked at: all of it lands or nothing. What the Hub has
    is not sent again, and where nothing is new nothing is committed. Files of an earlier publish
    that are no more are removed; files that others added stay. A repository or a branch that is not
    there is made first, and stays, empty, where the commit then fails.

    Args:
        source: a run folder (its best/ is taken) or a model folder.
        repo_id: "owner/name", or "name" for the owner of the token.
        private: make a new repository private.
        revision: the branch, `main` by default; made from `main` where it is not there.
        tag: made at the commit.
        message: first line of the commit.
        max_shard_size: of a file of weights, in bytes or such as "5GB".
        dry_run: look and compare, and change nothing.
        token: in place of the stored one.
        card: options of the model card, such as license and language.

    Raises:
        ValueError: the folder, a name or the token is not fit for this; nothing was sent.
        HubError: the Hub refused, failed or was out of reach; says what it has now.
    """
    shard_bytes(max_shard_size)
    branch = revision or MAIN
    check_names(repo_id, branch, tag)
    check_folder(source)  # before the Hub is asked
    token = usable_token(token or get_token())
    api = HfApi(token=token, library_name="hf-seqvae")
    repo_id = check_rights(api, repo_id, token)
    repository = look(api, repo_id, branch, tag, private=private)
    with tempfile.TemporaryDirectory(prefix="hf-seqvae-") as made:
        folder = Path(made)
        files = make_bundle(
            source,
            folder,
            repo_id=repo_id,
            max_shard_size=max_shard_size,
            token=token,
            **(card or {}),
        )
        changes = _compare(api, repository, branch, folder, files)
        _check_tag(repository, tag, changes)
        _check_card(folder / constants.REPOCARD_NAME, repo_id)
        head = changes.head or None
        if not dry_run:
            with hub_errors(repo_id, token=token, kept="No file was published."):
                if repository.refs is None:
                    api.create_repo(repo_id, private=private, exist_ok=True)
                    # another process may have made it, and not private
                    repository = look(api, repo_id, branch, tag, private=private)
                    changes = _compare(api, repository, branch, folder, files)
                if repository.branch(branch) is None:
                    api.create_branch(repo_id, branch=branch, revision=changes.head)
                head = changes.head
                if not changes.empty:
                    subject = message or "Publish a sequence VAE with hf-seqvae"
                    head = commit(api, repo_id, branch, changes, folder, files, message=subject)
        if not dry_run and tag is not None and repository.tag(tag) is None:
            kept = f"The files are there as commit {head}; publish again to tag it."
            with hub_errors(repo_id, token=token, kept=kept):
                api.create_tag(repo_id, tag=tag, revision=head)
        sizes = {file: (folder / file).stat().st_size for file in files}
    commit_id = None if dry_run and not changes.empty else head
    return Publication(
        repo_id=repo_id,
        url=f"{api.endpoint}/{repo_id}" + (f"/commit/{commit_id}" if commit_id else ""),
        commit=commit_id,
        branch=branch,
        tag=tag,
        committed=not changes.empty,
        files=[PublishedFile(file, sizes[file], file in changes.sent) for file in files],
        deleted=changes.deleted,
        dry_run=dry_run,
    )


def _compare(
    api: HfApi, repository: Repository, branch: str, folder: Path, files: Sequence[str]
) -> Changes:
    """What a publish would do, against the branch, or `main` that it would be made from."""
    head = repository.branch(branch) or repository.branch(MAIN)
    if head is None:
        return Changes(head="", sent=files, deleted=[])
    with hub_errors(repository.repo_id, token=api.token):
        return compare(api, repository.repo_id, head, folder, files)


def _check_tag(repository: Repository, tag: str | None, changes: Changes) -> None:
    target = repository.tag(tag)
    if target is not None and not changes.empty:
        raise ValueError(tag_taken(tag, repository.repo_id, target))


def _check_card(path: Path, repo_id: str) -> None:
    """Ask the Hub about the card's metadata before anything is made; a dry run asks as well."""
    try:
        with hub_errors(repo_id):
            ModelCard.load(path).validate()
    except ValueError as error:
        raise ValueError(
            f"the Hub refuses the metadata of the model card: {error} Nothing was sent."
        ) from error
