"""A comparison as plain text: a table for each task, cut to the terminal's width."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Sequence

from sim_eval.analysis.compare import Comparison
from sim_eval.analysis.rows import Row
from sim_eval.report.formatting import ABSENT, interval, number, p_value, percent, points
from sim_eval.report.headline import headline

HEAD = (
    *("sampler", "strength", "n", "success %", "95 %", "won/lost", "p", "p Holm", "difference %"),
    *("ms", "policy", "critic", "posterior", "mean Q", "steps"),
)
#: What a narrow terminal does without, the least important first.
_LEFT_OUT = ("posterior", "critic", "p", "policy", "steps", "mean Q", "strength", "n", "ms", "won/lost", "95 %")
_SHORTEST_NAME = 12
_BETWEEN = "  "


def terminal(comparison: Comparison, width: int | None = None) -> str:
    """The tables, warnings and headline as plain text.

    `width`: columns that the tables may take; the terminal's, or no limit where the output is none.
    """
    width = width or shutil.get_terminal_size(fallback=(1000, 24)).columns
    parts = []
    for table in comparison.tables:
        cells = [HEAD, *(row_cells(row) for row in table.rows)]
        parts.append("\n".join([f"task={table.task} policy={table.policy}", *_fitted(cells, width)]))
    parts.extend(f"warning: {warning}" for warning in comparison.warnings)
    parts.append(" ".join(headline(comparison)))
    text = "\n\n".join(parts)
    return "".join(character if character.isprintable() or character == "\n" else "?" for character in text)


def row_cells(row: Row) -> list[str]:
    """The cells below HEAD."""
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
        points(pairing.difference, pairing.interval) if pairing else ABSENT,
        number(row.ms, ".1f"),
        number(row.policy_rows, ".0f"),
        number(row.critic_rows, ".0f"),
        number(row.posterior_rows, ".0f"),
        number(row.mean_q, ".2f"),
        number(row.steps, ".0f"),
    ]


def _fitted(cells: Sequence[Sequence[str]], width: int) -> list[str]:
    """Aligned lines of at most `width` characters: columns are left out, then names are cut short."""
    columns = {head: [line[index] for line in cells] for index, head in enumerate(HEAD)}
    missing = []
    for head in _LEFT_OUT:
        if _width(columns, _SHORTEST_NAME) <= width:
            break
        missing.append(head)
        del columns[head]
    room = max(_SHORTEST_NAME, width - _width(columns, 0))
    columns["sampler"] = [name if len(name) <= room else f"{name[: room - 1]}…" for name in columns["sampler"]]
    widths = [max(map(len, column)) for column in columns.values()]
    table = []
    for name, *figures in zip(*columns.values(), strict=True):
        aligned = [
            name.ljust(widths[0]),
            *(figure.rjust(wide) for figure, wide in zip(figures, widths[1:], strict=True)),
        ]
        table.append(_BETWEEN.join(aligned).rstrip())
    return [*table, *textwrap.wrap(f"(no room for {', '.join(missing)})", width)] if missing else table


def _width(columns: dict[str, list[str]], name: int) -> int:
    """Of the whole table, its names cut to `name` characters."""
    first, *rest = [max(map(len, column)) for column in columns.values()]
    return min(first, name) + sum(len(_BETWEEN) + column for column in rest)
