"""Two samplers on the same episodes: which episodes form pairs, and which are left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import product

import numpy as np

from sim_eval.analysis.episode_selection import BASELINE
from sim_eval.analysis.rows import Pairing, Row, key_of
from sim_eval.analysis.run_differences import different_simulators
from sim_eval.analysis.statistics import bootstrap_difference, holm, mcnemar
from sim_eval.runs.records import Record

#: Fixed, so that the same runs give the same report.
BOOTSTRAP_SEED = 0


def baseline_of(row: Row, rows: list[Row]) -> Row | None:
    """The row that this row is compared with; None if there is no other.

    The unsteered row that shares a run with this one, else the unsteered row that shares the most keys; without
    unsteered records, the first row that ran. An unpaired row is compared with none, and none with it.
    """
    if row.unpaired:
        return None
    ran = [other for other in rows if other.records and not other.unpaired]
    baselines = [other for other in ran if other.sampler == BASELINE] or ran[:1]
    runs = {run.name for run in row.runs}
    return max(
        (other for other in baselines if other is not row),
        key=lambda other: (any(run.name in runs for run in other.runs), len(shared(row, other))),
        default=None,
    )


def shared(row: Row, other: Row) -> list[tuple[Record, Record]]:
    """The episodes that both rows ran under the same key, without errors."""
    theirs = {key_of(record): record for record in other.records}
    return [(record, theirs[key]) for record in row.records if (key := key_of(record)) in theirs]


def same_start(first: Record, second: Record) -> bool:
    """Whether two episodes with the same key started from the same state."""
    return first.state_hash == second.state_hash


def pair(row: Row, other: Row) -> Pairing | None:
    """The comparison over shared keys with equal start hashes; None if there are none or the simulators differ."""
    if _obstacle(row, other):
        return None
    pairs = [(mine.success, theirs.success) for mine, theirs in shared(row, other) if same_start(mine, theirs)]
    if not pairs:
        return None
    return pairing_of(row.label, other.label, [counted(pairs)])


def counted(pairs: Sequence[tuple[bool, bool]]) -> tuple[int, int, int, int]:
    """(both, won, lost, pairs) of outcomes, the first's and the second's."""
    return pairs.count((True, True)), pairs.count((True, False)), pairs.count((False, True)), len(pairs)


def pairing_of(label: str, against: str, tables: Sequence[tuple[int, int, int, int]]) -> Pairing:
    """The comparison over (both, won, lost, pairs) of each table; the difference is the mean of the tables'."""
    both, won, lost, pairs = (sum(column) for column in zip(*tables, strict=True))
    return Pairing(
        label=label,
        against=against,
        pairs=pairs,
        both=both,
        won=won,
        lost=lost,
        p=mcnemar(won, lost),
        difference=float(np.mean([(mine - theirs) / count for _, mine, theirs, count in tables])),
        interval=bootstrap_difference([table[1:] for table in tables], np.random.default_rng(BOOTSTRAP_SEED)),
    )


def corrected(pairings: Sequence[Pairing]) -> list[Pairing]:
    """The comparisons with Holm's correction over these alone."""
    values = holm([pairing.p for pairing in pairings])
    return [replace(pairing, p_holm=p) for pairing, p in zip(pairings, values, strict=True)]


def pairing_warnings(task: str, row: Row, baseline: Row) -> list[str]:
    """Lines that say what the comparison with the baseline leaves out, and why."""
    what = f"{task} {row.label} against {baseline.label}"
    if reason := _obstacle(row, baseline):
        return [f"{what}: not compared, for these are different tasks: {reason}"]
    together = shared(row, baseline)
    if not together:
        return [f"{what}: not compared: they have no episode key in common"] if row.records else []
    warnings = []
    if broken := sorted(mine.episode for mine, theirs in together if not same_start(mine, theirs)):
        warnings.append(
            f"{what}: the pairing is broken: the start differs under the same key in {len(broken)} episodes "
            f"({', '.join(map(str, broken))}); they are left out"
        )
    pairs = len(together) - len(broken)
    if pairs < max(row.n, baseline.n):
        warnings.append(f"{what}: {pairs} pairs of {row.n} and {baseline.n} episodes")
    return warnings


def _obstacle(row: Row, other: Row) -> str | None:
    if row.unpaired or other.unpaired:
        return "another harness ran one of them"
    reasons = (different_simulators(first, second) for first, second in product(row.runs, other.runs))
    return next((reason for reason in reasons if reason), None)
