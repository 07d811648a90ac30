"""The rows that are compared with each other: which there are, and what each is compared with."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations

from sim_eval.analysis.grouping import Setup, group_by_condition, group_by_setup, policy_names, request_warnings
from sim_eval.analysis.labels import BY, POLICY, SAMPLER, common_options, row_labels
from sim_eval.analysis.measures import MEASURES, Measure
from sim_eval.analysis.options import said
from sim_eval.analysis.pairs import baseline_of, pair, pairing_warnings
from sim_eval.analysis.rows import Pairing, Row, pool
from sim_eval.config.values import one_of
from sim_eval.runs.reader import Run
from sim_eval.runs.records import BASELINE


@dataclass
class Table:
    """All rows of one task and policy, or by policy of one task; `every_pair` compares each row with each later one.

    `task_options`, `policy_options`: what all rows share and the names do not say, as typed. `by`: what the rows are,
    one of `BY`. `reference`: the label of the row that all others are compared with; None: each has its own.
    """

    task: str
    policy: str
    rows: list[Row]
    every_pair: list[Pairing] = field(default_factory=list)
    task_options: Sequence[str] = ()
    policy_options: Sequence[str] = ()
    by: str = SAMPLER
    reference: str | None = None

    @property
    def place(self) -> str:
        """The task with its options."""
        return " ".join([self.task, *self.task_options])

    @property
    def name(self) -> str:
        """The place and the policy with its options; by policy the rows name the policies."""
        policy = [] if self.by == POLICY else [self.policy]
        return " ".join([self.place, *policy, *self.policy_options])

    @property
    def unpaired(self) -> bool:
        """Whether all of it was run by other harnesses."""
        return all(row.unpaired for row in self.rows)

    @property
    def references(self) -> list[str]:
        """The labels of the rows that others are compared with, in table order."""
        return list(dict.fromkeys(row.pairing.against for row in self.rows if row.pairing))

    def baseline(self, row: Row) -> Row | None:
        """The row that this one is compared with; None if there is no other, and for the reference itself."""
        if self.reference is None:
            return baseline_of(row, self.rows)
        return None if row.unpaired or row.label == self.reference else self.row(self.reference)

    def baseline_name(self, pairing: Pairing) -> str:
        """The name by which tables share what a row is compared with: a sampler's, or the reference's label."""
        return self.row(pairing.against).sampler if self.reference is None else pairing.against

    def row(self, label: str) -> Row:
        """The row of this label. Raises StopIteration if the table has none."""
        return next(row for row in self.rows if row.label == label)

    @property
    def measures(self) -> list[Measure]:
        """The measures besides success that tell something about its rows."""
        records = [record for row in self.rows for record in row.records]
        return [measure for measure in MEASURES if measure.tells(records)]

    def jerk_ratio(self, row: Row) -> float | None:
        """The row's jerk over its unsteered row's, which has 1 itself; None if either is unknown or the latter 0."""
        if row.jerk is None:
            return None
        alike = [other for other in self.rows if other.policy == row.policy]
        unsteered = row if row.sampler == BASELINE else baseline_of(row, alike)
        if unsteered is None or unsteered.sampler != BASELINE or not unsteered.jerk:
            return None
        return row.jerk / unsteered.jerk

    def pairing(self, label: str, against: str) -> Pairing | None:
        """The comparison of one row with another, from the first one's view; None if they share no pair."""
        for pairing in self.every_pair:
            if (pairing.label, pairing.against) == (label, against):
                return pairing
            if (pairing.label, pairing.against) == (against, label):
                return pairing.reversed()
        return None


def tables_of(runs: Sequence[Run], by: str | None = None) -> tuple[list[Table], list[str]]:
    """The tables of these runs, before any correction, and warnings.

    `by`: one of `BY`; None: by policy if only so a pair is found, else by sampler. Raises RunError for another.
    """
    if by is not None:
        return _MAKERS[one_of("by", by, BY)](runs)
    by_sampler = _by_sampler(runs)
    if _paired(by_sampler[0]):
        return by_sampler
    by_policy = _by_policy(runs)
    return by_policy if _paired(by_policy[0]) else by_sampler


def _paired(tables: Sequence[Table]) -> bool:
    return any(table.every_pair for table in tables)


def _by_sampler(runs: Sequence[Run]) -> tuple[list[Table], list[str]]:
    """A table for each condition: the task, the policy, its weights, and the options of both."""
    groups = group_by_condition(runs)
    names = policy_names(groups)
    warnings = _same_name_warnings(groups, names)
    tables = []
    for group, policy in zip(groups, names, strict=True):
        task = group[0].setting[0]
        table = _table(task, policy, SAMPLER, group_by_setup(group, policy), group, warnings)
        ran = [row for row in table.rows if row.records and not row.unpaired]
        several = sum(not row.unpaired for row in table.rows) > 1
        if ran and several and all(row.sampler != BASELINE for row in ran):
            warnings.append(f"{table.name}: no {BASELINE} records, so samplers are compared with {ran[0].label}")
        warnings += request_warnings(table.name, group)
        tables.append(table)
    return tables, warnings


def _by_policy(runs: Sequence[Run]) -> tuple[list[Table], list[str]]:
    """A table for each task, whose rows are all policies, checkpoints and options."""
    warnings: list[str] = []
    tables = []
    for task in dict.fromkeys(run.setting[0] for run in runs):
        group = [run for run in runs if run.setting[0] == task]
        alike = group_by_condition(group)
        named = zip(alike, policy_names(alike), strict=True)
        setups = [setup for runs_alike, policy in named for setup in group_by_setup(runs_alike, policy)]
        setups.sort(key=lambda setup: setup.foreign)
        policies = ", ".join(dict.fromkeys(setup.policy for setup in setups))
        table = _table(task, policies, POLICY, setups, group, warnings)
        table.reference = _first_unsteered(table.rows)
        tables.append(table)
    return tables, warnings


_MAKERS = {SAMPLER: _by_sampler, POLICY: _by_policy}


def _table(task: str, policy: str, by: str, setups: Sequence[Setup], runs: Sequence[Run], warnings: list[str]) -> Table:
    of_task, of_policy = (said(options) for options in common_options(runs))
    place = " ".join([task, *of_task])
    rows = [pool(place, label, setup, warnings) for setup, label in zip(setups, row_labels(setups, by), strict=True)]
    pairings = (pair(first, second) for first, second in combinations(rows, 2))
    every_pair = [pairing for pairing in pairings if pairing is not None]
    return Table(task, policy, rows, every_pair, of_task, of_policy, by)


def _same_name_warnings(groups: Sequence[Sequence[Run]], names: Sequence[str]) -> list[str]:
    """A line for each policy name that stands for different weights on one task."""
    by_setting: dict[tuple[str, str], dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for group, name in zip(groups, names, strict=True):
        by_setting[group[0].setting][name] += [run.name for run in group]
    return [
        f"{task}: {len(runs)} different policies are called {policy}; they are not compared with each other: "
        + "; ".join(f"{name} in {', '.join(where)}" for name, where in runs.items())
        for (task, policy), runs in by_setting.items()
        if len(runs) > 1
    ]


def _first_unsteered(rows: Sequence[Row]) -> str | None:
    """The default reference: the first run's unsteered row, else the first row that ran."""
    ran = [row for row in rows if row.records and not row.unpaired]
    first = ran[0].runs[0].name if ran else None
    unsteered = [row for row in ran if row.sampler == BASELINE and any(run.name == first for run in row.runs)]
    return next((row.label for row in [*unsteered, *ran]), None)


def refer(tables: Sequence[Table], reference: str | None) -> None:
    """Put each table's reference first, `reference` where the table has it. Raises RunError if no table has it."""
    labels = dict.fromkeys(row.label for table in tables for row in table.rows if row.records and not row.unpaired)
    if reference is not None:
        one_of("reference", reference, labels)
    for table in tables:
        if any(row.label == reference for row in table.rows):
            table.reference = reference
        if table.reference is not None:
            table.rows.sort(key=lambda row: row.label != table.reference)
            pairings = (table.pairing(first.label, second.label) for first, second in combinations(table.rows, 2))
            table.every_pair = [pairing for pairing in pairings if pairing is not None]


def reference_warnings(tables: Sequence[Table]) -> list[str]:
    """What the comparison of each row with its reference leaves out."""
    found = []
    for table in tables:
        for row in table.rows:
            if (baseline := table.baseline(row)) is not None:
                found += pairing_warnings(table.place, row, baseline)
    return found
