"""What a comparison says, in sentences made from its figures: who wins, where, how surely, at what cost."""

from __future__ import annotations

from sim_eval.analysis.compare import Comparison, Overall, Pairing, Row, Table
from sim_eval.analysis.episode_selection import BASELINE
from sim_eval.report.formatting import interval, listed, percent, signed


def headline(comparison: Comparison) -> list[str]:
    """One sentence or more, the answer first."""
    tables = comparison.tables
    if not any(row.n for table in tables for row in table.rows):
        return [f"Every episode of {_names(tables)} ended in an error."]
    if not comparison.overall:
        return [f"No sampler ran on all of {_names(tables)}, so none can be named the best of all; see each task."]
    leader = max(comparison.overall, key=lambda one: one.rate)
    if leader.difference is not None:
        rows = [table.row(leader.label) for table in tables]
        said = [_gain(leader, comparison), _sureness(comparison, tables, rows), *_rivals(leader, tables)]
        return [*said, *_harm(tables), _cost(leader, tables, rows)]
    where = f"{leader.episodes} episodes of {_names(tables)}"
    if not comparison.compared:
        return [
            f"{leader.label} succeeds in {percent(leader.rate)} % of {where}; nothing ran on the same episodes to "
            "compare it with."
        ]
    if not all(leader.label in table.references for table in tables):
        return [
            f"{leader.label} succeeds most often, {percent(leader.rate)} % over {where}, but is not compared with one "
            "and the same sampler on each of them.",
            *_harm(tables),
        ]
    level = _level(leader, comparison)
    first = f"No sampler succeeds more often than {leader.label}, {percent(leader.rate)} % over {where}"
    return [f"{first}; {listed(level)} as often." if level else f"{first}.", *_gains(leader, tables), *_harm(tables)]


def _level(leader: Overall, comparison: Comparison) -> list[str]:
    """Others that succeed exactly as often."""
    return [one.label for one in comparison.overall if one.rate == leader.rate and one is not leader]


def _gain(leader: Overall, comparison: Comparison) -> str:
    rates = [one.rate for one in comparison.overall if one.label == leader.baseline]
    against = f"{percent(rates[0])} % for {leader.baseline}" if rates else f"{leader.baseline}"
    level = _level(leader, comparison)
    who = f"{leader.label}, level with {listed(level)}," if level else leader.label
    assert leader.difference is not None
    return (
        f"{who} succeeds most often: {percent(leader.rate)} % against {against}, "
        f"{signed(leader.difference)} points [{interval(leader.interval, ' to ')}] over {leader.episodes} paired "
        f"episodes of {_names(comparison.tables)}."
    )


def _gains(baseline: Overall, tables: list[Table]) -> list[str]:
    """Where another surely beats the sampler that is best on average."""
    better = [
        f"{one.label} beats it on {_names([table], tables)}"
        for table, one in _sure(tables)
        if one.against == baseline.label and one.difference > 0
    ]
    return [f"{listed(better)}."] if better else []


def _sureness(comparison: Comparison, tables: list[Table], rows: list[Row]) -> str:
    many = f"all {comparison.comparisons} comparisons" if comparison.comparisons > 1 else "the one comparison"
    how = f"Holm's correction over {many} of this report"
    sure = [row.pairing is not None and row.pairing.survives and row.pairing.difference > 0 for row in rows]
    if not any(sure):
        return f"The gain does not survive {how}: these episodes do not show that it helps."
    if all(sure):
        return f"The gain survives {how}" + (" on each of them." if len(tables) > 1 else ".")
    there = [table for table, one in zip(tables, sure, strict=True) if one]
    missing = [table for table, one in zip(tables, sure, strict=True) if not one]
    return f"The gain survives {how} on {_names(there, tables)}, not on {_names(missing, tables)}."


def _rivals(leader: Overall, tables: list[Table]) -> list[str]:
    """The leader against the other samplers that are no baseline."""
    beaten, better, rest = [], [], []
    rivals = dict.fromkeys(row.label for table in tables for row in table.rows if row.pairing)
    for label in rivals:
        pairings = [(table, table.pairing(leader.label, label)) for table in tables]
        sure = [(table, one.difference) for table, one in pairings if one is not None and one.survives]
        if label == leader.label or not any(one for _, one in pairings):
            continue
        if where := [table for table, difference in sure if difference > 0]:
            beaten.append(f"{label} on {_names(where, tables)}")
        if where := [table for table, difference in sure if difference < 0]:
            better.append(f"{label} on {_names(where, tables)}")
        if not sure:
            rest.append(label)
    said = []
    if beaten:
        said.append(f"It also beats {listed(beaten)}.")
    if better:
        said.append(f"It is beaten by {listed(better)}.")
    if rest:
        said.append(f"It cannot be told apart from {listed(rest)}.")
    return said


def _harm(tables: list[Table]) -> list[str]:
    """Steering that loses surely is what a reader must not miss."""
    worse = [
        f"{one.label} is worse than {one.against} on {_names([table], tables)}"
        for table, one in _sure(tables)
        if one.difference < 0
    ]
    return [f"{listed(worse)}."] if worse else []


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


def _range(values: list[float | None], form: str) -> str:
    found = [value for value in values if value is not None]
    ends = list(dict.fromkeys(format(end, form) for end in (min(found), max(found))))
    return " to ".join(ends)


def _names(tables: list[Table], among: list[Table] | None = None) -> str:
    """Tasks alone where the policy is the same everywhere (in `among`, or in all of them)."""
    one_policy = len({table.policy for table in among or tables}) == 1
    return listed([table.task if one_policy else table.name for table in tables])
