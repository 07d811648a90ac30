"""The paired outcomes of every start as a strip: a column a start, a row a sampler."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from sim_eval.analysis.compare import Table
from sim_eval.report.paired_outcomes import Start


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
