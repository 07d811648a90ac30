"""A comparison as plain text, a table a task."""

from __future__ import annotations

from collections.abc import Sequence

from sim_eval.analysis.compare import Comparison, Row
from sim_eval.report.formatting import ABSENT, interval, number, p_value, percent, points
from sim_eval.report.headline import headline

HEAD = (
    *("sampler", "strength", "n", "success %", "95 %", "won/lost", "p", "p Holm", "difference %"),
    *("ms", "policy", "critic", "posterior", "mean Q", "steps"),
)


def terminal(comparison: Comparison) -> str:
    """The tables, warnings and headline as plain text."""
    parts = []
    for table in comparison.tables:
        cells = [HEAD, *(row_cells(row) for row in table.rows)]
        widths = [max(len(line[column]) for line in cells) for column in range(len(HEAD))]
        lines = ["  ".join(_aligned(line, widths)).rstrip() for line in cells]
        parts.append("\n".join([f"task={table.task} policy={table.policy}", *lines]))
    parts.extend(f"warning: {warning}" for warning in comparison.warnings)
    parts.append(" ".join(headline(comparison)))
    return "\n\n".join(parts)


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


def _aligned(line: Sequence[str], widths: Sequence[int]) -> list[str]:
    first, *rest = zip(line, widths, strict=True)
    return [first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in rest)]
