"""Samplers against each other on the same episodes: only pairs whose key and start hash agree are compared."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path

import numpy as np

from sim_eval.analysis import run_differences as comparability
from sim_eval.analysis.episode_selection import BASELINE
from sim_eval.analysis.statistics import bootstrap_difference, holm, mcnemar, wilson
from sim_eval.errors import RunError
from sim_eval.runs.reader import Run, read_run
from sim_eval.runs.records import Record

#: A difference is marked where its corrected p is below this.
ALPHA = 0.05
_BOOTSTRAP_SEED = 0  # a report made twice must be the same


@dataclass(frozen=True)
class Pairing:
    """One sampler against another over the keys that both ran from the same start, as the first sees it.

    `difference`: of the success rates over those pairs, `interval` its paired bootstrap 95 % interval; fractions.
    `p`: exact McNemar; `p_holm`: corrected over every pair of samplers of every table of the comparison.
    """

    label: str
    against: str
    pairs: int
    won: int
    lost: int
    p: float
    difference: float
    interval: tuple[float, float]
    p_holm: float = 1.0

    @property
    def survives(self) -> bool:
        """Whether the difference stands after correction."""
        return self.p_holm < ALPHA

    def reversed(self) -> Pairing:
        """As the second sees it."""
        return replace(
            self,
            label=self.against,
            against=self.label,
            won=self.lost,
            lost=self.won,
            difference=-self.difference,
            interval=(-self.interval[1], -self.interval[0]),
        )


@dataclass
class Row:
    """One sampler of one run: figures over its `n` episodes without error, each None when there are none.

    Rows and milliseconds are per decision, `steps` per episode; `ms` is a median, the rest are means. `pairing` is the
    one with the baseline.
    """

    label: str
    sampler: str
    run: Run
    records: list[Record]
    failed: list[Record]
    n: int = 0
    successes: int = 0
    interval: tuple[float, float] | None = None
    strength: float | None = None
    ms: float | None = None
    policy_rows: float | None = None
    critic_rows: float | None = None
    posterior_rows: float | None = None
    mean_q: float | None = None
    steps: float | None = None
    pairing: Pairing | None = None

    def __post_init__(self) -> None:
        good = self.records
        self.n, self.successes = len(good), sum(one.success for one in good)
        if not good:
            return
        self.interval = wilson(self.successes, self.n)
        self.strength = good[0].strength
        decisions = sum(one.decisions for one in good)
        self.policy_rows = sum(one.cost.policy_rows for one in good) / decisions
        self.critic_rows = sum(one.cost.critic_rows for one in good) / decisions
        self.posterior_rows = sum(one.cost.posterior_rows for one in good) / decisions
        self.ms = float(np.median([one.cost.decision_ms for one in good if one.cost.decision_ms is not None]))
        self.steps = float(np.mean([one.steps for one in good]))
        values = [one.mean_q for one in good if one.mean_q is not None]
        self.mean_q = float(np.mean(values)) if values else None

    @property
    def rate(self) -> float | None:
        """Success rate, a fraction."""
        return self.successes / self.n if self.n else None


@dataclass
class Table:
    """All rows of one task and policy; `every_pair` holds each row against each later one."""

    task: str
    policy: str
    rows: list[Row]
    every_pair: list[Pairing] = field(default_factory=list)

    @property
    def name(self) -> str:
        return f"{self.task} {self.policy}"

    @property
    def references(self) -> list[str]:
        """The labels of the rows that others are compared with, in the order in which these stand."""
        return list(dict.fromkeys(row.pairing.against for row in self.rows if row.pairing))

    def row(self, label: str) -> Row:
        """The row of this label, which the table has."""
        return next(row for row in self.rows if row.label == label)

    def pairing(self, label: str, against: str) -> Pairing | None:
        """One row against another, as the first sees it; None where they share no pair."""
        for one in self.every_pair:
            if (one.label, one.against) == (label, against):
                return one
            if (one.label, one.against) == (against, label):
                return one.reversed()
        return None


@dataclass(frozen=True)
class Overall:
    """One sampler over all tables, each table counting the same: mean success, and mean difference to the baseline.

    `baseline`: the sampler that it is compared with, the same in every table; without one there is no difference.
    `interval`: paired bootstrap 95 % of the difference, pairs resampled within each table. Fractions.
    """

    label: str
    rate: float
    episodes: int
    baseline: str | None = None
    difference: float | None = None
    interval: tuple[float, float] | None = None


@dataclass
class Comparison:
    """Tables, and what keeps them from being the whole truth. `overall`: of the samplers that every table has."""

    runs: list[Run]
    tables: list[Table]
    overall: list[Overall]
    warnings: list[str]

    @property
    def compared(self) -> bool:
        """Whether any two samplers ran the same episode."""
        return self.comparisons > 0

    @property
    def comparisons(self) -> int:
        """How many tests were made: what Holm's correction is over."""
        return sum(len(table.every_pair) for table in self.tables)


def compare(folders: Sequence[Path]) -> Comparison:
    """Read run folders and compare every sampler in them. Raises RunError for what is no run folder."""
    runs = _load(list(dict.fromkeys(folder.resolve() for folder in folders)))
    if not any(run.records for run in runs):
        raise RunError(f"nothing to compare: no episode is recorded in {', '.join(map(str, folders))}")
    warnings = comparability.warnings(runs)
    groups: dict[tuple[str, str], list[tuple[Run, str]]] = defaultdict(list)
    for run in runs:
        for sampler in run.config["samplers"]:
            groups[run.setting].append((run, sampler))
    tables = [_table(task, policy, members, warnings) for (task, policy), members in groups.items()]
    _correct(tables)
    return Comparison(runs, tables, _overall(tables), warnings)


def _load(folders: list[Path]) -> list[Run]:
    """Runs named by their folders, and by as much of the path as tells folders of the same name apart."""
    names = [folder.name for folder in folders]
    if len(set(names)) < len(names):
        shared = os.path.commonpath(folders)
        names = [os.path.relpath(folder, shared) for folder in folders]
    return [read_run(folder, name) for folder, name in zip(folders, names, strict=True)]


def _table(task: str, policy: str, members: list[tuple[Run, str]], warnings: list[str]) -> Table:
    names = [sampler for _, sampler in members]
    rows = []
    for run, sampler in members:
        label = sampler if names.count(sampler) == 1 else f"{run.name}/{sampler}"
        rows.append(_row(run, sampler, label, warnings))
    table = Table(task, policy, rows)
    ran = [row for row in rows if row.records]
    if len(rows) > 1 and all(row.sampler != BASELINE for row in ran):
        warnings.append(f"{table.name}: no {BASELINE} records, so samplers are compared with {(ran or rows)[0].label}")
    table.every_pair = [one for pair in combinations(rows, 2) if (one := _pairing(*pair)) is not None]
    for row in rows:
        if (baseline := _baseline(row, rows)) is not None:
            _tell_unpaired(row, baseline, warnings)
    return table


def _row(run: Run, sampler: str, label: str, warnings: list[str]) -> Row:
    mine = [one for one in run.records if one.sampler == sampler]
    failed = [one for one in mine if one.error is not None]
    what = f"{run.setting[0]} {label}"
    if failed:
        episodes = ", ".join(str(one.episode) for one in failed)
        warnings.append(f"{what}: {len(failed)} episodes ended in an error ({episodes}): {failed[0].error}")
    if len(mine) < run.config["episodes"]:
        warnings.append(f"{what}: {len(mine)} of {run.config['episodes']} episodes are recorded")
    return Row(label, sampler, run, [one for one in mine if one.error is None], failed)


def _baseline(row: Row, rows: list[Row]) -> Row | None:
    """The unsteered policy of the same run if it ran, else the first of another, else the first row that ran."""
    ran = [other for other in rows if other.records]
    unsteered = [other for other in ran if other.sampler == BASELINE]
    own = [other for other in unsteered if other.run is row.run]
    for candidate in [*own, *unsteered] if unsteered else ran[:1]:
        if candidate is not row:
            return candidate
    return None


def _shared(row: Row, other: Row) -> list[tuple[Record, Record]]:
    """Episodes that both ran under the same key."""
    theirs = {(one.env_seed, one.noise_seed): one for one in other.records}
    return [(one, theirs[key]) for one in row.records if (key := (one.env_seed, one.noise_seed)) in theirs]


def same_start(first: Record, second: Record) -> bool:
    """Whether two episodes under one key did start alike."""
    return first.state_hash == second.state_hash


def _pairing(row: Row, other: Row) -> Pairing | None:
    """Over shared keys with equal start hashes; None without any, and for runs that may not be compared."""
    if comparability.obstacle(row.run, other.run):
        return None
    pairs = [(mine.success, theirs.success) for mine, theirs in _shared(row, other) if same_start(mine, theirs)]
    if not pairs:
        return None
    won, lost = pairs.count((True, False)), pairs.count((False, True))
    interval = bootstrap_difference([(won, lost, len(pairs))], np.random.default_rng(_BOOTSTRAP_SEED))
    return Pairing(
        row.label, other.label, len(pairs), won, lost, mcnemar(won, lost), (won - lost) / len(pairs), interval
    )


def _tell_unpaired(row: Row, baseline: Row, warnings: list[str]) -> None:
    """Whatever a comparison with the baseline leaves out, and why."""
    who = f"{row.run.setting[0]} {row.label} against {baseline.label}"
    if reason := comparability.obstacle(row.run, baseline.run):
        warnings.append(f"{who}: not compared, for these are different tasks: {reason}")
        return
    shared = _shared(row, baseline)
    if row.records and baseline.records and not shared:
        warnings.append(f"{who}: not compared, for they ran other keys: no episode key in common")
        return
    broken = [mine for mine, theirs in shared if not same_start(mine, theirs)]
    if broken:
        warnings.append(
            f"{who}: the pairing is broken, the start differs under the same key, in {_episodes(broken)}; "
            "they are left out"
        )
    pairs = len(shared) - len(broken)
    if pairs < max(row.n, baseline.n):
        warnings.append(f"{who}: {pairs} pairs of {row.n} and {baseline.n} episodes")


def _episodes(records: list[Record]) -> str:
    return f"{len(records)} episodes ({', '.join(map(str, sorted(one.episode for one in records)))})"


def _correct(tables: list[Table]) -> None:
    """Holm's correction over every comparison made; then each row's comparison with its baseline is picked out."""
    corrected = iter(holm([pairing.p for table in tables for pairing in table.every_pair]))
    for table in tables:
        table.every_pair = [replace(pairing, p_holm=next(corrected)) for pairing in table.every_pair]
        for row in table.rows:
            if (baseline := _baseline(row, table.rows)) is not None:
                row.pairing = table.pairing(row.label, baseline.label)


def _overall(tables: list[Table]) -> list[Overall]:
    found = []
    for label in [row.label for row in tables[0].rows]:
        rows = [row for table in tables for row in table.rows if row.label == label]
        rates = [row.rate for row in rows if row.rate is not None]
        if len(rates) < len(tables):
            continue
        pairings = [row.pairing for row in rows if row.pairing is not None]
        mean = Overall(label, float(np.mean(rates)), sum(row.n for row in rows))
        baselines = {
            table.row(row.pairing.against).sampler for table, row in zip(tables, rows, strict=True) if row.pairing
        }
        if len(pairings) == len(tables) and len(baselines) == 1:
            counts = [(one.won, one.lost, one.pairs) for one in pairings]
            mean = replace(
                mean,
                episodes=sum(one.pairs for one in pairings),
                baseline=baselines.pop(),
                difference=float(np.mean([one.difference for one in pairings])),
                interval=bootstrap_difference(counts, np.random.default_rng(_BOOTSTRAP_SEED)),
            )
        found.append(mean)
    return found
