"""Before anything is sent: names, token, rights, and the repository as it stands."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from huggingface_hub import GitRefs, HfApi, constants
from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError
from huggingface_hub.utils import validate_repo_id

from hf_seqvae.hub.errors import hub_errors

MAIN = "main"
_REF = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_./-]*[A-Za-z0-9_-])?")
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class Repository:
    """A repository as it stood when it was looked at; `refs` is None where it is not there yet."""

    repo_id: str
    refs: GitRefs | None

    def branch(self, name: str) -> str | None:
        """The commit at the head of a branch."""
        return _target(self.refs.branches if self.refs else [], name)

    def tag(self, name: str | None) -> str | None:
        """The commit that a tag points at."""
        return _target(self.refs.tags if self.refs else [], name)


def look(api: HfApi, repo_id: str, branch: str, tag: str | None, *, private: bool) -> Repository:
    """The repository as it stands.

    Raises:
        ValueError: it is public where private was asked for, or a name is taken by another kind.
        HubError: it cannot be looked at.
    """
    with hub_errors(repo_id, token=api.token):
        try:
            info = api.repo_info(repo_id)
        except RepositoryNotFoundError:
            return Repository(repo_id, None)
        refs = api.list_repo_refs(repo_id)
    if private and not info.private:
        raise ValueError(
            f"{repo_id} exists and is public, and --private was asked for. Make it private in its "
            "settings first, choose another name, or leave --private out."
        )
    found = Repository(repo_id, refs)
    if found.tag(branch) is not None:
        raise ValueError(f"revision must be a branch, and {branch!r} is a tag of {repo_id}.")
    if tag is not None and found.branch(tag) is not None:
        raise ValueError(f"tag must be a new name, and {tag!r} is a branch of {repo_id}.")
    target, head = found.tag(tag), found.branch(branch) or found.branch(MAIN)
    if target is not None and target != head:
        raise ValueError(tag_taken(tag, repo_id, target))
    return found


def check_names(repo_id: str, branch: str, tag: str | None) -> None:
    """Refuse what can be no repository, branch or tag.

    Raises:
        ValueError: says which, and what a name looks like.
    """
    try:
        validate_repo_id(repo_id)
    except HFValidationError as error:
        raise ValueError(
            f"repo_id must be owner/name of letters, digits, '-', '_' and '.', got {repo_id!r}: "
            f"{error}"
        ) from error
    for kind, name in (("revision", branch), ("tag", tag)):
        if name is not None and (not _REF.fullmatch(name) or ".." in name or "//" in name):
            raise ValueError(
                f"{kind} must be a name of letters, digits and -_./ such as v1.0, got {name!r}."
            )
    if _COMMIT.fullmatch(branch) or branch.startswith("refs/"):
        raise ValueError(f"revision must be a branch to commit to, got {branch!r}.")
    if tag in (branch, MAIN):
        raise ValueError(f"tag must be a new name, got that of a branch, {tag!r}.")


def usable_token(token: str | None) -> str:
    """The token, where there is one and it could be sent.

    Raises:
        ValueError: offline, no token, or a mangled one; it is not shown.
    """
    if constants.HF_HUB_OFFLINE:
        raise ValueError("publishing needs the Hub, and HF_HUB_OFFLINE is set. Unset it.")
    if token is None:
        raise ValueError(
            "publishing needs a token with write access, and there is none. Run `hf auth login`, "
            "or set HF_TOKEN (https://huggingface.co/settings/tokens)."
        )
    if not re.fullmatch(r"[!-~]+", token):
        raise ValueError(
            "the token holds blanks or other characters that no token has (it is not shown here). "
            "Copy it again from https://huggingface.co/settings/tokens."
        )
    return token


def check_rights(api: HfApi, repo_id: str, token: str) -> str:
    """The id with its owner, once the token is known to write for that owner.

    Raises:
        ValueError: it only reads, or belongs to someone else.
        HubError: it is not valid.
    """
    with hub_errors(repo_id, token=token):
        who = api.whoami()
    role = who.get("auth", {}).get("accessToken", {}).get("role")
    if role == "read":  # "write", or "fineGrained", whose rights the Hub alone knows
        raise ValueError(
            f"publishing needs a token with write access, and this one of {who['name']} only "
            "reads. Make another at https://huggingface.co/settings/tokens."
        )
    owner, slash, name = repo_id.rpartition("/")
    if not slash:
        return f"{who['name']}/{name}"
    groups = [group["name"] for group in who.get("orgs", [])]
    if owner not in (who["name"], *groups):
        raise ValueError(
            f"the token of {who['name']} may publish under {', '.join([who['name'], *groups])}, "
            f"got {repo_id}. Choose such a name, or log in as {owner}."
        )
    return repo_id


def tag_taken(tag: str | None, repo_id: str, target: str) -> str:
    """The message for a tag that points elsewhere already."""
    return (
        f"tag {tag!r} of {repo_id} points at another commit already ({target[:8]}); nothing was "
        "sent. Choose a new tag, or delete that one on the Hub first."
    )


def _target(refs: Sequence[Any], name: str | None) -> str | None:
    return next((ref.target_commit for ref in refs if ref.name == name), None)
