"""Recipes as YAML files: load by path or packaged name, override single keys, save.

Words are read as YAML 1.2 reads them where YAML 1.1, PyYAML's own, would mislead: `1e-3` is a
number, `010` is ten, `no` is a word (the name of a precision), and a key written twice is an error.
"""

import re
from collections.abc import Hashable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from hf_seqvae.recipe.schema import Recipe


class RecipeLoader(yaml.SafeLoader):
    """SafeLoader with YAML 1.2's numbers and booleans, and without double keys."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """The mapping of `node`; ValueError where a key stands twice."""
        seen = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                raise ValueError(f"A recipe has no merge keys (<<){key_node.start_mark}.")
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, Hashable):
                raise ValueError(f"A key must be a word, got {key!r}{key_node.start_mark}.")
            if key in seen:
                raise ValueError(f"Key {key!r} is written twice{key_node.start_mark}. Keep one.")
            seen.add(key)
        return super().construct_mapping(node, deep=deep)

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        """Decimal, also behind zeros, 0o17 or 0xf."""
        text = str(self.construct_scalar(node))
        return int(text, 0 if text.startswith(("0o", "0x")) else 10)


_REPLACED = tuple(f"tag:yaml.org,2002:{kind}" for kind in ("bool", "float", "int"))
RecipeLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in _REPLACED]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
RecipeLoader.add_implicit_resolver(
    _REPLACED[0], re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)
RecipeLoader.add_implicit_resolver(
    _REPLACED[1],
    re.compile(
        r"^[-+]?(?:\.[0-9]+|[0-9]+\.[0-9]*)(?:[eE][-+]?[0-9]+)?$"
        r"|^[-+]?[0-9]+[eE][-+]?[0-9]+$|^[-+]?\.inf$|^\.nan$"
    ),
    list("-+0123456789."),
)
RecipeLoader.add_implicit_resolver(
    _REPLACED[2], re.compile(r"^[-+]?[0-9]+$|^0o[0-7]+$|^0x[0-9a-fA-F]+$"), list("-+0123456789")
)
RecipeLoader.add_constructor(_REPLACED[2], RecipeLoader.construct_yaml_int)


class RecipeDumper(yaml.SafeDumper):
    """SafeDumper that quotes each word that YAML 1.1 or RecipeLoader would read as another type."""


RecipeDumper.yaml_implicit_resolvers = {
    first: [
        *yaml.SafeDumper.yaml_implicit_resolvers.get(first, []),
        *RecipeLoader.yaml_implicit_resolvers.get(first, []),
    ]
    for first in yaml.SafeDumper.yaml_implicit_resolvers | RecipeLoader.yaml_implicit_resolvers
}


def load(path_or_name: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """The recipe in a YAML file, or the packaged one of that name, with `overrides` applied.

    Args:
        path_or_name: a path, or a bare name such as "quickstart".
        overrides: "training.epochs=3", each value read as YAML; a later one wins.

    Raises:
        FileNotFoundError: neither a file nor a packaged recipe.
        ValueError: unknown key (the nearest is named), wrong type, or a contradiction.
    """
    text, where = _read(path_or_name)
    values = parse_mapping(text, where)
    for override in overrides:
        _apply(values, override)
    try:
        return Recipe.from_dict(values)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error


def save(recipe: Recipe, path: str | Path) -> None:
    """Write every option of `recipe` to `path`; `load` gives it back."""
    path = Path(path)
    body = yaml.dump(recipe.to_dict(), Dumper=RecipeDumper, sort_keys=False, allow_unicode=True)
    path.write_text(f"# hf-seqvae train {path}\n{body}", encoding="utf-8")


def packaged_names() -> list[str]:
    """Names of the recipes inside the package."""
    folder = resources.files("hf_seqvae") / "recipes"
    return sorted(
        item.name.removesuffix(".yaml") for item in folder.iterdir() if item.name.endswith(".yaml")
    )


def _read(path_or_name: str | Path) -> tuple[str, str]:
    """Text of a recipe, and what to call it in errors."""
    if str(path_or_name) in packaged_names():
        file = resources.files("hf_seqvae") / "recipes" / f"{path_or_name}.yaml"
        return file.read_text(encoding="utf-8"), f"recipe {path_or_name}"
    path = Path(path_or_name)
    if path.is_dir():
        raise ValueError(
            f"{path} is a folder, not a recipe. A run keeps its own as {path / 'recipe.yaml'}."
        )
    if not path.is_file():
        raise FileNotFoundError(
            f"There is no recipe {str(path)!r}: neither a YAML file nor a packaged name. "
            f"Packaged: {', '.join(packaged_names())}."
        )
    return read_yaml_file(path), str(path)


def read_yaml_file(path: Path) -> str:
    """The text of a file that must be UTF-8."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8: {error}. Save it as UTF-8.") from error


def parse_mapping(text: str, where: str) -> dict[str, Any]:
    """The mapping that a YAML text holds, empty where the text is.

    Args:
        text: YAML, read as recipes are.
        where: what to call it in errors.

    Raises:
        ValueError: not YAML, a key twice, or something else than a mapping.
    """
    values = _parse(text, where)
    if values is None:
        values = {}
    if not isinstance(values, Mapping):
        raise ValueError(f"{where} must hold a mapping of keys, got {type(values).__name__}.")
    return dict(values)


def _parse(text: str, where: str) -> Any:
    try:
        return yaml.load(text, Loader=RecipeLoader)  # noqa: S506 (a SafeLoader)
    except yaml.YAMLError as error:
        raise ValueError(f"{where} is not YAML: {error}") from error
    except RecursionError as error:
        raise ValueError(f"{where} is nested too deeply.") from error


def _apply(values: dict[str, Any], override: str) -> None:
    """Put the value of "a.b=c" into nested `values`; mappings on the way are replaced by copies."""
    path, equals, text = override.partition("=")
    names = path.strip().split(".")
    if not equals or not all(names):
        raise ValueError(f"An override is written section.key=value, got {override!r}.")
    for depth, name in enumerate(names[:-1], start=1):
        below = values.get(name)
        if below is not None and not isinstance(below, Mapping):
            raise ValueError(
                f"{'.'.join(names[:depth])} is a value, not a section, in the override "
                f"{override!r}."
            )
        values[name] = dict(below or {})
        values = values[name]
    values[names[-1]] = _parse(text, f"the value of {path.strip()}")
