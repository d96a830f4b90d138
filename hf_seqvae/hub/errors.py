"""What the Hub's client raises -> one message that says what happened and what to do.

No token goes into a message: `redact` stands at every exit.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from huggingface_hub import constants, get_token
from huggingface_hub.errors import (
    DisabledRepoError,
    GatedRepoError,
    HfHubHTTPError,
    HTTPError,  # pyright: ignore[reportPrivateImportUsage]  (of every transport error too)
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

# what a call of the client ends with when the Hub refuses, fails or is out of reach; its uploads
# raise RuntimeError (LFS and Xet)
CLIENT_ERRORS = (HTTPError, OSError, RuntimeError)

_CLIENT_KINDS = (HTTPError, OfflineModeIsEnabled, LocalEntryNotFoundError)
_TOKEN = re.compile(r"\b(?:hf|api_org)_[A-Za-z0-9]{16,}|(?<=Bearer )\S+")


class HubError(OSError):
    """The Hub refused, failed, or was out of reach; the message says what to do."""


@contextmanager
def hub_errors(repo_id: str, *, token: str | bool | None = None, kept: str = "") -> Iterator[None]:
    """The client's exceptions inside as HubError.

    Args:
        repo_id: what the calls are about.
        token: must not be shown, beside the one that is stored.
        kept: a sentence on what the Hub has now, for the end of the message.
    """
    try:
        yield
    except HubError:
        raise
    except CLIENT_ERRORS as error:
        shown = redact(" ".join([explain(error, repo_id), kept]).strip(), token)
        # an error with a token in its own text must not stand in the traceback either
        cause = error if redact(str(error), token) == str(error) else None
        raise HubError(shown) from cause


def loading_error(error: BaseException, source: str) -> HubError | None:
    """The HubError that a failed load of `source` comes from; None where the Hub has no part in it.

    transformers raises its own errors from those of the client.
    """
    chain: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None:
        chain.append(cause)
        cause = cause.__cause__
    # an answer of the Hub says more than that a file is not in the cache
    for kinds in (HfHubHTTPError, _CLIENT_KINDS):
        for found in chain:
            if isinstance(found, kinds):
                return HubError(redact(explain(found, source)))
    return None


def redact(text: str, token: str | bool | None = None) -> str:
    """The text without tokens: neither this one, nor the stored one, nor what looks like one."""
    for secret in {token, get_token()}:
        if isinstance(secret, str) and secret:
            text = text.replace(secret, "[token]")
    return _TOKEN.sub("[token]", text)


def status_of(error: BaseException) -> int | None:
    """The HTTP status that an exception came from; None where there was no answer."""
    return error.response.status_code if isinstance(error, HfHubHTTPError) else None


def explain(error: BaseException, repo_id: str) -> str:
    """What an exception of the client means for a user, and the cure."""
    if isinstance(error, OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE is set, and this needs the Hub. Unset it."
    if isinstance(error, LocalEntryNotFoundError):
        if constants.HF_HUB_OFFLINE:
            return f"{repo_id} is not in the cache, and HF_HUB_OFFLINE is set. Unset it."
        return f"the Hub could not be reached for {repo_id}, and the cache lacks a file. Try later."
    status = status_of(error)
    said = f" (the Hub says: {_server_text(error)})" if _server_text(error) else ""
    if status is None:
        return (
            f"the Hub could not be reached, or broke off, for {repo_id}: "
            f"{type(error).__name__}: {_one_line(error)}. Check the network, then try again."
        )
    if isinstance(error, GatedRepoError):
        return f"{repo_id} is gated{said}. Ask for access on its page, with the same account."
    if isinstance(error, DisabledRepoError):
        return f"{repo_id} was disabled by the Hub{said}."
    if isinstance(error, RevisionNotFoundError):
        return f"{repo_id} has no such branch, tag or commit{said}."
    if status == 401 and not isinstance(error, RepositoryNotFoundError):
        return f"the token is not valid{said}. Log in again with `hf auth login`, or set HF_TOKEN."
    if status in (401, 404):
        return (
            f"{repo_id} is not there, or is private and the token may not read it{said}. Check "
            "the name, and log in with `hf auth login`."
        )
    if status == 403:
        return (
            f"the token has no right to do this in {repo_id}{said}. Use a token with write access "
            "to it (https://huggingface.co/settings/tokens)."
        )
    if status == 409:
        return f"{repo_id} already has what was to be made, or is busy{said}. Try again."
    if status == 412:
        return (
            f"someone else committed to {repo_id} in between, so nothing was committed over it"
            f"{said}. Publish again to build on the newest state."
        )
    if status == 413:
        return f"a file is too large for {repo_id}{said}. Use smaller shards (--max-shard-size)."
    if status == 429:
        wait = error.response.headers.get("Retry-After", "")  # pyright: ignore[reportAttributeAccessIssue]
        after = f" in {wait} seconds" if wait else " in a few minutes"
        return f"the Hub limits how often it may be asked{said}. Try again{after}."
    if status >= 500:
        return f"the Hub failed with status {status} for {repo_id}{said}. Try again later."
    return f"the Hub refused the request for {repo_id} with status {status}{said}."


def _server_text(error: BaseException) -> str:
    text = error.server_message if isinstance(error, HfHubHTTPError) else None
    return _one_line(text or "")


def _one_line(text: object, length: int = 300) -> str:
    line = " ".join(str(text).split())
    return line if len(line) <= length else line[:length] + "..."
