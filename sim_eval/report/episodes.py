"""Every start with each sampler's result, as the compact JSON that the page's episode table reads."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sim_eval.analysis.compare import Comparison
from sim_eval.analysis.pairs import same_start
from sim_eval.analysis.rows import Row, key_of
from sim_eval.analysis.table import Table
from sim_eval.runs.reader import Run
from sim_eval.runs.records import Record


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


@dataclass(frozen=True)
class StripRow:
    """`paths`: outcome to SVG path data over unit columns; `counts`: how often each occurs."""

    label: str
    paths: dict[str, str]
    counts: dict[str, int]


@dataclass(frozen=True)
class Strip:
    """The rows that are compared with one `baseline`. `order`: which of the table's starts stands in which column."""

    title: str
    baseline: str
    rows: Sequence[StripRow]
    order: Sequence[int]


def strips(table: Table, starts: Sequence[Start]) -> list[Strip]:
    """One for every baseline that rows of the table are compared with."""
    return [_strip(table, baseline, starts) for baseline in table.references]


def _strip(table: Table, baseline: str, starts: Sequence[Start]) -> Strip:
    """Over the starts that the baseline ran: first those that it fails, then the rest, each from hard to easy."""

    def alone(start: Start) -> str | None:
        record = start.records.get(baseline)
        if record is None or record.error:
            return None
        return "both" if record.success else "neither"

    ran = [index for index, start in enumerate(starts) if baseline in start.records]
    order = sorted(ran, key=lambda i: (alone(starts[i]) == "both", starts[i].solved, starts[i].episode))
    columns = [starts[index] for index in order]
    rows = [_row(baseline, [alone(start) for start in columns])]
    for row in table.rows:
        if row.pairing and row.pairing.against == baseline:
            rows.append(_row(row.label, [start.outcomes.get(row.label) for start in columns]))
    title = table.name if len(table.references) == 1 else f"{table.name}, against {baseline}"
    return Strip(title, baseline, rows, order)


def _row(label: str, outcomes: Sequence[str | None]) -> StripRow:
    paths: dict[str, str] = {}
    counts: dict[str, int] = {}
    column = 0
    for outcome, group in groupby(outcomes):
        length = len(list(group))
        if outcome is not None:
            paths[outcome] = paths.get(outcome, "") + f"M{column} 0h{length}v1h-{length}z"
            counts[outcome] = counts.get(outcome, 0) + length
        column += length
    return StripRow(label, paths, counts)


#: Did the sampler succeed, did the baseline?
_OUTCOMES = {(True, False): "rescued", (False, True): "broken", (True, True): "both", (False, False): "neither"}


@dataclass
class Start:
    """One episode key: by label every sampler's record, its run, and its outcome if it is paired with a baseline."""

    episode: int
    env_seed: int
    noise_seed: int
    records: dict[str, Record] = field(default_factory=dict)
    runs: dict[str, Run] = field(default_factory=dict)
    outcomes: dict[str, str] = field(default_factory=dict)

    @property
    def solved(self) -> int:
        """How many samplers solve it."""
        return sum(record.success and record.error is None for record in self.records.values())


def starts(table: Table) -> list[Start]:
    """Every key of the table in episode order, those that ended in an error included; unpaired rows have none."""
    found: dict[tuple[int, int], Start] = {}
    for row in [row for row in table.rows if not row.unpaired]:
        for record in [*row.records, *row.failed]:
            key = key_of(record)
            start = found.setdefault(key, Start(record.episode, *key))
            start.records[row.label], start.runs[row.label] = record, row.run_of[key]
    for start in found.values():
        start.outcomes = {row.label: outcome for row in table.rows if (outcome := _outcome(start, row)) is not None}
    return sorted(found.values(), key=lambda start: (start.episode, start.env_seed, start.noise_seed))


def _outcome(start: Start, row: Row) -> str | None:
    if row.pairing is None:
        return None
    mine, theirs = start.records.get(row.label), start.records.get(row.pairing.against)
    if mine is None or theirs is None or mine.error or theirs.error or not same_start(mine, theirs):
        return None
    return _OUTCOMES[mine.success, theirs.success]
