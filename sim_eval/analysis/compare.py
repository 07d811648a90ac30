"""Compare samplers, or policies, on the same episodes, over one or more runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from html import escape
from itertools import combinations
from pathlib import Path

import numpy as np

from sim_eval.analysis.design import DesignCheck, check_design, stored_design
from sim_eval.analysis.grouping import run_warnings
from sim_eval.analysis.measures import measured
from sim_eval.analysis.pairs import corrected, interval_of, pairing_of
from sim_eval.analysis.rows import ALPHA, Pairing, Row
from sim_eval.analysis.sequential import decided_at, running_p
from sim_eval.analysis.statistics import interval_over_tasks, letters
from sim_eval.analysis.table import Table, refer, reference_warnings, tables_of
from sim_eval.foundation.errors import RunError
from sim_eval.foundation.formatting import ABSENT, UNPAIRED, html_table, interval, p_value, percent, points
from sim_eval.runs.design import Design
from sim_eval.runs.foreign import UNDESCRIBED, Described
from sim_eval.runs.reader import Run
from sim_eval.runs.source import read_sources


@dataclass(frozen=True)
class Overall:
    """One sampler or policy over all tables, each with equal weight. Rates and differences are fractions.

    `baseline`: the one that it is compared with in every table. `rate`, `baseline_rate` and `difference` are then
    means over the pairs of the two, `interval` is the 95 % interval of the difference (`interval_of`),
    `interval_over_tasks` that over tasks like these, and `episodes` the number of pairs.
    Without a baseline, `rate` and `episodes` are over its own episodes.
    """

    label: str
    rate: float
    episodes: int
    baseline: str | None = None
    baseline_rate: float | None = None
    difference: float | None = None
    interval: tuple[float, float] | None = None
    interval_over_tasks: tuple[float, float] | None = None


@dataclass(repr=False)
class Comparison:
    """Tables, the warnings that a reader must know, and `overall`, the rows that every table has.

    Rows that other harnesses ran stand in the tables alone: `overall` and `pooled` are of this suite's own.

    `pooled`: every two rows that all of several tables compare, over their pairs together; Holm's correction is
    over these alone. It answers another question than the tables do: whether one is better on the whole.
    `design`: whether the runs kept the design that was fixed before them; None if there is none.
    """

    runs: list[Run]
    tables: list[Table]
    overall: list[Overall]
    warnings: list[str]
    pooled: list[Pairing] = field(default_factory=list)
    design: DesignCheck | None = None

    @property
    def by(self) -> str:
        """What the rows are, one of `BY`."""
        return self.tables[0].by

    @property
    def compared(self) -> bool:
        """Whether at least two rows ran the same episode."""
        return self.comparisons > 0

    @property
    def knows_jerk(self) -> bool:
        """Whether a row's jerk can be told relative to an unsteered one's; runs of earlier versions recorded none."""
        return any(table.jerk_ratio(row) is not None for table in self.tables for row in table.rows)

    @property
    def comparisons(self) -> int:
        """The number of tests in the tables, over which Holm's correction is made."""
        return sum(len(table.every_pair) for table in self.tables)

    def __repr__(self) -> str:
        return f"<Comparison by {self.by}: {'; '.join(table.name for table in self.tables)}>"

    def _repr_html_(self) -> str:
        """How a notebook shows the comparison: a table for each task, and the warnings."""
        warned = "".join(f"<li>{escape(warning)}</li>" for warning in self.warnings)
        tables = "".join(html_table(table.name, (self.by, *_HEAD), map(_cells, table.rows)) for table in self.tables)
        return f"{tables}<p>Warnings:</p><ul>{warned}</ul>" if warned else tables


#: The columns of a notebook's table, after the row's label.
_HEAD = ("episodes", "success %", "95 %", "won/lost", "p Holm", "difference %")


def _cells(row: Row) -> tuple[str, ...]:
    """The label, and the cells below _HEAD."""
    paired = (ABSENT, ABSENT, UNPAIRED if row.unpaired else ABSENT)
    if (pairing := row.pairing) is not None:
        difference = points(pairing.difference, pairing.interval)
        paired = (f"{pairing.won}/{pairing.lost}", p_value(pairing.p_holm), difference)
    return (row.label, str(row.n), percent(row.rate), interval(row.interval), *paired)


def compare(
    sources: Sequence[Path],
    described: Described = UNDESCRIBED,
    by: str | None = None,
    reference: str | None = None,
    design: Design | None = None,
) -> Comparison:
    """Read run folders and files of other harnesses, and compare their samplers or policies; see `read_sources`."""
    return compare_runs(read_sources(sources, described), by, reference, design)


def compare_runs(
    runs: Sequence[Run], by: str | None = None, reference: str | None = None, design: Design | None = None
) -> Comparison:
    """As `compare`, for runs already read, whose names must differ.

    by: "sampler" compares the samplers of each policy, with the same options; "policy" compares policies, checkpoints
        and options with each other, where the key and the hash of the start are equal. None: "policy" if only that
        finds a pair, else "sampler".
    reference: the label of the row that the others are compared with. None: by sampler each row's unsteered one, by
        policy the first run's.

    design: what was fixed before the runs; the comparison says whether they kept it. None: the copy in their folders,
        if they are the runs of all its tasks.

    Raises RunError if no run has a record, and for another `by` or `reference` than there is.
    """
    if not any(run.records for run in runs):
        raise RunError(f"nothing to compare: no episode is recorded in {', '.join(str(run.folder) for run in runs)}")
    warnings = run_warnings(runs)
    tables, told = tables_of(runs, by)
    refer(tables, reference)
    warnings += told + reference_warnings(tables)
    _correct(tables)
    warnings += _unfinished(tables)
    design = design or stored_design(runs)
    checked = check_design(design, runs, tables) if design else None
    return Comparison(list(runs), tables, _overall(tables), warnings, _pooled(tables), checked)


def _correct(tables: list[Table]) -> None:
    """Apply Holm's correction over every comparison; give each row its comparison with the baseline, and letters."""
    every_pair = corrected([pairing for table in tables for pairing in table.every_pair])
    decisions = decided_at([running_p(pair.evidence) if pair.evidence else [pair.p] for pair in every_pair], ALPHA)
    pairings = iter(
        replace(pairing, decided=decided) if pairing.evidence else pairing
        for pairing, decided in zip(every_pair, decisions, strict=True)
    )
    for table in tables:
        table.every_pair = [next(pairings) for _ in table.every_pair]
        _give_letters(table)
        for row in table.rows:
            if (baseline := table.baseline(row)) is not None:
                row.pairing = table.pairing(row.label, baseline.label)
            row.measured = measured(row, baseline if row.pairing else None)


def _give_letters(table: Table) -> None:
    """Letters for the rows that are compared, the highest rate first."""
    named = {label for pairing in table.every_pair for label in (pairing.label, pairing.against)}
    rows = sorted((row for row in table.rows if row.label in named), key=lambda row: -(row.rate or 0.0))
    different = {frozenset((pairing.label, pairing.against)) for pairing in table.every_pair if pairing.survives}
    given = letters([row.label for row in rows], different)
    for row in rows:
        row.letters = given[row.label]


def _unfinished(tables: Sequence[Table]) -> list[str]:
    """Rows of runs until=decided that were stopped before they were decided or had all their episodes."""
    found = []
    for table in tables:
        for row in table.rows:
            asked = sum(run.config["episodes"] for run in row.runs)
            if row.sequential and row.pairing and row.pairing.decided is None and len(row.run_of) < asked:
                found.append(f"{table.name} {row.label}: undecided after {len(row.run_of)} of {asked} episodes")
    return found


def _overall(tables: list[Table]) -> list[Overall]:
    tables = [table for table in tables if not table.unpaired]
    found = []
    for label in [row.label for table in tables[:1] for row in table.rows if not row.unpaired]:
        rows = [(table, row) for table in tables for row in table.rows if row.label == label]
        rates = [row.rate for _, row in rows if row.rate is not None]
        if len(rates) < len(tables):
            continue
        pairings = [row.pairing for _, row in rows if row.pairing]
        baselines = {table.baseline_name(row.pairing) for table, row in rows if row.pairing}
        if len(pairings) == len(tables) and len(baselines) == 1:
            found.append(_paired_overall(label, baselines.pop(), pairings))
        else:
            found.append(Overall(label, float(np.mean(rates)), sum(row.n for _, row in rows)))
    return found


def _pooled(tables: list[Table]) -> list[Pairing]:
    """Each two samplers that every one of several tables pairs, over all their pairs."""
    tables = [table for table in tables if not table.unpaired]
    if len(tables) < 2:
        return []
    found = []
    for label, against in combinations([row.label for row in tables[0].rows], 2):
        parts = [pairing for table in tables if (pairing := table.pairing(label, against)) is not None]
        if len(parts) < len(tables):
            continue
        found.append(pairing_of(label, against, parts))
    return corrected(found)


def _paired_overall(label: str, baseline: str, pairings: list[Pairing]) -> Overall:
    differences = [pairing.difference for pairing in pairings]
    return Overall(
        label=label,
        rate=float(np.mean([pairing.rate for pairing in pairings])),
        episodes=sum(pairing.pairs for pairing in pairings),
        baseline=baseline,
        baseline_rate=float(np.mean([pairing.rate_against for pairing in pairings])),
        difference=float(np.mean(differences)),
        interval=interval_of(pairings),
        interval_over_tasks=interval_over_tasks(differences),
    )
