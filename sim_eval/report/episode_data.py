"""Every start with each sampler's result, as the compact JSON that the page's episode table reads."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sim_eval.analysis.compare import Comparison, Table
from sim_eval.analysis.rows import key_of
from sim_eval.report.outcome_strip import Strip
from sim_eval.report.paired_outcomes import Start


def episode_data(
    comparison: Comparison, starts: Sequence[Sequence[Start]], strips: Sequence[Sequence[Strip]], folder: Path
) -> str:
    """JSON that is safe inside a script element; videos are links relative to `folder`, which holds the page.

    A start is [episode, env_seed, noise_seed, state hash, cells, index of its run]; a cell is [outcome, success,
    steps, mean Q, video, error] for each of `samplers`, or 0 where that sampler has no record.
    """
    samplers = list(dict.fromkeys(row.label for table in comparison.tables for row in table.rows if not row.unpaired))
    tables = []
    for table, group in zip(comparison.tables, starts, strict=True):
        runs = list(dict.fromkeys(run.folder for row in table.rows for run in row.runs))
        tables.append(
            {
                "name": table.name,
                "runs": [str(_shown(path)) for path in runs],
                "starts": [_start(start, samplers, runs, folder) for start in group],
            }
        )
    columns = {
        strip.title: {"table": number, "order": list(strip.order)}
        for number, group in enumerate(strips)
        for strip in group
    }
    content = {"samplers": samplers, "tables": tables, "strips": columns}
    text = json.dumps(content, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c")  # no text of a record can end the script element


def missing_videos(tables: Sequence[Table]) -> list[str]:
    """One line where recorded videos are no longer there."""
    rows = [row for table in tables for row in table.rows]
    videos = [row.run_of[key_of(record)].video(record) for row in rows for record in row.records]
    noted = [path for path in videos if path is not None]
    gone = [path for path in noted if not path.is_file()]
    return [f"{len(gone)} of {len(noted)} recorded videos are missing, such as {_shown(gone[0])}"] if gone else []


def _start(start: Start, samplers: Sequence[str], runs: Sequence[Path], folder: Path) -> list[Any]:
    label, first = next(iter(start.records.items()))
    cells = [_cell(start, label, folder) if label in start.records else 0 for label in samplers]
    # JavaScript's numbers hold 53 bits, a noise seed has 63.
    seeds = [start.env_seed, str(start.noise_seed)]
    return [start.episode, *seeds, (first.state_hash or "")[:12], cells, runs.index(start.runs[label].folder)]


def _cell(start: Start, label: str, folder: Path) -> list[Any]:
    record, video = start.records[label], start.runs[label].video(start.records[label])
    cell = [
        start.outcomes.get(label, ""),
        int(record.success),
        record.steps,
        None if record.mean_q is None else round(record.mean_q, 2),
        quote(os.fsencode(Path(os.path.relpath(video, folder)).as_posix())) if video and video.is_file() else 0,
        record.error or 0,
    ]
    while not cell[-1] and len(cell) > 4:
        cell.pop()
    return cell


def _shown(path: Path) -> Path:
    """As the user would type it."""
    path = path.resolve()
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
