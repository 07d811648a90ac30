"""What a comparison says, in sentences made from its figures: who wins, where, how surely, at what cost."""

from __future__ import annotations

from sim_eval.compare import Comparison, Overall, Row, Table
from sim_eval.report.notation import interval, listed, percent


def headline(comparison: Comparison) -> list[str]:
    """One sentence or more, the answer first."""
    tables = comparison.tables
    if not comparison.overall:
        return [f"No sampler ran on all of {_names(tables)}, so none can be named the best of all; see each task."]
    leader = max(comparison.overall, key=lambda one: one.rate)
    rows = [_row(table, leader.label) for table in tables]
    steered = [row for table in tables for row in table.rows if row.pairing]
    if not steered:
        return [
            f"{leader.label} succeeds in {percent(leader.rate)} % of {leader.pairs} episodes of {_names(tables)}; "
            "nothing ran on the same episodes to compare it with."
        ]
    if leader.difference is None:
        if not any(row.pairing and row.pairing.against == leader.label for table in tables for row in table.rows):
            return [
                f"{leader.label} succeeds most often, {percent(leader.rate)} % over {leader.pairs} episodes of "
                f"{_names(tables)}, but is not compared with another sampler on each of them.",
                *_harm(tables),
            ]
        return [
            f"Nothing beats {leader.label}: it succeeds most often, {percent(leader.rate)} % over {leader.pairs} "
            f"episodes of {_names(tables)}.",
            *_harm(tables),
        ]
    first = _gain(leader, comparison, rows)
    return [first, _sureness(comparison, tables, rows), *_rivals(leader, tables), *_harm(tables), _cost(tables, rows)]


def _gain(leader: Overall, comparison: Comparison, rows: list[Row]) -> str:
    baseline = rows[0].pairing.against if rows[0].pairing else ""
    rates = [one.rate for one in comparison.overall if one.label == baseline]
    against = f"{percent(rates[0])} % for {baseline}" if rates else baseline
    assert leader.difference is not None
    return (
        f"{leader.label} succeeds most often: {percent(leader.rate)} % against {against}, "
        f"{100 * leader.difference:+.0f} points [{interval(leader.interval, ' to ')}] over {leader.pairs} paired "
        f"episodes of {_names(comparison.tables)}."
    )


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
    return f"The gain survives {how} on {_names(there)}, not on {_names(missing)}."


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
            beaten.append(f"{label} on {_names(where)}")
        if where := [table for table, difference in sure if difference < 0]:
            better.append(f"{label} on {_names(where)}")
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
        f"{row.label} is worse than {row.pairing.against} on {table.task}"
        for table in tables
        for row in table.rows
        if row.pairing and row.pairing.survives and row.pairing.difference < 0
    ]
    return [f"{listed(worse)}."] if worse else []


def _cost(tables: list[Table], rows: list[Row]) -> str:
    baselines = [_row(table, row.pairing.against) for table, row in zip(tables, rows, strict=True) if row.pairing]
    return (
        f"A decision takes {_range([row.ms for row in rows], '.1f')} ms and "
        f"{_range([row.policy_rows for row in rows], '.0f')} policy rows, "
        f"{_range([row.ms for row in baselines], '.1f')} ms and "
        f"{_range([row.policy_rows for row in baselines], '.0f')} rows without steering."
    )


def _range(values: list[float | None], form: str) -> str:
    found = [value for value in values if value is not None]
    ends = list(dict.fromkeys(format(end, form) for end in (min(found), max(found))))
    return " to ".join(ends)


def _row(table: Table, label: str) -> Row:
    return next(row for row in table.rows if row.label == label)


def _names(tables: list[Table]) -> str:
    """Tasks alone where the policy is the same everywhere."""
    one_policy = len({table.policy for table in tables}) == 1
    return listed([table.task if one_policy else table.name for table in tables])
