"""The JSON files of a checkpoint's folder, which anybody may have written, read with bounds before the library does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from policies.errors import PolicyError

_MOST_BYTES = 1_000_000
#: No size, count or constant of a policy is larger.
_LARGEST = 10**9


def read_object(path: Path) -> dict[str, Any]:
    """The object that a JSON file holds.

    Raises PolicyError for a file that is larger than 1 MB, holds no object, or holds a number that is not finite or
    beyond 10**9.
    """
    if not path.is_file():  # opening a pipe would wait for ever
        raise PolicyError(f"policy.path={path.parent}: {path.name} is no file")
    if path.stat().st_size > _MOST_BYTES:
        raise PolicyError(f"policy.path={path.parent}: {path.name} is larger than {_MOST_BYTES} bytes")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:  # bad UTF-8, a byte order mark, bad JSON, nested too deeply
        raise PolicyError(f"policy.path={path.parent}: {path.name} is not JSON ({error})") from None
    if not isinstance(content, dict):
        raise PolicyError(f"policy.path={path.parent}: {path.name} is {shown(content)}; accepted: a JSON object")
    for name, value in _leaves(content):
        if isinstance(value, int | float) and not (abs(value) <= _LARGEST):
            raise PolicyError(
                f"policy.path={path.parent}: {path.name}: {name} is {shown(value)}; accepted: numbers to {_LARGEST}"
            )
        if isinstance(value, str) and not value.isprintable() and ("\0" in value or not _is_utf8(value)):
            raise PolicyError(f"policy.path={path.parent}: {path.name}: {name} is {shown(value)}; accepted: text")
    return content


def shown(value: Any) -> str:
    """The value as JSON in ASCII, cut to 80 characters."""
    return f"{json.dumps(value, default=str):.80}" if not _is_huge(value) else "a number of more than 80 digits"


def _leaves(content: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Every number, text, true, false and null with the name of the field that it is in, however deep."""
    waiting: list[tuple[str, Any]] = list(content.items())
    while waiting:
        name, value = waiting.pop()
        if isinstance(value, dict):
            waiting += value.items()
        elif isinstance(value, list):
            waiting += [(name, item) for item in value]
        else:
            yield name, value


def _is_utf8(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _is_huge(value: Any) -> bool:
    return isinstance(value, int) and abs(value) >= 10**80  # json.dumps refuses to write thousands of digits
