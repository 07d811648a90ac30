"""Every start with what each sampler made of it, as the compact JSON that the page's episode table reads."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sim_eval.analysis.compare import Comparison, Table
from sim_eval.report.outcome_strip import Strip
from sim_eval.report.paired_outcomes import Start
from sim_eval.runs.reader import Run


def episode_data(
    comparison: Comparison, starts: Sequence[Sequence[Start]], strips: Sequence[Sequence[Strip]], folder: Path
) -> str:
    """JSON that may stand inside a script element; videos as links relative to `folder`, where the page lies.

    A start is [episode, env_seed, noise_seed, state hash, cells]; a cell is [outcome, success, steps, mean Q, video,
    error] for each of `samplers`, or 0 where that sampler has no record.
    """
    samplers = list(dict.fromkeys(row.label for table in comparison.tables for row in table.rows))
    tables = []
    for table, group in zip(comparison.tables, starts, strict=True):
        runs = {row.label: row.run for row in table.rows}
        tables.append(
            {
                "name": table.name,
                "runs": [str(path) for path in dict.fromkeys(_shown(run.folder) for run in runs.values())],
                "starts": [_start(start, samplers, runs, folder) for start in group],
            }
        )
    columns = {
        strip.title: {"table": number, "order": list(strip.order)}
        for number, group in enumerate(strips)
        for strip in group
    }
    text = json.dumps(
        {"samplers": samplers, "tables": tables, "strips": columns}, separators=(",", ":"), allow_nan=False
    )
    return text.replace("<", "\\u003c")  # no text of a record can end the script element


def missing_videos(tables: Sequence[Table]) -> list[str]:
    """One line where recorded videos are no longer there."""
    every = [row.run.video(record) for table in tables for row in table.rows for record in row.records]
    noted = [path for path in every if path is not None]
    gone = [path for path in noted if not path.is_file()]
    if not gone:
        return []
    return [f"{len(gone)} of {len(noted)} recorded videos are not there any more, such as {_shown(gone[0])}"]


def _start(start: Start, samplers: Sequence[str], runs: Mapping[str, Run], folder: Path) -> list[Any]:
    first = next(iter(start.records.values()))
    cells = [_cell(start, label, runs[label], folder) if label in start.records else 0 for label in samplers]
    # JavaScript's numbers hold 53 bits, a noise seed has 63.
    return [start.episode, start.env_seed, str(start.noise_seed), (first.state_hash or "")[:12], cells]


def _cell(start: Start, label: str, run: Run, folder: Path) -> list[Any]:
    one = start.records[label]
    cell = [
        start.outcomes.get(label, ""),
        int(one.success),
        one.steps,
        None if one.mean_q is None else round(one.mean_q, 2),
        _link(run.video(one), folder),
        one.error or 0,
    ]
    while not cell[-1] and len(cell) > 4:
        cell.pop()
    return cell


def _link(video: Path | None, folder: Path) -> str | int:
    if video is None or not video.is_file():
        return 0
    return quote(Path(os.path.relpath(video, folder)).as_posix())


def _shown(path: Path) -> Path:
    """As the user would type it."""
    path = path.resolve()
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
