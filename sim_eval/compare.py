"""Samplers against each other on the same episodes: only pairs whose key AND start hash agree are compared."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from sim_eval.errors import RunError
from sim_eval.picks import BASELINE
from sim_eval.records import Record, read
from sim_eval.run_folder import load_config, load_provenance
from sim_eval.statistics import bootstrap_difference, holm, mcnemar, wilson
from tasks.naming import full_name

_BOOTSTRAP_SEED = 0  # a report made twice must be the same


@dataclass(frozen=True)
class Run:
    """A run folder as read."""

    folder: Path
    config: dict[str, Any]
    provenance: list[dict[str, Any]]
    records: list[Record]


@dataclass(frozen=True)
class Pairing:
    """One sampler against another over the keys that both ran from the same start, as the first sees it.

    `difference`: of the success rates over those pairs, `interval` its paired bootstrap 95 % interval; fractions.
    `p_holm`: corrected over the comparisons of one table with its baseline; None elsewhere.
    """

    against: str
    pairs: int
    won: int
    lost: int
    p: float
    difference: float
    interval: tuple[float, float]
    p_holm: float | None = None


@dataclass
class Row:
    """One sampler of one run: figures over its `n` episodes without error, each None when there are none.

    Rows and milliseconds are per decision, `steps` per episode; `ms` is a median, the rest are means.
    """

    label: str
    sampler: str
    folder: Path
    records: list[Record]
    errors: int
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
        self.policy_rows = sum(one.policy_rows for one in good) / decisions
        self.critic_rows = sum(one.critic_rows for one in good) / decisions
        self.posterior_rows = sum(one.posterior_rows for one in good) / decisions
        self.ms = float(np.median([one.decision_ms for one in good if one.decision_ms is not None]))
        self.steps = float(np.mean([one.steps for one in good]))
        values = [one.mean_q for one in good if one.mean_q is not None]
        self.mean_q = float(np.mean(values)) if values else None


@dataclass
class Table:
    """All rows of one task and policy; `every_pair` holds each row against each later one, by label."""

    task: str
    policy: str
    rows: list[Row]
    every_pair: list[tuple[str, Pairing]] = field(default_factory=list)


@dataclass
class Comparison:
    """Tables, and what keeps them from being the whole truth."""

    runs: list[Run]
    tables: list[Table]
    warnings: list[str]

    @property
    def compared(self) -> bool:
        """Whether any two samplers ran the same episode."""
        return any(table.every_pair for table in self.tables)


def compare(folders: Sequence[Path]) -> Comparison:
    """Read run folders and compare every sampler in them. Raises RunError for what is no run folder."""
    runs = [load_run(folder) for folder in dict.fromkeys(folder.resolve() for folder in folders)]
    if not any(run.records for run in runs):
        raise RunError(f"nothing to compare: no episode is recorded in {', '.join(map(str, folders))}")
    warnings = [*_unequal_provenance(runs), *_stand_in_assets(runs)]
    groups: dict[tuple[str, str], list[tuple[Run, str]]] = defaultdict(list)
    for run in runs:
        for sampler in run.config["samplers"]:
            groups[full_name(**run.config["task"]), run.config["policy"]].append((run, sampler))
    tables = [_table(task, policy, members, warnings) for (task, policy), members in groups.items()]
    return Comparison(runs, tables, warnings)


def load_run(folder: Path) -> Run:
    """Read a run folder. Raises RunError for what is none."""
    if not folder.is_dir():
        raise RunError(f"{folder} is not a folder")
    records = read(folder)
    config = load_config(folder)
    if config is None:
        raise RunError(f"{folder} has no config.yaml: not a run folder")
    return Run(folder, config, load_provenance(folder), records)


def _table(task: str, policy: str, members: list[tuple[Run, str]], warnings: list[str]) -> Table:
    names = [sampler for _, sampler in members]
    rows = []
    for run, sampler in members:
        label = sampler if names.count(sampler) == 1 else f"{run.folder.name}/{sampler}"
        rows.append(_row(run, sampler, label, warnings))
    table = Table(task, policy, rows)
    baselines = {id(row): _baseline(row, rows) for row in rows}
    if len(rows) > 1 and BASELINE not in names:
        warnings.append(f"{task} {policy}: no {BASELINE} records, so samplers are compared with {rows[0].label}")
    for row in rows:
        baseline = baselines[id(row)]
        if baseline is not None:
            row.pairing = _pairing(row, baseline, warnings)
    _correct(rows)
    for first, second in combinations(rows, 2):
        pairing = _pairing(first, second, None)
        if pairing is not None:
            table.every_pair.append((first.label, pairing))
    return table


def _row(run: Run, sampler: str, label: str, warnings: list[str]) -> Row:
    mine = [one for one in run.records if one.sampler == sampler]
    failed = [one for one in mine if one.error is not None]
    if failed:
        episodes = ", ".join(str(one.episode) for one in failed)
        warnings.append(f"{label}: {len(failed)} episodes ended in an error ({episodes}): {failed[0].error}")
    if len(mine) < run.config["episodes"]:
        warnings.append(f"{label}: {len(mine)} of {run.config['episodes']} episodes are recorded")
    return Row(label, sampler, run.folder, [one for one in mine if one.error is None], len(failed))


def _baseline(row: Row, rows: list[Row]) -> Row | None:
    """The unsteered policy of the same run if there is one, else the first of another, else the first row."""
    unsteered = [other for other in rows if other.sampler == BASELINE]
    own = [other for other in unsteered if other.folder == row.folder]
    for candidate in [*own, *unsteered] if unsteered else rows[:1]:
        if candidate is not row:
            return candidate
    return None


def _pairing(row: Row, baseline: Row, warnings: list[str] | None) -> Pairing | None:
    """Over shared keys with equal start hashes; None without any. Broken pairs are told where `warnings` are taken."""
    theirs = {(one.env_seed, one.noise_seed): one for one in baseline.records}
    shared = [(one, theirs[key]) for one in row.records if (key := (one.env_seed, one.noise_seed)) in theirs]
    pairs = [(mine, other) for mine, other in shared if mine.state_hash == other.state_hash]
    if warnings is not None:
        _tell_unpaired(row, baseline, shared, len(pairs), warnings)
    if not pairs:
        return None
    ours, others = [mine.success for mine, _ in pairs], [other.success for _, other in pairs]
    won = sum(mine and not other for mine, other in zip(ours, others, strict=True))
    lost = sum(other and not mine for mine, other in zip(ours, others, strict=True))
    generator = np.random.default_rng(_BOOTSTRAP_SEED)
    return Pairing(
        against=baseline.label,
        pairs=len(pairs),
        won=won,
        lost=lost,
        p=mcnemar(won, lost),
        difference=(won - lost) / len(pairs),
        interval=bootstrap_difference(ours, others, generator),
    )


def _tell_unpaired(
    row: Row, baseline: Row, shared: list[tuple[Record, Record]], pairs: int, warnings: list[str]
) -> None:
    who = f"{row.label} against {baseline.label}"
    if broken := [str(mine.episode) for mine, other in shared if mine.state_hash != other.state_hash]:
        warnings.append(
            f"{who}: the pairing is broken, the start differs under the same key, in {len(broken)} episodes "
            f"({', '.join(broken)}); they are left out"
        )
    if row.records and baseline.records and not shared:
        warnings.append(f"{who}: no episode key in common, not compared")
    elif pairs < max(row.n, baseline.n):
        warnings.append(f"{who}: {pairs} pairs of {row.n} and {baseline.n} episodes")


def _correct(rows: list[Row]) -> None:
    """Holm's correction over one table's comparisons with the baseline."""
    tested = [(row, row.pairing) for row in rows if row.pairing is not None]
    corrected = holm([pairing.p for _, pairing in tested])
    for (row, pairing), p in zip(tested, corrected, strict=True):
        row.pairing = Pairing(**{**vars(pairing), "p_holm": p})


def _stand_in_assets(runs: Iterable[Run]) -> list[str]:
    """Tasks whose episodes ran on primitives instead of LIBERO's own assets, all of them or some."""
    kinds: dict[str, set[str]] = defaultdict(set)
    for run in runs:
        kinds[full_name(**run.config["task"])].update(one.assets for one in run.records if one.assets is not None)
    return [
        f"{task}: ran on {' and '.join(sorted(used))} assets; figures on lite are not LIBERO's own"
        for task, used in kinds.items()
        if "lite" in used
    ]


def _unequal_provenance(runs: Iterable[Run]) -> list[str]:
    """Versions and sources that differ between runs or, in one run, between its start and a resumption."""
    seen: dict[str, dict[str, None]] = defaultdict(dict)
    for run in runs:
        for account in run.provenance:
            where = f"{run.config['task']['name']}/{run.config['policy']}"
            for package, version in account["versions"].items():
                seen[f"version of {package}"][version] = None
            for name, digest in account["checkpoints"].items():
                seen[f"checkpoint {name} of {where}"][digest[:12]] = None
            git = account["git"]
            seen["git revision"][f"{git['commit'][:12]}{'+' if git['dirty'] else ''}" if git else "none"] = None
            seen["processor"][account["machine"]["processor"]] = None
    return [f"runs differ in {what}: {', '.join(values)}" for what, values in seen.items() if len(values) > 1]
