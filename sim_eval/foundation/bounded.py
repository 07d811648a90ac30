"""Values from files that anybody may have written, bounded once, where a file is read.

After this, every number is finite and fits 64 bits, every text can be encoded, printed on a terminal and put into XML,
and nothing is nested deeper than any code here follows.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from sim_eval.foundation.errors import RunError

#: Larger numbers are damage: their squares would overflow, and Arrow's whole numbers have 64 bits.
LARGEST_WHOLE, LARGEST = 2**63 - 1, 1e100
_DEEPEST = 32

#: Bytes of a file that is read at once, by its kind. YAML takes a second per 100 kB.
MOST_YAML, MOST_JSON, MOST_LINES = 200_000, 100_000_000, 2_000_000_000

#: Lone halves of a pair, and characters that move a terminal's cursor or that no XML may hold; line ends and tabs stay.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")

#: What stands in the place of a NUL, which no path may hold.
NUL = "\u2400"

#: What JSON of harmless values does not contain: only such texts are looked through value by value.
_SUSPECT = re.compile(
    r"\\[urbf]|[\x7f-\x9f\u2028-\u202e\u2066-\u2069\ufffe\uffff]|[0-9]{20}|[0-9][eE]\+?[0-9]{3}|NaN|Infinity"
)


def is_number(value: Any) -> bool:
    """Whether it is a number within the bounds; neither true nor false, nor NaN."""
    return abs(value) <= (LARGEST_WHOLE if type(value) is int else LARGEST) if type(value) in (int, float) else False


def shown(value: Any) -> str:
    """The value as ASCII JSON, cut to 80 characters."""
    try:
        return f"{json.dumps(value, default=str):.80}"
    except (ValueError, RecursionError):  # a number of thousands of digits, a nesting too deep to be followed
        return f"a {type(value).__name__} too large to be shown"


def read_bytes(path: Path, most: int) -> bytes:
    """A file's content. Raises RunError for a pipe, for more than `most` bytes, and if it cannot be read."""
    try:
        if path.exists() and not path.is_file():  # reading a pipe would wait for ever
            raise RunError(f"{path} is no file")
        if path.stat().st_size > most:
            raise RunError(f"{path} has {path.stat().st_size} bytes; accepted: {most}")
        return path.read_bytes()
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror or error}") from None


def parse_json(text: bytes, where: str) -> Any:
    """The value of a JSON text, bounded. Raises RunError, which begins with `where`, if it has none."""
    try:
        decoded = text.decode()
        content = json.loads(decoded)
    except (ValueError, RecursionError):  # a number of too many digits; too deeply nested to be read
        raise RunError(f"{where} is not JSON: the file was changed or the disk is damaged") from None
    nested = decoded.count("[") + decoded.count("{") > _DEEPEST
    return bounded(content, where) if nested or _SUSPECT.search(decoded) else content


def bounded(value: Any, where: str, depth: int = 0) -> Any:
    """The value with harmless texts. Raises RunError for a number that is not, and for nesting that is too deep."""
    if depth > _DEEPEST:
        raise RunError(f"{where:.300} is nested deeper than {_DEEPEST} levels")
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, dict):
        return {
            clean(key) if isinstance(key, str) else key: bounded(item, f"{where}: {clean(str(key)):.80}", depth + 1)
            for key, item in value.items()
        }
    if isinstance(value, list):
        if {*map(type, value)} == {float} and all(map(LARGEST.__ge__, map(abs, value))):  # most lists are of numbers
            return value
        return [bounded(item, where, depth + 1) for item in value]
    if isinstance(value, int | float) and not isinstance(value, bool) and not is_number(value):
        raise RunError(f"{where} is {shown(value)}; accepted: a finite number of 64 bits")
    return value


def clean(text: str) -> str:
    """The text with other systems' line ends as this one's, and a mark in place of each unprintable character."""
    return _UNPRINTABLE.sub("\ufffd", text.replace("\r\n", "\n").replace("\r", "\n").replace("\0", NUL))
