"""Typed and documented fields of recipes: declaration, conversion, errors that name a near key."""

import dataclasses
import difflib
import math
import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

PLAIN = (str, int, float, bool, type(None))
_DEEPEST = 50  # sections in each other


def option(default: Any, help: str, **rules: Any) -> Any:
    """A dataclass field with its documentation.

    Args:
        default: the value, or a function that makes it (a dict, a section).
        help: what it is, with its unit.
        **rules: `choices` (allowed strings), `words` (the same, for help alone), `minimum` (allowed
            itself), `above` and `below` (not allowed themselves), `shown` (default to show where it
            is worked out later), `neutral` (True: no influence on the weights, so a run may go on
            with another value).
    """
    metadata = {"help": help, **rules}
    if callable(default):
        return dataclasses.field(default_factory=default, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def check_fields(section: Any) -> None:
    """Convert every field of a frozen section to its type and apply its rules, or name its key."""
    hints = typing.get_type_hints(type(section))
    for item in dataclasses.fields(section):
        key = section.SECTION + item.name
        value = convert(getattr(section, item.name), hints[item.name], key)
        _check_rules(value, item.metadata, key)
        object.__setattr__(section, item.name, value)


def convert(value: Any, hint: Any, key: str) -> Any:
    """`value` in the type `hint`: an int may stand for a float, a mapping for a section."""
    kinds = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    kind: Any
    for kind in kinds:
        if dataclasses.is_dataclass(kind) and isinstance(kind, type):
            if isinstance(value, kind):
                return value
            if isinstance(value, Mapping):
                return from_mapping(kind, value)
        elif kind is float:
            if (
                isinstance(value, int | float)
                and not isinstance(value, bool)
                and math.isfinite(value)
            ):
                return float(value)
        elif kind is int:
            if isinstance(value, int) and not isinstance(value, bool):
                return value
        elif kind is dict:
            if isinstance(value, Mapping):
                return plain_copy(value, key)
        elif typing.get_origin(kind) is tuple:
            if isinstance(value, list | tuple) and all(isinstance(item, str) for item in value):
                return tuple(value)
        elif type(value) is kind:
            return value
    raise ValueError(f"{key} must be {type_words(hint)}, got {value!r} ({type(value).__name__}).")


def from_mapping(cls: type, values: Mapping[str, Any]) -> Any:
    """The section `cls` with these values; an unknown key is a ValueError naming the nearest."""
    known = [item.name for item in dataclasses.fields(cls)]
    for key in values:
        if key not in known:
            raise unknown_key(cls.SECTION, key, known)
    return cls(**values)


def is_plain(name: str) -> bool:
    """Whether a name can be a folder's: on one line, no slash, no white space around it."""
    return bool(name) and "/" not in name and name == name.strip() and name.isprintable()


def plain_copy(value: Any, key: str) -> Any:
    """A deep copy made of dicts, lists, strings and numbers, as a YAML file gives them back."""
    if key.count(".") > _DEEPEST:
        raise ValueError(f"{key[:40]}... is nested too deeply: does an alias (*) name itself?")
    if isinstance(value, Mapping):
        bad = [name for name in value if not isinstance(name, str)]
        if bad:
            raise ValueError(f"keys in {key} must be words, got {bad[0]!r}.")
        return {name: plain_copy(item, f"{key}.{name}") for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain_copy(item, f"{key}.{place}") for place, item in enumerate(value)]
    if not isinstance(value, PLAIN):
        raise ValueError(
            f"{key} must hold plain YAML values, got {value!r} ({type(value).__name__})."
        )
    return value


def unknown_key(
    section: str, key: Any, known: Iterable[str], elsewhere: Iterable[str] = ()
) -> ValueError:
    """The error for a key that does not exist, naming the nearest one that does.

    Args:
        section: dotted prefix, "" or "training." for instance.
        key: what came.
        known: keys of that section, where the nearest is looked for first.
        elsewhere: full keys of the other sections.
    """
    known = sorted(known)
    near = difflib.get_close_matches(str(key), known, n=1, cutoff=0.7)
    moved = [path for path in elsewhere if path.rpartition(".")[2] == str(key)]
    if near:
        nearest = section + near[0]
    elif moved:
        nearest = moved[0]
    else:
        nearest = section + difflib.get_close_matches(str(key), known, n=1, cutoff=0.0)[0]
    where = f"{section[:-1]} has" if section else "Keys here are"
    return ValueError(
        f"Unknown key {section + str(key)!r}. Did you mean {nearest!r}? {where}: "
        f"{', '.join(known)}."
    )


def type_words(hint: Any) -> str:
    """A type as a reader of YAML calls it."""
    words = {
        int: "a whole number",
        float: "a number",
        str: "a word",
        bool: "true or false",
        dict: "a mapping",
        list: "a list",
    }
    if isinstance(hint, types.UnionType):
        return " or ".join(
            "null" if kind is type(None) else type_words(kind) for kind in typing.get_args(hint)
        )
    if typing.get_origin(hint) is tuple:
        return "a list of words"
    return words.get(hint, "a section")


def iter_options(cls: type) -> Iterator[tuple[str, Any, dataclasses.Field]]:
    """(full key, type, field) of every option of a section and the sections in it, in order."""
    hints = typing.get_type_hints(cls)
    for item in dataclasses.fields(cls):
        hint = hints[item.name]
        if dataclasses.is_dataclass(hint):
            yield from iter_options(typing.cast(type, hint))
        else:
            yield typing.cast(Any, cls).SECTION + item.name, hint, item


def _check_rules(value: Any, rules: Mapping[str, Any], key: str) -> None:
    if value is None:
        return
    if "choices" in rules and value not in rules["choices"]:
        near = difflib.get_close_matches(str(value), rules["choices"], n=1)
        cure = f" Did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"{key} must be one of {list(rules['choices'])}, got {value!r}.{cure}")
    if "minimum" in rules and value < rules["minimum"]:
        raise ValueError(f"{key} must be at least {rules['minimum']}, got {value!r}.")
    if "above" in rules and not value > rules["above"]:
        raise ValueError(f"{key} must be greater than {rules['above']}, got {value!r}.")
    if "below" in rules and not value < rules["below"]:
        raise ValueError(f"{key} must be less than {rules['below']}, got {value!r}.")
