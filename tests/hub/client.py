"""Short calls of the real client, for the tests of the double."""

import os
from pathlib import Path

from huggingface_hub import HfApi, hf_hub_download

REPO = "owner/model"
WEIGHTS = "model.safetensors"
NOBODY, WRONG = False, "hf_nobodys"  # no token, and one that the Hub does not know


def fresh(size: int = 100_000) -> bytes:
    """Bytes that no test before has uploaded."""
    return os.urandom(size)


def put(api: HfApi, path: str, body: bytes | Path, **kwargs):
    return api.upload_file(path_or_fileobj=body, path_in_repo=path, repo_id=REPO, **kwargs)


def get(path: str, **kwargs) -> bytes:
    return Path(hf_hub_download(REPO, path, **kwargs)).read_bytes()


def status(raised) -> int:
    """The status that an exception of the client came of."""
    return raised.value.response.status_code
