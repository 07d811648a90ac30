"""A comparison as text: a table for each task, cut to the terminal's width; on a terminal the best row is marked."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from collections.abc import Mapping, Sequence

from sim_eval.analysis.best import best_sets, table_best
from sim_eval.analysis.compare import Comparison
from sim_eval.analysis.labels import POLICY, SAMPLER
from sim_eval.analysis.rows import Row
from sim_eval.analysis.table import Table
from sim_eval.foundation.formatting import ABSENT, UNPAIRED, interval, number, p_value, percent, points
from sim_eval.report.headline import headline
from sim_eval.report.measures import measure_cells

_HEAD = (
    *("strength", "n", "success %", "95 %", "won/lost", "p", "p Holm", "group", "difference %"),
    *("ms", "policy", "critic", "posterior", "mean Q", "steps"),
)
#: The head of the labels; a cost has the head "policy".
_LABELLED = {SAMPLER: "sampler", POLICY: "policy and options"}
#: The head of a column that is left out where jerk is unknown, as in runs of earlier versions.
JERK = "jerk, \u00d7 unsteered"
#: What a narrow terminal does without, the least important first.
_LEFT_OUT = (
    *(JERK, "posterior", "critic", "p", "policy", "steps", "group"),
    *("mean Q", "strength", "n", "ms", "won/lost", "95 %"),
)
_MEASURES_LEFT_OUT = ("action path", "time, s", "goals met, %", "difference, path", "difference, s")
_SHORTEST_NAME = 12
_UNLIMITED = 1000
#: Behind the label of the row of the highest success, and ANSI's codes for bold green and for what was before.
_MARK, _BEST, _PLAIN = " *", "\x1b[1;32m", "\x1b[0m"
_BETWEEN = "  "


def terminal(comparison: Comparison, width: int | None = None, marked: bool | None = None) -> str:
    """The tables, warnings and headline as text, sentences broken between words.

    `width`: columns that it may take; None: the terminal's width, without limit if there is no terminal. `marked`:
    whether each table's row of the highest success has a mark, in colour unless the environment sets NO_COLOR
    (https://no-color.org); None: on a terminal.
    """
    width = width or shutil.get_terminal_size(fallback=(_UNLIMITED, 24)).columns
    marked = sys.stdout.isatty() if marked is None else marked
    parts = []
    for table in comparison.tables:
        cells = table_cells(table)
        best = table_best(table) if marked else None
        place = next((at for at, row in enumerate(table.rows, 1) if best and row.label == best.label), None)
        if place is not None:
            cells[place][0] += _MARK
        lines = [_printable(line) for line in _fitted(cells, width, _LEFT_OUT)]
        if place is not None and not os.environ.get("NO_COLOR"):
            lines[place] = f"{_BEST}{lines[place]}{_PLAIN}"
        if cells := measure_cells(table):
            lines += ["", *map(_printable, _fitted(cells, width, _MEASURES_LEFT_OUT))]
        policy = [f"policy={table.policy}"] if table.by == SAMPLER else []
        typed = " ".join([f"task={table.place}", *policy, *table.policy_options])
        parts.append("\n".join([_wrapped(typed, width), *lines]))
    sentences = [f"warning: {warning}" for warning in comparison.warnings]
    sentences += [str(best) for best in best_sets(comparison)]
    sentences += [str(comparison.design)] if comparison.design else []
    sentences.append(" ".join(headline(comparison)))
    return "\n\n".join([*parts, *(_wrapped(sentence, width) for sentence in sentences)])


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in text)


def _wrapped(text: str, width: int) -> str:
    """The text in lines of at most `width` characters, but for longer words, which stay whole."""
    if width >= _UNLIMITED:
        return _printable(text)
    lines = textwrap.wrap(_printable(text), width, break_long_words=False, break_on_hyphens=False)
    return "\n".join(lines)


def table_cells(table: Table) -> list[list[str]]:
    """The head, and the cells of each row below it."""
    lines = [[_LABELLED[table.by], *_HEAD], *map(_row_cells, table.rows)]
    ratios = [table.jerk_ratio(row) for row in table.rows]
    if all(ratio is None for ratio in ratios):
        return lines
    column = [JERK, *(number(ratio, ".2f") for ratio in ratios)]
    return [[*line, cell] for line, cell in zip(lines, column, strict=True)]


def _row_cells(row: Row) -> list[str]:
    """The label, and the cells below _HEAD."""
    pairing = row.pairing
    return [
        row.label,
        number(row.strength, "g"),
        str(row.n),
        percent(row.rate),
        interval(row.interval),
        f"{pairing.won}/{pairing.lost}" if pairing else ABSENT,
        p_value(pairing.p) if pairing else ABSENT,
        p_value(pairing.p_holm) if pairing else ABSENT,
        row.letters or ABSENT,
        points(pairing.difference, pairing.interval) if pairing else UNPAIRED if row.unpaired else ABSENT,
        number(row.ms, ".1f"),
        number(row.policy_rows, ".0f"),
        number(row.critic_rows, ".0f"),
        number(row.posterior_rows, ".0f"),
        number(row.mean_q, ".2f"),
        number(row.steps, ".0f"),
    ]


def _fitted(cells: Sequence[Sequence[str]], width: int, left_out: Sequence[str]) -> list[str]:
    """Aligned lines of at most `width` characters: columns are left out, then names are cut short."""
    columns = {column[0]: column for column in zip(*cells, strict=True)}
    missing = []
    for head in (head for head in left_out if head in columns):
        if _width(columns, _SHORTEST_NAME) <= width:
            break
        missing.append(head)
        del columns[head]
    room = max(_SHORTEST_NAME, width - _width(columns, 0))
    names = [name if len(name) <= room else f"{name[: room - 1]}…" for name in columns.pop(cells[0][0])]
    aligned = [[name.ljust(max(map(len, names))) for name in names]]
    aligned += [[figure.rjust(max(map(len, column))) for figure in column] for column in columns.values()]
    table = [_BETWEEN.join(line).rstrip() for line in zip(*aligned, strict=True)]
    return [*table, *textwrap.wrap(f"(no room for {', '.join(missing)})", width)] if missing else table


def _width(columns: Mapping[str, Sequence[str]], name: int) -> int:
    """The table's width in characters, with names cut to `name` characters."""
    first, *rest = [max(map(len, column)) for column in columns.values()]
    return min(first, name) + sum(len(_BETWEEN) + column for column in rest)
