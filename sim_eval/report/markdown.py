"""A comparison as Markdown, for pull requests and notebooks."""

from __future__ import annotations

from collections.abc import Sequence

from sim_eval.analysis.compare import Comparison, Pairing
from sim_eval.report.formatting import listed, p_value, points
from sim_eval.report.headline import headline
from sim_eval.report.terminal import HEAD, row_cells

_PAIR_HEAD = ["first", "second", "pairs", "won/lost", "p", "p Holm", "difference %"]
_LEGEND = (
    "Success with its Wilson interval; won/lost, exact McNemar p and difference in points with its paired bootstrap "
    "interval: against {reference} on the same episodes; Holm: corrected over all {comparisons} comparisons made here; "
    "ms: median wall time of one decision; policy, critic, posterior: rows a decision; steps: mean an episode."
)


def markdown(comparison: Comparison) -> str:
    """The whole report as text."""
    lines = ["# Comparison", "", " ".join(headline(comparison)), ""]
    if comparison.warnings:
        lines += ["## Warnings", "", *(f"- {warning}" for warning in comparison.warnings), ""]
    for table in comparison.tables:
        lines += [f"## {table.task}, {table.policy}", "", *_rows([HEAD, *(row_cells(row) for row in table.rows)]), ""]
        if table.every_pair:
            lines += ["Every pair:", "", *_rows([_PAIR_HEAD, *(_pair_cells(pair) for pair in table.every_pair)]), ""]
    lines += [_LEGEND.format(comparisons=comparison.comparisons, reference=_reference(comparison)), "", "## Runs", ""]
    for run in comparison.runs:
        account = run.provenance[-1] if run.provenance else {}
        versions = ", ".join(f"{name} {version}" for name, version in account.get("versions", {}).items())
        lines.append(f"- `{run.name}`: `{' '.join(account.get('command', []))}`; {versions}")
    return "\n".join(lines) + "\n"


def _reference(comparison: Comparison) -> str:
    """What the rows of the tables are compared with."""
    return listed(list(dict.fromkeys(label for table in comparison.tables for label in table.references))) or "nothing"


def _pair_cells(pair: Pairing) -> list[str]:
    return [
        pair.label,
        pair.against,
        str(pair.pairs),
        f"{pair.won}/{pair.lost}",
        p_value(pair.p),
        p_value(pair.p_holm),
        points(pair.difference, pair.interval),
    ]


def _rows(cells: Sequence[Sequence[str]]) -> list[str]:
    head, *body = ["| " + " | ".join(line) + " |" for line in cells]
    return [head, "|" + " --- |" * len(cells[0]), *body]
