"""The rows that the paired tests do not tell from the best one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sim_eval.analysis.compare import Comparison
from sim_eval.analysis.rows import Pairing
from sim_eval.analysis.table import Table
from sim_eval.foundation.formatting import listed, percent


@dataclass(frozen=True)
class Best:
    """The row of the highest success rate among those that are compared. `where`: one table's name, or "all tables".

    `level`: the rows that the corrected tests do not tell from it; `behind`: those that they do.
    """

    where: str
    label: str
    rate: float
    level: Sequence[str]
    behind: Sequence[str]

    def __str__(self) -> str:
        best = f"The best on {self.where} is {self.label} ({percent(self.rate)} %)"
        if not self.level:
            return f"{best}; the tests tell every other one from it."
        return f"{best}; cannot be told from it: {listed(self.level)}."


def best_sets(comparison: Comparison) -> list[Best]:
    """The best over all tables together where they all pair the same rows, else of each table; none without pairs."""
    rates = {overall.label: overall.rate for overall in comparison.overall}
    together = _best("all tables", rates, comparison.pooled)
    found = [together] if together else [table_best(table) for table in comparison.tables]
    return [best for best in found if best is not None]


def table_best(table: Table) -> Best | None:
    """The best of one table; None if nothing in it is compared."""
    rates = {row.label: row.rate for row in table.rows if row.rate is not None}
    return _best(table.name, rates, table.every_pair)


def _best(where: str, rates: Mapping[str, float], pairings: Iterable[Pairing]) -> Best | None:
    different = {frozenset((pairing.label, pairing.against)): pairing.survives for pairing in pairings}
    compared = [label for label in rates if any(label in pair for pair in different)]
    if not compared:
        return None
    best = max(compared, key=lambda label: rates[label])
    told = {label: different.get(frozenset((label, best))) for label in compared}
    return Best(
        where,
        best,
        rates[best],
        [label for label in compared if told[label] is False],
        [label for label in compared if told[label]],
    )
