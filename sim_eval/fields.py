"""Checking values that were read from a file against the types that the program expects."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from types import NoneType, UnionType
from typing import Any, get_args, get_origin

from sim_eval.errors import RunError

_WORDS = {
    bool: "true or false",
    int: "a whole number of at least 0",
    float: "a number",
    str: "text",
    NoneType: "null",
    list: "a list",
    dict: "a mapping",
}


_NAME = re.compile(r"[A-Za-z0-9_+-][A-Za-z0-9_.+-]*")


def check_name(what: str, name: str) -> None:
    """Raise RunError unless the name, which paths are made of, can only mean a file in the folder that it is put in."""
    if not _NAME.fullmatch(name):
        raise RunError(f"{what} is {json.dumps(name)}; accepted: letters, digits and _ . + -, no dot in front")


def check_fields(where: str, values: Mapping[str, Any], kinds: Mapping[str, Any]) -> None:
    """Raise RunError for the first value of another kind than expected, naming `where` it stands, field and value.

    Kinds are the built-in types, `list[...]`, `dict[str, ...]` and unions of them. Numbers are finite, whole numbers
    are at least 0. Fields that `values` lacks are passed over.
    """
    for name, kind in kinds.items():
        if name in values and not _fits(values[name], kind):
            shown = json.dumps(values[name], default=str)
            raise RunError(f"{where}: {name} is {shown:.80}; accepted: {_words(kind)}")


def _fits(value: Any, kind: Any) -> bool:
    if isinstance(kind, UnionType):
        return any(_fits(value, option) for option in get_args(kind))
    origin, inner = get_origin(kind), get_args(kind)
    if origin is list:
        return isinstance(value, list) and all(_fits(entry, inner[0]) for entry in value)
    if origin is dict:
        return isinstance(value, dict) and all(isinstance(key, str) and _fits(value[key], inner[1]) for key in value)
    if kind is int:
        return type(value) is int and value >= 0
    if kind is float:
        return type(value) in (int, float) and abs(value) < float("inf")
    return kind is Any or isinstance(value, kind)


def _words(kind: Any) -> str:
    if isinstance(kind, UnionType):
        return " or ".join(_words(option) for option in get_args(kind))
    inner = get_args(kind)
    of = f" of {_words(inner[-1])}" if inner and inner[-1] is not Any else ""
    return _WORDS[get_origin(kind) or kind] + of
