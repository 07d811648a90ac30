"""Checks of option values: each returns the value, or raises RunError with what is accepted."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Sequence
from typing import Any

from sim_eval.errors import RunError


def one_of(option: str, value: object, accepted: Iterable[str], also: str = "") -> str:
    """The value, if it is accepted; else RunError with the accepted ones, then `also`, and the closest."""
    names = list(accepted)
    if isinstance(value, str) and value in names:
        return value
    choices = ", ".join([*names, *([also] if also else [])])
    raise RunError(f"{option} is {shown(value)}; accepted: {choices}{did_you_mean(value, names)}")


def did_you_mean(value: object, names: Iterable[str]) -> str:
    """A hint at the name closest to the value; empty if none is close."""
    close = difflib.get_close_matches(str(value), list(names), n=1)
    return f" (did you mean {close[0]}?)" if close else ""


def whole(option: str, value: object, least: int) -> int:
    """The value, if it is a whole number of at least `least`; else RunError."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= least:
        return value
    raise RunError(f"{option} is {shown(value)}; accepted: a whole number of at least {least}")


def port(option: str, value: object) -> int:
    """The value, if it is a number of a port, or 0; else RunError."""
    if (number := whole(option, value, 0)) > 65535:
        raise RunError(f"{option} is {number}; accepted: 0 to 65535")
    return number


def not_negative(option: str, value: object) -> float:
    """The value, if it is a finite number of at least 0; else RunError."""
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < float("inf"):
        return float(value)
    raise RunError(f"{option} is {shown(value)}; accepted: a finite number of at least 0")


def listed(option: str, value: object) -> list[Any]:
    """The value, if it is a list with at least one entry; else RunError."""
    if isinstance(value, list | tuple) and value:
        return list(value)
    raise RunError(f"{option} is {shown(value)}; accepted: a list with at least one entry, such as [a,b]")


def worker_count(value: object) -> int:
    """The value of the option `workers`; null: one process per core. 0 means no process but this one."""
    return len(os.sched_getaffinity(0)) if value is None else whole("workers", value, 0)


def shown(value: object) -> str:
    """The value as it is written on the command line."""
    if value is None:
        return "null"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return f"[{','.join(map(shown, value))}]"
    return str(value).lower() if isinstance(value, bool) else str(value)
