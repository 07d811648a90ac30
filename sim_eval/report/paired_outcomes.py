"""Each start's outcome by sampler, against the baseline: rescued, broken, both or neither."""

from __future__ import annotations

from dataclasses import dataclass, field

from sim_eval.analysis.compare import Table
from sim_eval.analysis.pairs import same_start
from sim_eval.analysis.rows import Row, key_of
from sim_eval.runs.reader import Run
from sim_eval.runs.records import Record

#: Did the sampler succeed, did the baseline?
_OUTCOMES = {(True, False): "rescued", (False, True): "broken", (True, True): "both", (False, False): "neither"}


@dataclass
class Start:
    """One episode key: by label every sampler's record, its run, and its outcome if it is paired with a baseline."""

    episode: int
    env_seed: int
    noise_seed: int
    records: dict[str, Record] = field(default_factory=dict)
    runs: dict[str, Run] = field(default_factory=dict)
    outcomes: dict[str, str] = field(default_factory=dict)

    @property
    def solved(self) -> int:
        """How many samplers solve it."""
        return sum(record.success and record.error is None for record in self.records.values())


def starts(table: Table) -> list[Start]:
    """Every key of the table in episode order, those that ended in an error included; unpaired rows have none."""
    found: dict[tuple[int, int], Start] = {}
    for row in [row for row in table.rows if not row.unpaired]:
        for record in [*row.records, *row.failed]:
            key = key_of(record)
            start = found.setdefault(key, Start(record.episode, *key))
            start.records[row.label], start.runs[row.label] = record, row.run_of[key]
    for start in found.values():
        start.outcomes = {row.label: outcome for row in table.rows if (outcome := _outcome(start, row)) is not None}
    return sorted(found.values(), key=lambda start: (start.episode, start.env_seed, start.noise_seed))


def _outcome(start: Start, row: Row) -> str | None:
    if row.pairing is None:
        return None
    mine, theirs = start.records.get(row.label), start.records.get(row.pairing.against)
    if mine is None or theirs is None or mine.error or theirs.error or not same_start(mine, theirs):
        return None
    return _OUTCOMES[mine.success, theirs.success]
