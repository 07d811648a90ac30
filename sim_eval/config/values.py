"""Values of options as they are written on the command line."""

from __future__ import annotations

import difflib
import math
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from sim_eval.foundation.errors import RunError

_PARSER = OverridesParser.create()

#: Annotations of parameters that take a text, which is not parsed.
_TEXTS = {"str", "Path", "str | None", "Path | None", "str | Path", "str | Path | None"}


def parsed(option: str, text: str, accepted: str) -> Any:
    """The value that Hydra's grammar gives the text. Raises RunError if it gives none."""
    if "${" in text:
        raise RunError(f"{option}={text}: nothing is interpolated; accepted: a plain value")
    try:
        override = _PARSER.parse_override(f"value={text}")
    except HydraException:
        override = None
    if override is None or override.is_sweep_override():
        raise RunError(f"{option} is {text}; accepted: {accepted}")
    return override.value()


def typed(text: str, annotation: object) -> Any:
    """The value that a component's parameter takes, from its text.

    A parameter annotated as a text gets the text. For others Hydra's grammar reads numbers, true, false, null, [a,b]
    and {a:b}; whatever it does not read is a text.
    """
    if annotation in (str, *_TEXTS) or getattr(annotation, "__name__", annotation) in _TEXTS:
        return unquoted(text)
    try:
        value = parsed("value", text, "")
    except RunError:
        return unquoted(text)
    return unquoted(text) if isinstance(value, float) and not math.isfinite(value) else value


def unquoted(text: str) -> str:
    """The text without the pair of quotes around it, if there is one."""
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"" else str(text)


#: Bytes that file systems take for the name of a file, and Linux for a path.
_LONGEST_NAME, _LONGEST_PATH = 255, 4095


def check_path(option: str, path: Path) -> None:
    """Raise RunError for a path that no file can have."""
    text = str(path)
    if "\0" in text:
        raise RunError(f"{option} is {text!r}; accepted: a path without the character NUL")
    if max(len(os.fsencode(part)) for part in (*path.parts, "")) > _LONGEST_NAME:
        raise RunError(f"{option} is {text:.40}..., too long; accepted: names of at most {_LONGEST_NAME} bytes")
    if len(os.fsencode(text)) > _LONGEST_PATH:
        raise RunError(f"{option} is {text:.40}..., too long; accepted: a path of at most {_LONGEST_PATH} bytes")


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


def worker_count(value: int | None) -> int:
    """The number of processes that the option `workers` asks for; None: one a core."""
    return len(os.sched_getaffinity(0)) if value is None else value


def shown(value: object) -> str:
    """The value as it is written on the command line."""
    if value is None:
        return "null"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return f"[{','.join(map(shown, value))}]"
    if isinstance(value, float):
        return f"{value:g}"
    return str(value).lower() if isinstance(value, bool) else str(value)
