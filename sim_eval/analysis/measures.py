"""How well episodes went besides whether they succeeded: paired differences of measures that records hold."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from sim_eval.analysis.pairs import paired
from sim_eval.analysis.rows import Measured, Row
from sim_eval.analysis.statistics import mean_interval
from sim_eval.runs.records import Record


@dataclass(frozen=True)
class Measure:
    """A number of an episode. `field`: of its record. `solved`: whether only episodes that both rows solve compare.

    `head`, `difference`: how its columns are headed. `meaning`: in words. `scale`: what the field is multiplied by to
    be shown, with so many `decimals`.
    """

    field: str
    head: str
    difference: str
    meaning: str
    decimals: int = 1
    scale: float = 1.0
    solved: bool = False

    def of(self, record: Record) -> float | None:
        """The record's number, in the record's unit; None if it has none."""
        value: float | None = getattr(record, self.field)
        return value

    def tells(self, records: Sequence[Record]) -> bool:
        """Whether any of the records has the number, and it says more than success does."""
        values = [(value, record.success) for record in records if (value := self.of(record)) is not None]
        return bool(values) and (self.field != "goals_met" or any(value != success for value, success in values))


MEASURES = (
    Measure(
        "time_to_success",
        "time, s",
        "difference, s",
        "seconds of simulated time until success; its mean is over the row's own successes, its difference over the "
        "n episodes that both rows solve",
        solved=True,
    ),
    Measure(
        "action_path",
        "action path",
        "difference, path",
        "sum over an episode's steps of the norm of the executed action, the gripper left out, in the task's units of "
        "an action",
    ),
    Measure(
        "goals_met",
        "goals met, %",
        "difference, points",
        "share of the goal's predicates that hold at the end",
        decimals=0,
        scale=100.0,
    ),
)


def measured(row: Row, baseline: Row | None) -> dict[str, Measured]:
    """By field each measure that the row's records hold, against `baseline`; None for a row that is not compared."""
    found = {}
    for measure in MEASURES:
        values = [value for record in row.records if (value := measure.of(record)) is not None]
        if values:
            alone = Measured(statistics.fmean(values))
            found[measure.field] = alone if baseline is None else _compared(measure, alone.mean, row, baseline)
    return found


def _compared(measure: Measure, mean: float, row: Row, baseline: Row) -> Measured:
    differences, starts = [], []
    for mine, theirs in paired(row.records, baseline.records):
        first, second = measure.of(mine), measure.of(theirs)
        if first is not None and second is not None:
            differences.append(first - second)
            starts.append(mine.env_seed)
    if not differences:
        return Measured(mean, baseline.label)
    difference = statistics.fmean(differences)
    return Measured(mean, baseline.label, len(differences), difference, mean_interval(differences, starts))
