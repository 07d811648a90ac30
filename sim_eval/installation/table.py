"""Plain text tables of a terminal's width."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence

WIDTH = 80
#: The last column is at least so wide, also where the others leave less.
_LEAST = 24


def table(header: Sequence[str], rows: Iterable[Sequence[str]], width: int = WIDTH) -> list[str]:
    """The lines of a table; its last column is wrapped so that a line has at most `width` characters.

    A cell of the last column may have several lines. Columns are two spaces apart; numbers are aligned to the right.
    """
    listed = [tuple(row) for row in rows]
    columns = list(zip(header, *listed, strict=True))[:-1]
    sizes = [max(map(len, column)) for column in columns]
    right = [all(_is_number(cell) for cell in column[1:]) and len(column) > 1 for column in columns]
    left = sum(sizes) + 2 * len(sizes)
    lines = []
    for *cells, last in (tuple(header), *listed):
        padded = [
            f"{cell:>{size}}" if r else f"{cell:<{size}}" for cell, size, r in zip(cells, sizes, right, strict=True)
        ]
        head = "".join(f"{cell}  " for cell in padded)
        for part in wrapped(last, max(width - left, _LEAST)):
            lines.append(f"{head}{part}".rstrip())
            head = " " * left
    return lines


def wrapped(text: str, width: int) -> list[str]:
    """The lines of a text, each wrapped; at least one."""
    return [part for line in text.split("\n") for part in textwrap.wrap(line, width, break_on_hyphens=False) or [""]]


def _is_number(cell: str) -> bool:
    return not cell or cell.replace(".", "", 1).isdigit()
