"""Check values read from a file against the types that the program expects."""

from __future__ import annotations

import functools
import io
import itertools
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints, is_typeddict

from sim_eval.foundation.bounded import (
    LARGEST,
    LARGEST_WHOLE,
    MOST_JSON,
    MOST_YAML,
    bounded,
    is_number,
    parse_json,
    read_bytes,
    shown,
)
from sim_eval.foundation.errors import RunError

_WORDS = {
    bool: "true or false",
    int: "a whole number of at least 0",
    float: "a number",
    str: "text",
    NoneType: "null",
    list: "a list",
    dict: "a mapping",
}
_MOST_BRACKETS = 64
_NAME = re.compile(r"[A-Za-z0-9_+-][A-Za-z0-9_.+-]{0,199}")


#: The fields of a task's options that a folder need not hold.
STORED_TASK = {
    "target": str | None,
    "options": dict[str, Any],
    "index": int,
    "env": str | None,
    "perturbation": str | None,
    "id": str | None,
    "success": str | None,
    "threshold": float | None,
    "max_steps": int | None,
    "kwargs": dict[str, Any] | None,
}


def check_name(what: str, name: str) -> None:
    """Raise RunError unless the name is safe as part of a path: it cannot lead out of its folder."""
    if not _NAME.fullmatch(name):
        raise RunError(f"{what} is {shown(name)}; accepted: letters, digits and _ . + -, no dot in front")


def check_fields(where: str, values: Mapping[str, Any], kinds: Mapping[str, Any]) -> None:
    """Raise RunError for missing fields, and for the first value that is not of its kind.

    Kinds are the built-in types, `list[...]`, `dict[str, ...]`, typed dictionaries and unions of them. Numbers must be
    finite and at most 1e100, whole numbers at least 0 and below 2 ** 63. Fields without a kind are ignored.
    """
    if lacking := [name for name in kinds if name not in values]:
        raise RunError(f"{where} lacks {', '.join(lacking)}: the file was changed or is another program's")
    for name, kind in kinds.items():
        if not test_of(kind)(values[name]):
            raise RunError(f"{where}: {name} is {shown(values[name])}; accepted: {_words(kind)}")


def check_optional(where: str, values: Mapping[str, Any], kinds: Mapping[str, Any]) -> None:
    """`check_fields` for those of the fields that are there."""
    check_fields(where, values, {name: kind for name, kind in kinds.items() if name in values})


def load_yaml(path: Path) -> dict[str, Any]:
    """A YAML file's mapping. Raises RunError if it cannot be read or is not a mapping."""
    from omegaconf import DictConfig, OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import AnchorToken, YAMLError, scan  # type: ignore[import-untyped]

    try:
        text = read_bytes(path, MOST_YAML).decode()
        if _opened_brackets(text) > _MOST_BRACKETS:  # each costs the reader as much as all before it
            raise RunError(f"{path} is nested deeper than {_MOST_BRACKETS} levels")
        if "&" in text and any(isinstance(token, AnchorToken) for token in scan(text)):
            raise RunError(f"{path} has a YAML anchor; accepted: plain values")  # a few lines can stand for millions
        content = OmegaConf.load(io.StringIO(text))
        plain = OmegaConf.to_container(content)
    except RunError:
        raise
    except (YAMLError, ValueError, TypeError, RecursionError, OmegaConfBaseException) as error:
        raise RunError(f"{path} cannot be read: {[*str(error).splitlines(), 'no reason given'][0]:.300}") from None
    if not isinstance(content, DictConfig) or not isinstance(plain, dict):
        raise RunError(f"{path} is not a mapping of options")
    return {str(name): value for name, value in bounded(plain, str(path)).items()}


def _opened_brackets(text: str) -> int:
    """The most brackets that are open at the same place of a YAML text; those in quotes count, too."""
    steps = (1 if found in "[{" else -1 for found in re.findall(r"[\[\]{}]", text))
    return max(itertools.accumulate(steps), default=0)


def read_json(path: Path, kind: Any) -> Any:
    """The content of a JSON file. Raises RunError if it cannot be read or is not of the kind, as for `check_fields`."""
    content = parse_json(read_bytes(path, MOST_JSON), str(path))
    check_fields(str(path), {"the content": content}, {"the content": kind})
    return content


def read_entries(path: Path, kind: type) -> list[Any]:
    """The entries of a JSON file that lists typed dictionaries of this kind; empty if there is no file.

    Raises RunError for any other content.
    """
    if not path.exists():
        return []
    entries: list[dict[str, Any]] = read_json(path, list[dict[str, Any]])
    for number, entry in enumerate(entries, 1):
        check_fields(f"{path} entry {number}", entry, get_type_hints(kind))
    return entries


@functools.cache  # records are many, kinds are few
def test_of(kind: Any) -> Callable[[Any], bool]:
    """What tells whether a value is of the kind, as `check_fields` knows it."""
    inner = get_args(kind)
    if isinstance(kind, UnionType):
        return functools.reduce(_either, map(test_of, inner))
    if kind == list[float]:
        return _are_numbers
    if get_origin(kind) is list:
        entry = test_of(inner[0])
        return lambda value: isinstance(value, list) and all(map(entry, value))
    if get_origin(kind) is dict:
        content = test_of(inner[1])
        return lambda value: (
            isinstance(value, dict) and all(isinstance(key, str) for key in value) and all(map(content, value.values()))
        )
    if is_typeddict(kind):
        hints = {name: test_of(hint) for name, hint in get_type_hints(kind).items()}
        return lambda value: (
            isinstance(value, dict) and all(name in value and fits(value[name]) for name, fits in hints.items())
        )
    if kind is int:
        return lambda value: type(value) is int and 0 <= value <= LARGEST_WHOLE
    if kind is float:
        return is_number
    return lambda value: kind is Any or isinstance(value, kind)


def _are_numbers(value: Any) -> bool:
    if not isinstance(value, list):
        return False
    if {*map(type, value)} == {float}:
        return all(map(LARGEST.__ge__, map(abs, value)))
    return all(map(is_number, value))


def _either(first: Callable[[Any], bool], second: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: first(value) or second(value)


def _words(kind: Any) -> str:
    inner = get_args(kind)
    if isinstance(kind, UnionType):
        return " or ".join(_words(option) for option in inner)
    if is_typeddict(kind):
        return "a mapping with " + " and ".join(
            f"{name}: {_words(hint)}" for name, hint in get_type_hints(kind).items()
        )
    of = f" of {_words(inner[-1])}" if inner and inner[-1] is not Any else ""
    return _WORDS[get_origin(kind) or kind] + of
