"""A comparison as a terminal table, as Markdown and as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sim_eval.compare import Comparison, Pairing, Row, Table
from sim_eval.errors import RunError
from sim_eval.records import replacing

_HEAD = (
    *("sampler", "strength", "n", "success %", "95 %", "won/lost", "p", "p Holm", "difference %"),
    *("ms", "policy", "critic", "posterior", "mean Q", "steps"),
)
_LEGEND = (
    "success with its Wilson interval; won/lost, exact McNemar p (Holm: corrected over the table) and difference in "
    "points with its paired bootstrap interval: against unsteered on the same episodes; ms: median wall time of one "
    "decision; policy, critic, posterior: rows evaluated a decision; steps: mean per episode"
)


def terminal(comparison: Comparison) -> str:
    """The tables and warnings as plain text."""
    parts = []
    for table in comparison.tables:
        cells = [_HEAD, *(_cells(row) for row in table.rows)]
        widths = [max(len(line[column]) for line in cells) for column in range(len(_HEAD))]
        lines = ["  ".join(_aligned(line, widths)).rstrip() for line in cells]
        parts.append("\n".join([f"task={table.task} policy={table.policy}", *lines]))
    parts.extend(f"warning: {warning}" for warning in comparison.warnings)
    return "\n\n".join(parts)


def write(comparison: Comparison, folder: Path) -> None:
    """summary.json and report.md into `folder`. Raises RunError when they cannot be written."""
    contents = {
        "summary.json": json.dumps(_summary(comparison), indent=2, allow_nan=False) + "\n",
        "report.md": _markdown(comparison),
    }
    for name, text in contents.items():
        try:
            with replacing(folder / name) as handle:
                handle.write(text.encode())
        except OSError as error:
            raise RunError(f"cannot write {folder / name}: {error.strerror}") from None


def _aligned(line: Sequence[str], widths: Sequence[int]) -> list[str]:
    first, *rest = zip(line, widths, strict=True)
    return [first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in rest)]


def _cells(row: Row) -> list[str]:
    pairing = row.pairing
    return [
        row.label,
        _number(row.strength, "g"),
        str(row.n),
        _percent(row.successes / row.n) if row.n else "-",
        _interval(row.interval),
        f"{pairing.won}/{pairing.lost}" if pairing else "-",
        _p(pairing.p) if pairing else "-",
        _p(pairing.p_holm) if pairing and pairing.p_holm is not None else "-",
        f"{100 * pairing.difference:+.0f} [{_interval(pairing.interval, '..')}]" if pairing else "-",
        _number(row.ms, ".1f"),
        _number(row.policy_rows, ".0f"),
        _number(row.critic_rows, ".0f"),
        _number(row.posterior_rows, ".0f"),
        _number(row.mean_q, ".2f"),
        _number(row.steps, ".0f"),
    ]


def _markdown(comparison: Comparison) -> str:
    lines = ["# Comparison", ""]
    for table in comparison.tables:
        lines += [f"## {table.task}, {table.policy}", "", *_rows([_HEAD, *(_cells(row) for row in table.rows)]), ""]
        if table.every_pair:
            lines += ["Every pair:", "", *_rows([_PAIR_HEAD, *(_pair_cells(*pair) for pair in table.every_pair)]), ""]
    lines += [_LEGEND[0].upper() + _LEGEND[1:] + ".", ""]
    if comparison.warnings:
        lines += ["## Warnings", "", *(f"- {warning}" for warning in comparison.warnings), ""]
    lines += ["## Runs", ""]
    for run in comparison.runs:
        account = run.provenance[-1] if run.provenance else {}
        versions = ", ".join(f"{name} {version}" for name, version in account.get("versions", {}).items())
        lines.append(f"- `{run.folder.name}`: `{' '.join(account.get('command', []))}`; {versions}")
    return "\n".join(lines) + "\n"


_PAIR_HEAD = ["first", "second", "pairs", "won/lost", "p", "difference %"]


def _pair_cells(label: str, pairing: Pairing) -> list[str]:
    return [
        label,
        pairing.against,
        str(pairing.pairs),
        f"{pairing.won}/{pairing.lost}",
        _p(pairing.p),
        f"{100 * pairing.difference:+.0f} [{_interval(pairing.interval, '..')}]",
    ]


def _rows(cells: Sequence[Sequence[str]]) -> list[str]:
    head, *body = ["| " + " | ".join(line) + " |" for line in cells]
    return [head, "|" + " --- |" * len(cells[0]), *body]


def _summary(comparison: Comparison) -> dict[str, Any]:
    return {
        "tables": [_table(table) for table in comparison.tables],
        "warnings": comparison.warnings,
        "runs": [
            {"folder": run.folder.name, "config": run.config, "provenance": run.provenance} for run in comparison.runs
        ],
    }


def _table(table: Table) -> dict[str, Any]:
    return {
        "task": table.task,
        "policy": table.policy,
        "rows": [_row(row) for row in table.rows],
        "every_pair": [{"first": first, **asdict(pairing)} for first, pairing in table.every_pair],
    }


def _row(row: Row) -> dict[str, Any]:
    plain = {name: value for name, value in vars(row).items() if name not in ("records", "folder", "pairing")}
    return {**plain, "folder": row.folder.name, "pairing": asdict(row.pairing) if row.pairing else None}


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.0f}"


def _interval(interval: tuple[float, float] | None, between: str = "-") -> str:
    return "-" if interval is None else between.join(_percent(end) for end in interval)


def _p(p: float) -> str:
    return f"{p:.0e}".replace("e-0", "e-") if p < 0.001 else f"{p:.3f}"
