"""A comparison as JSON, for programs."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from sim_eval.analysis.compare import Comparison, Table
from sim_eval.analysis.rows import Row
from sim_eval.report.headline import headline


def summary(comparison: Comparison) -> str:
    """Every figure of the report; rates and differences as fractions."""
    content = {
        "headline": " ".join(headline(comparison)),
        "comparisons": comparison.comparisons,
        "tables": [_table(table) for table in comparison.tables],
        "overall": [asdict(overall) for overall in comparison.overall],
        "pooled": [asdict(pairing) for pairing in comparison.pooled],
        "warnings": comparison.warnings,
        "runs": [{"name": run.name, "config": run.config, "provenance": run.provenance} for run in comparison.runs],
    }
    return json.dumps(content, indent=2, allow_nan=False) + "\n"


def _table(table: Table) -> dict[str, Any]:
    pairings = [asdict(pairing) for pairing in table.every_pair]
    rows = [_row(row) for row in table.rows]
    instructions = list(dict.fromkeys(text for row in table.rows for run in row.runs for text in run.instructions))
    named = {"task": table.task, "policy": table.policy, "instructions": instructions}
    return {**named, "rows": rows, "every_pair": pairings}


def _row(row: Row) -> dict[str, Any]:
    left_out = {"records", "failed", "run_of", *(["jerk"] if row.jerk is None else [])}
    figures = {name: value for name, value in vars(row).items() if name not in left_out}
    pairing = asdict(row.pairing) if row.pairing else None
    mark = {"unpaired": True} if row.unpaired else {}
    return {**figures, "runs": [run.name for run in row.runs], "errors": len(row.failed), "pairing": pairing, **mark}
