"""How the reports write figures and names: absent figures as a dash, rates in per cent, differences in points.

Per cent and points are whole numbers, halves rounded away from zero: 62.5 is 63. The page of `sim-eval view` does so,
too.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterable, Sequence
from html import escape

ABSENT = "-"
#: In the place of a difference, where another harness ran the episodes.
UNPAIRED = "unpaired"
_MOST_LISTED = 6


def number(value: float | None, form: str) -> str:
    """The value by the format specification `form`."""
    return ABSENT if value is None else format(value, form)


def percent(fraction: float | None) -> str:
    """A fraction in per cent, without the sign %."""
    return ABSENT if fraction is None else f"{_hundredths(fraction)}"


def interval(ends: tuple[float, float] | None, between: str = "-") -> str:
    """An interval of fractions, in per cent."""
    return ABSENT if ends is None else between.join(percent(end) for end in ends)


def points(difference: float, ends: tuple[float, float]) -> str:
    """A difference of rates with its interval."""
    return f"{signed(difference)} [{interval(ends, '..')}]"


def signed(difference: float) -> str:
    """A difference of rates in points, with its sign; +0 for what rounds to none."""
    return f"{_hundredths(difference):+d}"


def _hundredths(fraction: float) -> int:
    # 23 of 40 are 57.49999999999999 hundredths as a float; no count of episodes needs nine decimals
    size = math.floor(round(100 * abs(fraction), 9) + 0.5)
    return -size if fraction < 0 else size


def p_value(p: float) -> str:
    """Three decimals, or one digit and an exponent."""
    return f"{p:.0e}".replace("e-0", "e-") if p < 0.001 else f"{p:.3f}"


def command(words: Sequence[str]) -> str:
    """The command of these words, as a shell reads it."""
    return shlex.join(words)


def listed(names: Sequence[str]) -> str:
    """ "a, b and c"; of many the first six and how many more there are."""
    shown = list(names)
    if len(shown) > _MOST_LISTED + 1:
        shown = [*shown[:_MOST_LISTED], f"{len(shown) - _MOST_LISTED} others"]
    return " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)


def html_table(caption: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A small HTML table for a notebook, all text escaped."""
    lines = ["".join(f"<td>{escape(cell)}</td>" for cell in row) for row in rows]
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    names = "".join(f"<th>{escape(name)}</th>" for name in head)
    return f"<table><caption>{escape(caption)}</caption><thead><tr>{names}</tr></thead><tbody>{body}</tbody></table>"
