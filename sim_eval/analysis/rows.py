"""One row of a table: its episodes from one or more runs, and their figures."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from sim_eval.analysis.grouping import Setup
from sim_eval.analysis.statistics import Cluster, wilson
from sim_eval.runs.reader import Run
from sim_eval.runs.records import Record
from sim_eval.runs.stored_options import DECIDED

#: A difference is significant where its corrected p is below this.
ALPHA = 0.05

#: Environment seed and noise seed: what makes two episodes a pair.
Key = tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class Tally:
    """The pairs of two samplers: the keys that both ran from the same start, counted from the first one's view.

    `both`, `won`, `lost`: pairs solved by both, only by the first, only by the second. `clusters`: the pairs by start.
    `evidence`: of runs that stop when they are decided, log10 of the e-value after each pair; empty otherwise.
    """

    pairs: int
    both: int
    won: int
    lost: int
    clusters: tuple[Cluster, ...]
    evidence: tuple[float, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Pairing(Tally):
    """One sampler against another. `difference`: first minus second success rate over the pairs, `interval` its 95 %
    interval (`interval_of`); fractions. `p`: exact McNemar, or the anytime-valid p with `evidence`; `p_holm`: corrected
    over all pairs of samplers in all tables. `decided`: with `evidence`, the number of pairs after which the corrected
    p was significant; None if it never was.
    """

    label: str
    against: str
    p: float
    difference: float
    interval: tuple[float, float]
    p_holm: float = 1.0
    decided: int | None = None

    @property
    def rate(self) -> float:
        """The first's success rate over the pairs, a fraction."""
        return (self.both + self.won) / self.pairs

    @property
    def rate_against(self) -> float:
        """The second's success rate over the pairs, a fraction."""
        return (self.both + self.lost) / self.pairs

    def reversed(self) -> Pairing:
        """The same comparison from the second one's view."""
        return replace(
            self,
            label=self.against,
            against=self.label,
            won=self.lost,
            lost=self.won,
            clusters=tuple(replace(cluster, surplus=-cluster.surplus) for cluster in self.clusters),
            difference=-self.difference,
            interval=(-self.interval[1], -self.interval[0]),
        )

    @property
    def survives(self) -> bool:
        """Whether the difference is significant after correction."""
        return self.p_holm < ALPHA


@dataclass(frozen=True)
class Measured:
    """A measure over a row's episodes, in the unit of the record. `mean`: over all of its episodes that have it.

    `difference`: its mean difference from the row `against` over `pairs` pairs in which both have it, None without one.
    `interval`: its 95 % interval (`mean_interval`), None for fewer than two starts.
    """

    mean: float
    against: str | None = None
    pairs: int = 0
    difference: float | None = None
    interval: tuple[float, float] | None = None


@dataclass
class Row:
    """A sampler's or policy's figures over its `n` episodes without errors; each is None if there are none.

    `policy`: its name in the report. `sampler`: what drew the actions, which may be a policy's server.
    `failed`: the episodes that ended in an error. `run_of`: the run of each episode, by key. `ms` is the median over
    episodes of the milliseconds per decision. The rest are means: rows per decision, `steps` per episode, `jerk`, as
    in `EpisodeResult`, over the episodes that have one. `pairing`: the comparison with the baseline. `letters`:
    samplers that share one cannot be told apart; empty if none is compared. `measured`: by field of the
    record what `sim_eval.analysis.measures` reads off it.
    """

    label: str
    policy: str
    sampler: str
    runs: list[Run]
    records: list[Record]
    failed: list[Record]
    run_of: dict[Key, Run] = field(default_factory=dict)
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
    jerk: float | None = None
    pairing: Pairing | None = None
    letters: str = ""
    measured: dict[str, Measured] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.n, self.successes = len(self.records), sum(record.success for record in self.records)
        if not self.n:
            return
        self.interval = wilson(self.successes, self.n)
        self.strength = self.records[0].strength
        decisions = sum(record.decisions for record in self.records)
        for name in ("policy_rows", "critic_rows", "posterior_rows"):
            spent = sum(getattr(record.cost, name) for record in self.records)
            setattr(self, name, spent / decisions if decisions else None)
        self.ms = _average(statistics.median, [record.cost.decision_ms for record in self.records])
        # 0: another harness's file does not say how many
        self.steps = _average(statistics.fmean, [record.steps or None for record in self.records])
        self.mean_q = _average(statistics.fmean, [record.mean_q for record in self.records])
        self.jerk = _average(statistics.fmean, [record.jerk for record in self.records])

    @property
    def sequential(self) -> bool:
        """Whether its runs stop when they are decided, not after a fixed number of episodes."""
        return any(run.config.get("until") == DECIDED for run in self.runs)

    @property
    def rate(self) -> float | None:
        """Success rate, a fraction."""
        return self.successes / self.n if self.n else None

    @property
    def unpaired(self) -> bool:
        """Whether its episodes are another harness's, whose starts are unknown."""
        return any(run.foreign is not None for run in self.runs)


def key_of(record: Record) -> Key:
    """The key that a record shares with the records it is paired with."""
    return record.env_seed, record.noise_seed


def _average(kind: Callable[[list[float]], float], values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return kind(known) if known else None


def pool(task: str, label: str, setup: Setup, warnings: list[str]) -> Row:
    """The row of a setup's episodes in all its runs; appends to `warnings`. A key in several runs counts once."""
    what = f"{task} {label}"
    runs = setup.runs
    records: dict[Key, Record] = {}
    run_of: dict[Key, Run] = {}
    for run in runs:
        where = what if len(runs) == 1 else f"{what} in {run.name}"
        mine = [record for record in run.records if record.sampler == setup.sampler]
        if len(mine) < run.config["episodes"] and run.config.get("until") != DECIDED:
            warnings.append(f"{where}: {len(mine)} of {run.config['episodes']} episodes are recorded")
        if again := [record for record in mine if key_of(record) in records]:
            warnings.append(f"{where}: {_about_repeats(again, records, run_of)}")
        for record in mine:
            key = key_of(record)
            if key not in records or (records[key].error is not None and record.error is None):
                records[key], run_of[key] = record, run
    if failed := [record for record in records.values() if record.error is not None]:
        numbers = ", ".join(str(record.episode) for record in failed)
        warnings.append(f"{what}: {len(failed)} episodes ended in an error ({numbers}): {failed[0].error}")
    finished = [record for record in records.values() if record.error is None]
    return Row(label, setup.policy, setup.drawn_by, runs, finished, failed, run_of)


def _about_repeats(again: list[Record], before: dict[Key, Record], run_of: dict[Key, Run]) -> str:
    earlier = dict.fromkeys(run_of[key_of(record)].name for record in again)
    warning = f"{len(again)} episodes are in {', '.join(earlier)} as well; each counts once"
    others = [record for record in again if record.success != before[key_of(record)].success]
    return f"{warning}, although {len(others)} ended differently" if others else warning
