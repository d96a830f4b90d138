"""What must not go up with a model: tokens, and paths of the machine that it was trained on."""

import re
from collections.abc import Iterable
from pathlib import Path, PureWindowsPath
from typing import Any

from huggingface_hub import get_token

# keys of a recipe that name files or folders, also by a relative path
_PATH_KEYS = {"train_file", "validation_file", "test_file", "output_dir"}

_SECRETS = {
    "a Hugging Face token": re.compile(r"\b(?:hf|api_org)_[A-Za-z0-9]{16,}"),
    "an API key": re.compile(
        r"\b(?:sk-[A-Za-z0-9_-]{20,}|gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{20,}"
        r"|AKIA[0-9A-Z]{16}|AIza[\w-]{30,}|xox[abprs]-[\w-]{10,})"
    ),
    "a private key": re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----"),
}


def without_paths(values: Any) -> Any:
    """Nested values with every absolute path, and those of files in a recipe, cut to its name."""
    if isinstance(values, dict):
        return {
            key: _name(value)
            if key in _PATH_KEYS and isinstance(value, str)
            else without_paths(value)
            for key, value in values.items()
        }
    if isinstance(values, list):
        return [without_paths(value) for value in values]
    return _name(values) if isinstance(values, str) and _is_private_path(values) else values


def check_private(
    folder: Path, files: Iterable[str], *, token: str | None, roots: Iterable[Path]
) -> None:
    """Refuse a bundle that holds a token, or the way to a folder of this machine.

    Args:
        folder: of the bundle.
        files: which of it; weights and pictures are not text and are not read.
        token: must not be in there, beside the stored one.
        roots: folders whose absolute paths must not be in there; the home folder is added.

    Raises:
        ValueError: naming file and line, not the secret itself.
    """
    tokens = [secret for secret in {token, get_token()} if secret]
    paths = {f"{path.resolve()}/" for path in (*roots, Path.home())} - {"//"}
    for file in files:
        if file.endswith((".safetensors", ".png")):
            continue
        text = (folder / file).read_text(encoding="utf-8", errors="replace")
        for number, line in enumerate(text.splitlines(), start=1):
            kinds = ["the token in use"] if any(secret in line for secret in tokens) else []
            kinds += [kind for kind, pattern in _SECRETS.items() if pattern.search(line)]
            if any(path in line for path in paths):
                kinds.append("a path of this machine")
            if kinds:
                raise ValueError(
                    f"{file} would be published with {kinds[0]} in line {number}. Take it out of "
                    "the recipe or the model's files first; nothing was sent."
                )


def _is_private_path(value: str) -> bool:
    if len(value) > 1000 or "\n" in value:
        return False
    absolute = value.startswith("/") and len(Path(value).parts) > 2
    return absolute or value.startswith(("~/", "../")) or bool(re.match(r"[A-Za-z]:[\\/]", value))


def _name(value: str) -> str:
    return PureWindowsPath(value).name  # it reads both kinds of slashes
