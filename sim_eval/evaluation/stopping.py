"""Which samplers play on in a run that stops as soon as its comparisons are decided."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations

from sim_eval.analysis.pairs import paired
from sim_eval.analysis.rows import ALPHA
from sim_eval.analysis.sequential import decided_at, evidence, running_p
from sim_eval.runs.records import BASELINE, Record

#: Episodes between two looks. Fixed, so that what is recorded depends on neither the batch nor the workers.
ROUND = 20


def rounds(episodes: int) -> Iterator[range]:
    """The episodes 0 to `episodes` - 1, round by round."""
    for first in range(0, episodes, ROUND):
        yield range(first, min(first + ROUND, episodes))


def playing_on(records: Iterable[Record], samplers: Sequence[str], before: int) -> list[str]:
    """The samplers that go on, given the records of episodes below `before`; none once all are decided.

    A sampler stops when its comparison with the baseline (`unsteered`, or the first sampler) is decided: its
    anytime-valid p, after Holm's correction over every two samplers, is significant. The baseline goes on as long as
    another does.
    """
    finished = [record for record in records if record.error is None and record.episode < before]
    played = {name: [record for record in finished if record.sampler == name] for name in samplers}
    pairs = list(combinations(samplers, 2))
    outcomes = [
        [(mine.success, theirs.success) for mine, theirs in paired(played[name], played[other])]
        for name, other in pairs
    ]
    decisions = decided_at([running_p(evidence(pair)) for pair in outcomes], ALPHA)
    decided = {frozenset(pair) for pair, when in zip(pairs, decisions, strict=True) if when is not None}
    baseline = BASELINE if BASELINE in samplers else samplers[0]
    undecided = {name for name in samplers if name != baseline and frozenset((name, baseline)) not in decided}
    return [name for name in samplers if name in undecided or (name == baseline and undecided)]
