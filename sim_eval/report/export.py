"""Runs and comparisons as one file for other programs."""

from __future__ import annotations

import datetime
import json
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from sim_eval.analysis.compare import Comparison, compare_runs
from sim_eval.analysis.rows import Row
from sim_eval.foundation.errors import RunError
from sim_eval.foundation.files import write_text
from sim_eval.report.tables import csv_table, latex_table
from sim_eval.runs import lerobot, vla_eval
from sim_eval.runs.foreign import Described
from sim_eval.runs.parquet import write_parquet
from sim_eval.runs.reader import Run
from sim_eval.runs.records import Record
from sim_eval.runs.source import read_sources


def export(
    sources: Sequence[Path], format: str, output: Path, described: Described, sampler: str | None = None
) -> list[str]:
    """Write the file `output` in one of `FORMATS`. Returns what a user must know about it, a line each.

    described: names for what files of other harnesses do not say. sampler: whose episodes LeRobot's and vla-eval's
    files get; None: the only one there is.

    Raises RunError for sources that the format has no place for, and if the file cannot be written.
    """
    runs = read_sources(sources, described)
    if format == "parquet":
        write_parquet(runs, output)
        return []
    comparison = compare_runs(runs)
    if format in ("csv", "latex"):
        table = csv_table if format == "csv" else latex_table
        write_text(output, table(comparison))
        return [f"warning: {warning}" for warning in comparison.warnings]
    rows = _rows_of_one(comparison, sampler)
    content, told = _as_lerobot(rows) if format == "lerobot" else _as_vla_eval(rows, runs)
    write_text(output, json.dumps(content, indent=2, allow_nan=False) + "\n")
    return told


def _rows_of_one(comparison: Comparison, sampler: str | None) -> dict[str, Row]:
    """By task the row of one sampler and one policy, as the result files of other harnesses hold.

    `sampler`: its name, or a row's label. Raises RunError where there are several, or none.
    """
    policies = list(dict.fromkeys(row.policy for table in comparison.tables for row in table.rows))
    if len(policies) > 1:
        raise RunError(f"these runs evaluate the policies {', '.join(policies)}; accepted: runs of one policy")
    found: dict[str, Row] = {}
    for table in comparison.tables:
        rows = [row for row in table.rows if sampler in (None, row.sampler, row.label)]
        labels = ", ".join(row.label for row in table.rows)
        if len(rows) != 1:
            raise RunError(f"sampler is {sampler or 'null'}; accepted: one of {table.name}'s: {labels}")
        if rows[0].n + len(rows[0].failed):
            found[table.task] = rows[0]
    if not found:
        raise RunError(f"no episode of sampler {sampler} is recorded")
    return found


def _as_lerobot(rows: dict[str, Row]) -> tuple[dict[str, object], list[str]]:
    left_out = sum(len(row.failed) for row in rows.values())
    told = f"{left_out} episodes that ended in an error are left out: LeRobot's format has no place for them"
    content = lerobot.eval_info({task: _ordered(row.records) for task, row in rows.items()})
    return content, [told] if left_out else []


def _as_vla_eval(rows: dict[str, Row], runs: Sequence[Run]) -> tuple[dict[str, object], list[str]]:
    seeds = {run.config.get("seed") for run in runs}
    started = [account["started"] for run in runs for account in run.provenance]
    content = vla_eval.result(
        {task: _ordered([*row.records, *row.failed]) for task, row in rows.items()},
        seed=seeds.pop() if len(seeds) == 1 else None,
        created=max(started, default=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")),
        version=f"sim-eval {version('sim-eval')}",
    )
    errors = sum(len(row.failed) for row in rows.values())
    told = f"{errors} episodes that ended in an error are written as vla-eval counts them: as failures with a reason"
    return content, [told] if errors else []


def _ordered(records: Sequence[Record]) -> list[Record]:
    return sorted(records, key=lambda record: (record.episode, record.env_seed, record.noise_seed))
