"""A model of the Hub -> a folder: what loading needs, of one commit, each file as it was sent."""

import hashlib
import logging
import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from huggingface_hub import HfApi, constants, hf_hub_download, try_to_load_from_cache
from huggingface_hub.errors import OfflineModeIsEnabled
from huggingface_hub.hf_api import RepoFile, RepoSibling
from transformers.utils import CONFIG_NAME

from hf_seqvae.hub_errors import (
    CLIENT_ERRORS,
    HubError,
    explain,
    hub_errors,
    is_passing,
    pause_before_next,
    redact,
)
from hf_seqvae.latent_space.folders import weight_files

logger = logging.getLogger(__name__)

PAUSES = (1.0, 4.0)  # seconds before the second and the third try

# neither code nor pickles, which could run anything, nor pictures and weights of something else
NEEDED = re.compile(
    r"(decoder_tokenizer/)?(?!adapter_)[^/]+\.(json|txt|jinja|model|codes|tokenizer)"
    r"|model(-\d{5}-of-\d{5})?\.safetensors"
)
_Answer = TypeVar("_Answer")
_HALF = "What came whole stays in the cache, and the next call fetches the rest."


def fetch(repo_id: str, *, revision: str | None = None) -> Path:
    """The folder in the cache that holds a model of the Hub; what is there is not fetched again.

    The Hub is asked once which commit is meant, and every file is of that commit. Where it does not
    answer, the commit that was loaded last is taken, and a warning says so; where it refuses, that
    is an error, also with a warm cache. A branch or tag points at a new commit only once all of it
    is there, so that a load which breaks off leaves the earlier one.

    Args:
        repo_id: OWNER/NAME.
        revision: branch, tag or commit; by default main.

    Raises:
        HubError: it is not there, may not be read, cannot be reached or came damaged.
        ValueError: it holds no model.
    """
    cached = _cached(repo_id, revision)
    try:
        info = _ask(
            lambda: HfApi().model_info(
                repo_id,
                revision=revision,
                files_metadata=True,
                timeout=constants.HF_HUB_ETAG_TIMEOUT,
            ),
            pauses=PAUSES if cached is None else (),
        )
    except OfflineModeIsEnabled as error:
        if cached is not None:
            return cached
        raise HubError(
            f"{repo_id} is not in the cache, or not whole, and HF_HUB_OFFLINE is set. Unset it."
        ) from error
    except CLIENT_ERRORS as error:
        if cached is None or not is_passing(error):
            kept = "" if cached is None else "HF_HUB_OFFLINE=1 loads the copy in the cache."
            with hub_errors(repo_id, kept=kept):
                raise
        logger.warning(
            "%s The copy in the cache is used (commit %s); HF_HUB_OFFLINE=1 spares the question.",
            redact(explain(error, repo_id)),
            cached.name[:8],
        )
        return cached
    rows = [row for row in info.siblings or [] if NEEDED.fullmatch(row.rfilename)]
    if CONFIG_NAME not in {row.rfilename for row in rows}:
        raise ValueError(
            f"{repo_id} holds no model: it has no {CONFIG_NAME}. Give the id of a repository that "
            "hf-seqvae publish or push_to_hub made."
        )
    assert info.sha is not None  # the Hub names the commit of every repository
    with hub_errors(repo_id, kept=_HALF):
        paths = {row.rfilename: _fetch_file(repo_id, row, info.sha) for row in rows}
    folder = paths[CONFIG_NAME].parent
    _point_at(folder, revision or constants.DEFAULT_REVISION)
    return folder


def _ask(ask: Callable[[], _Answer], *, pauses: tuple[float, ...]) -> _Answer:
    """An answer of the Hub, asked for again after each of the pauses where it may go better."""
    for pause in (*pauses, None):
        try:
            return ask()
        except CLIENT_ERRORS as error:
            wait = pause_before_next(error, pause)
            if wait is None:
                raise
        time.sleep(wait)
    raise AssertionError("the last try returns or raises")


def _cached(repo_id: str, revision: str | None) -> Path | None:
    """The folder of the commit that was loaded last, where its weights are whole."""
    found = try_to_load_from_cache(repo_id, CONFIG_NAME, revision=revision)
    if not isinstance(found, str):
        return None
    try:
        weight_files(Path(found).parent)
    except ValueError:
        return None
    return Path(found).parent


def _fetch_file(repo_id: str, row: RepoSibling, commit: str) -> Path:
    """A file in the cache; one that comes now is compared with what the Hub says of it."""
    known = try_to_load_from_cache(repo_id, row.rfilename, revision=commit)
    path = Path(
        _ask(lambda: hf_hub_download(repo_id, row.rfilename, revision=commit), pauses=PAUSES)
    )
    if not isinstance(known, str) and not is_as_sent(path, row):
        for link in {path, path.resolve()}:
            link.unlink(missing_ok=True)
        raise HubError(
            f"{row.rfilename} of {repo_id} came damaged: it is not the file that the Hub lists "
            "(by its sum). It was removed from the cache; load again. If that does not help, "
            "something between here and the Hub changes files."
        )
    return path


def is_as_sent(path: Path, row: RepoFile | RepoSibling) -> bool:
    """Whether a file has the size and the sum that the Hub lists: sha256 if large, else git's."""
    if path.stat().st_size != row.size:
        return False
    with path.open("rb") as file:
        if row.lfs is not None:
            return hashlib.file_digest(file, "sha256").hexdigest() == row.lfs.sha256
        content = file.read()  # files that are not large are small
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest() == row.blob_id


def _point_at(folder: Path, revision: str) -> None:
    """Let a branch or tag mean this commit, as the client's cache keeps it: refs/NAME."""
    reference = folder.parents[1] / "refs" / revision
    if revision == folder.name or (reference.is_file() and reference.read_text() == folder.name):
        return
    reference.parent.mkdir(parents=True, exist_ok=True)
    partial = reference.with_name(f"{reference.name}.{os.getpid()}")
    partial.write_text(folder.name, encoding="utf-8")
    partial.replace(reference)
