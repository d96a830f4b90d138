"""What the Hub's client raises -> one message that says what happened and what to do.

No token goes into a message: `redact` stands at every exit.
"""

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager
from json import JSONDecodeError

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
# raise RuntimeError (LFS and Xet), and a page in place of an answer JSONDecodeError
CLIENT_ERRORS = (HTTPError, OSError, RuntimeError, JSONDecodeError)

LONGEST_PAUSE = 60.0  # seconds that a Hub which names a time is waited for
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS)

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
        raise HubError(shown) from _without_tokens(error, token)


def redact(text: str, token: str | bool | None = None) -> str:
    """The text without tokens: neither this one, nor the stored one, nor what looks like one."""
    for secret in {token, get_token()}:
        if isinstance(secret, str) and secret:
            text = text.replace(secret, "[token]")
    return _TOKEN.sub("[token]", text)


def _without_tokens(error: BaseException, token: str | bool | None) -> BaseException | None:
    """The error as a cause to show; None where a token stood in it or in one that it came from.

    Python keeps it as the context all the same, so the texts themselves are changed.
    """
    tainted, link = False, error
    while link is not None:
        if redact(repr(link.args), token) != repr(link.args):
            link.args, tainted = (redact(str(link), token),), True
        link = link.__cause__ or link.__context__
    return None if tainted else error


def status_of(error: BaseException) -> int | None:
    """The HTTP status that an exception came from; None where there was no answer."""
    return error.response.status_code if isinstance(error, HfHubHTTPError) else None


def is_passing(error: BaseException) -> bool:
    """Whether the next try may go better: a failure of the server or of the way to it."""
    status = status_of(error)
    if status is None:
        return not isinstance(error, RuntimeError | FileNotFoundError | PermissionError)
    return status >= 500 or status == 429


def pause_before_next(error: BaseException, pause: float | None) -> float | None:
    """Seconds to wait before the same is asked again; None where that makes no sense.

    Args:
        error: what the last try ended with.
        pause: what would be waited if the Hub names no time; None after the last try.
    """
    if pause is None or not is_passing(error):
        return None
    named = _retry_after(error)
    if not named.isdecimal():
        return pause
    return max(pause, float(named)) if float(named) <= LONGEST_PAUSE else None


def explain(error: BaseException, repo_id: str) -> str:
    """What an exception of the client means for a user, and the cure."""
    if isinstance(error, LocalEntryNotFoundError) and isinstance(error.__cause__, HfHubHTTPError):
        error = error.__cause__  # the answer says more than that the file is not in the cache
    if isinstance(error, OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE is set, and this needs the Hub. Unset it."
    if isinstance(error, LocalEntryNotFoundError):
        if constants.HF_HUB_OFFLINE:
            return f"{repo_id} is not in the cache, and HF_HUB_OFFLINE is set. Unset it."
        return f"the Hub could not be reached for {repo_id}, and the cache lacks a file. Try later."
    if _has_number(error, _REFUSED):
        return (
            f"a file of this machine may not be written ({one_line(error)}). Set HF_HOME to a "
            f"folder that may, now {constants.HF_HOME}."
        )
    if _has_number(error, _FULL):
        return (
            f"the disk is full, or a file may not grow that large ({one_line(error)}). Make room, "
            f"or set HF_HOME to a folder on another disk, now {constants.HF_HOME}."
        )
    if isinstance(error, JSONDecodeError):
        return (
            f"what answered for {repo_id} is not the Hub: a proxy, or the login page of a network. "
            f"Open {constants.ENDPOINT} in a browser, then try again."
        )
    status = status_of(error)
    said = f" (the Hub says: {_server_text(error)})" if _server_text(error) else ""
    if status is None:
        return (
            f"the Hub could not be reached, or broke off, for {repo_id}: "
            f"{type(error).__name__}: {one_line(error)}. Check the network, then try again."
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
            f"the token has no right to do this in {repo_id}{said}. Use one that has; to publish, "
            "one with write access (https://huggingface.co/settings/tokens)."
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
        wait = _retry_after(error)
        after = f" in {wait} seconds" if wait else " in a few minutes"
        return f"the Hub limits how often it may be asked{said}. Try again{after}."
    if status >= 500:
        return f"the Hub failed with status {status} for {repo_id}{said}. Try again later."
    return f"the Hub refused the request for {repo_id} with status {status}{said}."


def _retry_after(error: BaseException) -> str:
    return (
        error.response.headers.get("Retry-After", "") if isinstance(error, HfHubHTTPError) else ""
    )


def _has_number(error: BaseException, numbers: tuple[int, ...]) -> bool:
    """Of Python's own errors by their number, of Xet's, which are RuntimeError, by its text."""
    if isinstance(error, OSError):
        return error.errno in numbers
    return any(f"(os error {number})" in str(error) for number in numbers)


def _server_text(error: BaseException) -> str:
    text = error.server_message if isinstance(error, HfHubHTTPError) else None
    return one_line(text or "")


def one_line(text: object, length: int = 300) -> str:
    """A text of the outside for a message: without line breaks, and cut."""
    line = " ".join(str(text).split())
    return line if len(line) <= length else line[:length] + "..."
