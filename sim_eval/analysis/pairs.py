"""Two samplers on the same episodes: which episodes form pairs, and which are left out."""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from sim_eval.analysis.grouping import different_simulators
from sim_eval.analysis.rows import Pairing, Row, Tally, key_of
from sim_eval.analysis.sequential import anytime_p, evidence, running_p
from sim_eval.analysis.statistics import Cluster, bootstrap_mean, holm, mcnemar, paired_interval
from sim_eval.runs.records import BASELINE, Record

#: Fixed, so that the same runs give the same report.
BOOTSTRAP_SEED = 0


def baseline_of(row: Row, rows: list[Row]) -> Row | None:
    """The row that this row is compared with; None if there is no other.

    The unsteered row that shares a run with this one, else the unsteered row that shares the most keys; without
    unsteered records, the first row that ran. An unsteered row is compared with those before it alone, so that no two
    are compared with each other twice. An unpaired row is compared with none, and none with it.
    """
    if row.unpaired:
        return None
    ran = [other for other in rows if other.records and not other.unpaired]
    baselines = [other for other in ran if other.sampler == BASELINE] or ran[:1]
    runs = {run.name for run in row.runs}
    return max(
        itertools.takewhile(lambda other: other is not row, baselines),
        key=lambda other: (any(run.name in runs for run in other.runs), len(shared(row.records, other.records))),
        default=None,
    )


def shared(mine: Sequence[Record], theirs: Sequence[Record]) -> list[tuple[Record, Record]]:
    """The records of both under the same key, in episode order."""
    by_key = {key_of(record): record for record in theirs}
    found = [(record, by_key[key]) for record in mine if (key := key_of(record)) in by_key]
    return sorted(found, key=lambda both: (both[0].episode, key_of(both[0])))


def same_start(first: Record, second: Record) -> bool:
    """Whether two episodes with the same key started from the same state."""
    return first.state_hash == second.state_hash


def paired(mine: Sequence[Record], theirs: Sequence[Record]) -> list[tuple[Record, Record]]:
    """The records without errors that form pairs, in episode order: same key, same start."""
    return [(first, second) for first, second in shared(mine, theirs) if same_start(first, second)]


def pair(row: Row, other: Row) -> Pairing | None:
    """The comparison over shared keys with equal start hashes; None if there are none or the simulators differ."""
    pairs = [] if _obstacle(row, other) else paired(row.records, other.records)
    if not pairs:
        return None
    outcomes = [(mine.success, theirs.success) for mine, theirs in pairs]
    tally = counted(outcomes, [mine.env_seed for mine, _ in pairs])
    if row.sequential or other.sequential:
        tally = replace(tally, evidence=evidence(outcomes))
    return pairing_of(row.label, other.label, [tally])


def counted(pairs: Sequence[tuple[bool, bool]], starts: Sequence[int] | None = None) -> Tally:
    """Outcomes of the first and the second, counted. `starts`: the start of each pair; None: each has its own."""
    surplus: dict[int, int] = defaultdict(int)
    sizes: dict[int, int] = defaultdict(int)
    for start, (mine, theirs) in zip(range(len(pairs)) if starts is None else starts, pairs, strict=True):
        surplus[start] += mine - theirs
        sizes[start] += 1
    kinds = Counter((surplus[start], sizes[start]) for start in surplus)
    return Tally(
        pairs=len(pairs),
        both=pairs.count((True, True)),
        won=pairs.count((True, False)),
        lost=pairs.count((False, True)),
        # in a fixed order, on which the bootstrap's draws depend
        clusters=tuple(Cluster(*kind, kinds[kind]) for kind in sorted(kinds, key=lambda kind: (-abs(kind[0]), *kind))),
    )


def pairing_of(label: str, against: str, tallies: Sequence[Tally]) -> Pairing:
    """The comparison over the pairs of each table; the difference is the mean of the tables'.

    Under the null hypothesis each discordant pair, of whatever table, is won with probability 1/2, so that a test of
    one table holds for the sum of several.
    """
    both, won, lost, pairs = (
        sum(getattr(tally, name) for tally in tallies) for name in ("both", "won", "lost", "pairs")
    )
    process = tallies[0].evidence if len(tallies) == 1 else ()
    if process:
        p = float(running_p(process)[-1])
    else:
        p = anytime_p(won, lost) if any(tally.evidence for tally in tallies) else mcnemar(won, lost)
    return Pairing(
        label=label,
        against=against,
        pairs=pairs,
        both=both,
        won=won,
        lost=lost,
        clusters=tuple(cluster for tally in tallies for cluster in tally.clusters),
        evidence=process,
        p=p,
        difference=float(np.mean([(tally.won - tally.lost) / tally.pairs for tally in tallies])),
        interval=interval_of(tallies),
    )


def interval_of(tallies: Sequence[Tally]) -> tuple[float, float]:
    """95 % interval of the difference on one task, or of its mean over several, as fractions; a `Tally` each.

    `paired_interval` of one task, `bootstrap_mean` of several. Without a discordant pair nothing can be resampled: then
    it is `paired_interval` of all their pairs, too.
    """
    won, lost = sum(tally.won for tally in tallies), sum(tally.lost for tally in tallies)
    if len(tallies) == 1 or won + lost == 0:
        return paired_interval(won, lost, [cluster for tally in tallies for cluster in tally.clusters])
    return bootstrap_mean([tally.clusters for tally in tallies], np.random.default_rng(BOOTSTRAP_SEED))


def corrected(pairings: Sequence[Pairing]) -> list[Pairing]:
    """The comparisons with Holm's correction over these alone."""
    values = holm([pairing.p for pairing in pairings]).tolist()
    return [replace(pairing, p_holm=p) for pairing, p in zip(pairings, values, strict=True)]


def pairing_warnings(task: str, row: Row, baseline: Row) -> list[str]:
    """Lines that say what the comparison with the baseline leaves out, and why."""
    what = f"{task} {row.label} against {baseline.label}"
    if reason := _obstacle(row, baseline):
        return [f"{what}: not compared, for these are different tasks: {reason}"]
    together = shared(row.records, baseline.records)
    if not together:
        return [f"{what}: not compared: they have no episode key in common"] if row.records else []
    warnings = []
    if broken := sorted(mine.episode for mine, theirs in together if not same_start(mine, theirs)):
        warnings.append(
            f"{what}: the pairing is broken: the start differs under the same key in {len(broken)} episodes "
            f"({', '.join(map(str, broken))}); they are left out"
        )
    pairs = len(together) - len(broken)
    # where runs stop when they are decided, a sampler may stop before the other
    if pairs < (min if row.sequential or baseline.sequential else max)(row.n, baseline.n):
        warnings.append(f"{what}: {pairs} pairs of {row.n} and {baseline.n} episodes")
    return warnings


def _obstacle(row: Row, other: Row) -> str | None:
    if row.unpaired or other.unpaired:
        return "another harness ran one of them"
    reasons = (different_simulators(first, second) for first, second in itertools.product(row.runs, other.runs))
    return next((reason for reason in reasons if reason), None)
