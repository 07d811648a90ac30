"""What a comparison says, in sentences: which sampler or policy wins, where, how surely, at what cost."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from sim_eval.analysis.compare import Comparison, Overall
from sim_eval.analysis.labels import SAMPLER
from sim_eval.analysis.rows import Pairing, Row
from sim_eval.analysis.table import Table
from sim_eval.foundation.formatting import interval, listed, percent, signed
from sim_eval.runs.records import BASELINE


def headline(comparison: Comparison) -> list[str]:
    """One sentence or more, the answer first; it leaves out what other harnesses ran."""
    comparison = replace(comparison, tables=[table for table in comparison.tables if not table.unpaired])
    tables = comparison.tables
    if not tables:
        return ["Other harnesses ran all of these episodes, from starts that are not known, so that nothing is paired."]
    if not any(row.n for table in tables for row in table.rows):
        return [f"Every episode of {_names(tables)} ended in an error."]
    if not comparison.overall:
        return [f"No {comparison.by} ran on all of {_names(tables)}, so none is the best overall; see each task."]
    leader = _leader(comparison)
    if leader.difference is not None:
        rows = [table.row(leader.label) for table in tables]
        answer = [*_gain(leader, comparison), _sureness(comparison, tables, rows), *_rivals(leader, comparison)]
        return [*answer, *_harm(tables), *_decisions(tables), *_fewer(comparison), _cost(leader, tables, rows)]
    where = f"{leader.episodes} episodes of {_names(tables)}"
    if not comparison.compared:
        return [
            f"{leader.label} succeeds in {percent(leader.rate)} % of {where}; nothing ran on the same episodes to "
            "compare it with."
        ]
    if not all(leader.label in table.references for table in tables):
        return [
            f"{leader.label} succeeds most often, {percent(leader.rate)} % over {where}, but is not compared with the "
            f"same {comparison.by} on each of them.",
            *_harm(tables),
        ]
    level = _level(leader, comparison)
    nothing = "No sampler" if comparison.by == SAMPLER else "Nothing"
    first = f"{nothing} succeeds more often than {leader.label}, {percent(leader.rate)} % over {where}"
    first = f"{first}; {listed(level)} as often." if level else f"{first}."
    found = [*_gains(leader, tables), *_harm(tables), *_undecided(leader, comparison)]
    return [first, *found, *_decisions(tables), *_fewer(comparison)]


def test_name(comparison: Comparison) -> str:
    """The test of the tables' pairs."""
    kinds = {bool(pairing.evidence) for table in comparison.tables for pairing in table.every_pair}
    named = {False: "exact McNemar test", True: "anytime-valid sign test"}
    return " or, of runs until=decided, ".join(named[kind] for kind in sorted(kinds or {False}))


def _decisions(tables: list[Table]) -> list[str]:
    """When each sampler of a run until=decided was told from its reference."""
    found = []
    for table in tables:
        pairings = [row.pairing for row in table.rows if row.pairing and row.pairing.evidence]
        found += _listing(map(said_of_decision, pairings), f"On {_names([table], tables)}: ")
    return found


def said_of_decision(pairing: Pairing) -> str:
    """When a comparison was decided, in words."""
    if pairing.decided is None:
        return f"{pairing.label} is undecided after {pairing.pairs} episodes"
    return f"{pairing.label} was decided at episode {pairing.decided}"


def _leader(comparison: Comparison) -> Overall:
    """The sampler that gains most over the baseline, each on the episodes that both ran; the baseline if none gains.

    One with fewer than half as many pairs as another cannot lead: its gain says too little, except where samplers stop
    when they are decided. Where nothing is paired everywhere, the highest rate leads.
    """
    paired = [overall for overall in comparison.overall if overall.difference is not None]
    if not paired:
        return max(comparison.overall, key=lambda overall: overall.rate)
    most = max(overall.episodes for overall in paired)
    stopping = any(row.sequential for table in comparison.tables for row in table.rows)
    fit = [
        overall
        for overall in comparison.overall
        if overall.difference is None or 2 * overall.episodes >= most or stopping
    ]
    references = {label for table in comparison.tables for label in table.references}
    return max(
        (overall for overall in fit if overall.difference is not None or overall.label in references),
        key=lambda overall: round(overall.difference or 0.0, 12),
    )


def _level(leader: Overall, comparison: Comparison) -> list[str]:
    """Others that gain exactly as much over the baseline; of two that are not compared, those of the same rate."""
    return [
        overall.label
        for overall in comparison.overall
        if overall is not leader
        and (
            overall.rate == leader.rate
            if overall.difference is None and leader.difference is None
            else abs((overall.difference or 0.0) - (leader.difference or 0.0)) < 1e-12
        )
    ]


def _gain(leader: Overall, comparison: Comparison) -> list[str]:
    level = _level(leader, comparison)
    who = f"{leader.label}, level with {listed(level)}," if level else leader.label
    assert leader.difference is not None
    return [
        f"{who} succeeds most often: {percent(leader.rate)} % against {percent(leader.baseline_rate)} % for "
        f"{leader.baseline}.",
        f"That is {signed(leader.difference)} points (95 % interval {interval(leader.interval, ' to ')}) "
        f"over {leader.episodes} paired episodes of {_names(comparison.tables)}.",
    ]


def _gains(baseline: Overall, tables: list[Table]) -> list[str]:
    """Where another surely beats the sampler that is best on average."""
    return _listing(
        f"{pairing.label} beats it on {_names([table], tables)}"
        for table, pairing in _sure(tables)
        if pairing.against == baseline.label and pairing.difference > 0
    )


def _undecided(baseline: Overall, comparison: Comparison) -> list[str]:
    """What no test tells from the one that is best on average."""
    pairings = [row.pairing for table in comparison.tables for row in table.rows if row.pairing]
    sure = {pairing.label for pairing in pairings if pairing.survives}
    sure |= {name for pairing in comparison.pooled if pairing.survives for name in (pairing.label, pairing.against)}
    rest = dict.fromkeys(p.label for p in pairings if p.against == baseline.label and p.label not in sure)
    return [f"{listed(list(rest))} cannot be told apart from it."] if rest else []


def _sureness(comparison: Comparison, tables: list[Table], rows: list[Row]) -> str:
    many = f"all {comparison.comparisons} comparisons" if comparison.comparisons > 1 else "the one comparison"
    how = f"Holm's correction over {many} of this report"
    sure = [row.pairing is not None and row.pairing.survives and row.pairing.difference > 0 for row in rows]
    if not any(sure):
        shown = "helps" if comparison.by == SAMPLER else "is better"
        return f"The gain does not survive {how}: these episodes do not show that it {shown}."
    if all(sure):
        return f"The gain survives {how}" + (" on each of them." if len(tables) > 1 else ".")
    there = [table for table, survives in zip(tables, sure, strict=True) if survives]
    missing = [table for table, survives in zip(tables, sure, strict=True) if not survives]
    return f"The gain survives {how} on {_names(there, tables)}, not on {_names(missing, tables)}."


def _rivals(leader: Overall, comparison: Comparison) -> list[str]:
    """The leader against the other samplers that are no baseline: on each task, and on all together."""
    tables = comparison.tables
    beaten, better, rest = [], [], []
    together = [_from(leader.label, pairing) for pairing in comparison.pooled if pairing.survives]
    surely = {pairing.against: pairing for pairing in together if pairing.label == leader.label}
    rivals = dict.fromkeys(row.label for table in tables for row in table.rows if row.pairing)
    for label in rivals:
        pairings = [(table, table.pairing(leader.label, label)) for table in tables]
        sure = [(table, pairing.difference) for table, pairing in pairings if pairing is not None and pairing.survives]
        if label == leader.label or not any(pairing for _, pairing in pairings):
            continue
        if where := [table for table, difference in sure if difference > 0]:
            beaten.append(f"{label} on {_names(where, tables)}")
        if where := [table for table, difference in sure if difference < 0]:
            better.append(f"{label} on {_names(where, tables)}")
        if not sure and label not in surely:
            rest.append(label)
    over = f"Over the pairs of {_all(tables)} together, it "
    return [
        *_listing(beaten, "It also beats "),
        *_listing(better, "It is beaten by "),
        *_listing((_score(pairing) for pairing in _among(surely, rivals, True, leader)), f"{over}beats "),
        *_listing((_score(pairing) for pairing in _among(surely, rivals, False, leader)), f"{over}is beaten by "),
        *_listing(rest, "It cannot be told apart from "),
    ]


def _from(label: str, pairing: Pairing) -> Pairing:
    """The comparison from this sampler's view, if it is part of it."""
    return pairing.reversed() if pairing.against == label else pairing


def _among(surely: dict[str, Pairing], rivals: Iterable[str], won: bool, leader: Overall) -> list[Pairing]:
    """Of the pooled comparisons, those with a rival that the leader wins, or loses."""
    kept = (surely[label] for label in rivals if label in surely and label != leader.label)
    return [pairing for pairing in kept if (pairing.difference > 0) == won]


def _score(pairing: Pairing) -> str:
    return f"{pairing.against} ({pairing.won} to {pairing.lost})"


def _all(tables: list[Table]) -> str:
    return "both tables" if len(tables) == 2 else f"all {len(tables)} tables"


def _harm(tables: list[Table]) -> list[str]:
    """Samplers that surely lose: a reader must not miss them."""
    return _listing(
        f"{pairing.label} is worse than {pairing.against} on {_names([table], tables)}"
        for table, pairing in _sure(tables)
        if pairing.difference < 0
    )


def _fewer(comparison: Comparison) -> list[str]:
    """Samplers whose figures rest on fewer episodes than the others' do."""
    most = max(overall.episodes for overall in comparison.overall)
    fewer = [overall for overall in comparison.overall if overall.episodes < most]
    return _listing(
        (f"{overall.label} ({overall.episodes} of {most})" for overall in fewer), "Judged on fewer episodes: "
    )


def _listing(parts: Iterable[str], before: str = "") -> list[str]:
    """One sentence, none where it has nothing to list."""
    named = list(parts)
    return [f"{before}{listed(named)}."] if named else []


def _sure(tables: list[Table]) -> list[tuple[Table, Pairing]]:
    """The rows' comparisons with their references that survive the correction."""
    return [(table, row.pairing) for table in tables for row in table.rows if row.pairing and row.pairing.survives]


def _cost(leader: Overall, tables: list[Table], rows: list[Row]) -> str:
    baselines = [table.row(row.pairing.against) for table, row in zip(tables, rows, strict=True) if row.pairing]
    what = "without steering" if leader.baseline == BASELINE else f"for {leader.baseline}"
    return (
        f"A decision takes {_range([row.ms for row in rows], '.1f')} ms and "
        f"{_range([row.policy_rows for row in rows], '.0f')} policy rows, "
        f"{_range([row.ms for row in baselines], '.1f')} ms and "
        f"{_range([row.policy_rows for row in baselines], '.0f')} rows {what}."
    )


def _range(values: Sequence[float | None], form: str) -> str:
    found = [value for value in values if value is not None]
    ends = list(dict.fromkeys(format(end, form) for end in (min(found), max(found))))
    return " to ".join(ends)


def _names(tables: list[Table], among: list[Table] | None = None) -> str:
    """Tasks alone where the policy is the same everywhere (in `among`, or in all of them)."""
    same_policy = len({(table.policy, *table.policy_options) for table in among or tables}) == 1
    return listed([table.place if same_policy else table.name for table in tables])
