"""What a comparison tells besides success, as cells of a table."""

from __future__ import annotations

from collections.abc import Sequence

from sim_eval.analysis.compare import Comparison
from sim_eval.analysis.measures import Measure
from sim_eval.analysis.rows import Measured
from sim_eval.analysis.table import Table
from sim_eval.foundation.formatting import ABSENT


def measure_cells(table: Table) -> list[list[str]]:
    """The head, and the cells of each row below it; empty if its records hold nothing besides success."""
    measures = table.measures
    if not measures:
        return []
    heads = [head for measure in measures for head in (measure.head, measure.difference)]
    rows = []
    for row in table.rows:
        found = [(measure, row.measured.get(measure.field)) for measure in measures]
        rows.append([row.label, *(cell for measure, value in found for cell in _cells(measure, value))])
    return [[table.by, *heads], *rows]


def _cells(measure: Measure, value: Measured | None) -> tuple[str, str]:
    """The mean, and the difference with its interval and, where not all pairs count, their number."""
    if value is None:
        return ABSENT, ABSENT
    mean = f"{measure.scale * value.mean:.{measure.decimals}f}"
    if value.difference is None:
        return mean, ABSENT
    form = f"+.{measure.decimals}f"
    shown = format(measure.scale * value.difference, form)
    if value.interval:
        shown += f" [{'..'.join(format(measure.scale * end, form[1:]) for end in value.interval)}]"
    return mean, f"{shown}, n={value.pairs}" if measure.solved else shown


def meanings(comparison: Comparison) -> list[str]:
    """A sentence for each measure that a table of the comparison shows, and one for all differences."""
    shown: Sequence[Measure] = list(
        {measure.field: measure for table in comparison.tables for measure in table.measures}.values()
    )
    if not shown:
        return []
    intervals = (
        "Differences are from the row's reference over the same episodes, with Student's 95 % interval over starts, "
        "without a test or a correction."
    )
    return [*(f"{measure.head.partition(',')[0].capitalize()}: {measure.meaning}." for measure in shown), intervals]
