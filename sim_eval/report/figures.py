"""The figures of the report: what each shows, a panel for every task and policy."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from sim_eval.compare import Row, Table
from sim_eval.report.notation import interval, number, percent
from sim_eval.report.plot import (
    Axis,
    Mark,
    Plot,
    Series,
    category_axis,
    linear_axis,
    log_axis,
    percent_axis,
)
from sim_eval.statistics import binned_success, separation
from sim_eval.sweep import Trial

_BIN = 20  # episodes that a bin of the calibration needs, so that its interval says something
_MOST_BINS = 5


@dataclass(frozen=True)
class Panel:
    """The plots of one task and policy, one below the other, and what to read off them."""

    title: str
    plots: Sequence[Plot]
    note: str = ""


@dataclass(frozen=True)
class Figure:
    """A question, its panels, and how to read them. `anchor` names it in links."""

    anchor: str
    title: str
    reading: str
    panels: Sequence[Panel]


Sweeps = Mapping[tuple[str, str], Sequence[Trial]]


def success(tables: Iterable[Table]) -> Figure:
    """Rates with intervals, the baseline's as a line to compare with."""

    def panel(table: Table) -> Panel | None:
        rows = [row for row in table.rows if row.rate is not None and row.interval is not None]
        if not rows:
            return None
        series = [
            Series(row.label, [Mark(row.rate, -index, said, along=row.interval, text=percent(row.rate))])
            for index, row in enumerate(rows)
            if row.rate is not None and (said := f"{row.label}: {_said(row)}")
        ]
        against = next((row.pairing.against for row in rows if row.pairing), None)
        plot = Plot(
            alt=f"Success on {table.name}: " + "; ".join(f"{row.label} {_said(row)}" for row in rows),
            x=percent_axis("success, %"),
            y=category_axis([row.label for row in rows]),
            series=series,
            height=56 + 30 * len(rows),
            left=min(190, 20 + 7 * max(len(row.label) for row in rows)),
            reference=next((row.rate for row in rows if row.label == against), None),
        )
        return Panel(table.name, [plot])

    reading = (
        "Share of episodes that succeed, with Wilson 95 % intervals; the dashed line is the policy without steering. "
    )
    reading += "Overlapping intervals do not mean equal samplers: the pairs below decide that."
    return Figure("success", "How often each sampler succeeds", reading, _panels(tables, panel))


def cost(tables: Iterable[Table]) -> Figure:
    """Success against milliseconds a decision."""

    def panel(table: Table) -> Panel | None:
        rows = [row for row in table.rows if row.ms is not None and row.rate is not None]
        if not rows:
            return None
        series = [
            Series(row.label, [Mark(row.ms, row.rate, f"{row.label}: {_said(row)}, {row.ms:.1f} ms", row.interval)])
            for row in rows
            if row.ms is not None and row.rate is not None
        ]
        plot = Plot(
            alt=f"Success against cost on {table.name}: "
            + "; ".join(f"{row.label} {percent(row.rate)} % at {number(row.ms, '.1f')} ms" for row in rows),
            x=log_axis("milliseconds a decision (log)", [row.ms for row in rows if row.ms is not None]),
            y=percent_axis("success, %"),
            series=series,
        )
        return Panel(table.name, [plot])

    reading = "Median wall time of one decision of one episode, measured alone. Up and to the left is better."
    return Figure("cost", "What the success costs", reading, _panels(tables, panel))


def speed(tables: Iterable[Table]) -> Figure:
    """The share of episodes solved within so many control steps."""

    def panel(table: Table) -> Panel | None:
        rows = [row for row in table.rows if row.n]
        if not any(row.successes for row in rows):
            return None
        longest = max(one.steps for row in rows for one in row.records)
        plot = Plot(
            alt=f"Steps to success on {table.name}, median over successes: "
            + "; ".join(f"{row.label} {_median_steps(row)}" for row in rows),
            x=linear_axis("control steps", [longest], zero=True),
            y=percent_axis("solved by then, %"),
            series=[Series(row.label, line=_solved_by(row, longest)) for row in rows],
        )
        return Panel(table.name, [plot])

    reading = (
        "Share of all episodes solved within so many control steps. A curve further left is faster, one that ends "
    )
    reading += "higher solves more; so both show at once, without dropping the failures."
    return Figure("speed", "Steps to success", reading, _panels(tables, panel))


def calibration(tables: Iterable[Table]) -> Figure:
    """What the critic said of the first chunk against what became of the episode."""

    def panel(table: Table) -> Panel | None:
        series, areas = [], []
        for row in table.rows:
            judged = [(one.q[0], one.success) for one in row.records if one.q]
            values, outcomes = [q for q, _ in judged], [won for _, won in judged]
            bins = binned_success(values, outcomes, min(_MOST_BINS, max(1, len(judged) // _BIN)))
            marks = [
                Mark(
                    one.value,
                    one.successes / one.n,
                    f"{row.label}: Q near {one.value:.2f}, {one.successes} of {one.n} succeed",
                    one.interval,
                )
                for one in bins
            ]
            if marks:
                series.append(Series(row.label, marks, [(mark.x, mark.y) for mark in marks]))
            if (area := separation(values, outcomes)) is not None:
                areas.append(f"{row.label} {area:.2f}")
        if not series:
            return None
        told = "Area under the ROC curve: " + ", ".join(areas) if areas else ""
        plot = Plot(
            alt=f"Critic's value of the first chunk against success on {table.name}. {told}",
            x=linear_axis("Q of the first chunk", [mark.x for one in series for mark in one.marks]),
            y=percent_axis("success, %"),
            series=series,
        )
        return Panel(table.name, [plot], told and f"{told}.")

    reading = (
        "Episodes in bins of equal size by the critic's value of their first executed chunk; intervals are Wilson's. "
    )
    reading += "A critic that knows rises from left to right. A sampler whose curve lies to the right of the unsteered "
    reading += (
        "one's, and no higher, has raised Q and not success. The area under the ROC curve is 0.5 for a critic that "
    )
    reading += "tells nothing about this start, 1 for one that tells all."
    return Figure("critic", "Does the critic foretell success?", reading, _panels(tables, panel))


def strengths(tables: Iterable[Table], sweeps: Sweeps) -> Figure:
    """Success and mean Q over the strengths that were tried."""

    def panel(table: Table) -> Panel | None:
        trials = sweeps.get((table.task, table.policy))
        if not trials:
            return None
        names = list(dict.fromkeys(one.sampler for one in trials))
        used = {(row.sampler, row.strength) for row in table.rows}
        x = linear_axis("steering strength", [one.strength for one in trials], zero=True)

        def plot(axis: Axis, height: int, what: str, mark: Callable[[Trial], Mark]) -> Plot:
            series = []
            for name in names:
                marks = [mark(one) for one in trials if one.sampler == name]
                series.append(Series(name, marks, [(one.x, one.y) for one in marks]))
            said = (f"{one.sampler} at {one.strength:g} {mark(one).y:.2f}" for one in trials)
            return Plot(f"{what} against strength on {table.name}: " + "; ".join(said), x, axis, series, height)

        def rate(one: Trial) -> Mark:
            title = f"{one.sampler} at {one.strength:g}: {one.successes} of {one.episodes}, {interval(one.interval)} %"
            return Mark(one.strength, one.rate, title, one.interval, ring=(one.sampler, one.strength) in used)

        def value(one: Trial) -> Mark:
            title = f"{one.sampler} at {one.strength:g}: mean Q {one.mean_q:.2f}"
            return Mark(one.strength, one.mean_q, title, ring=(one.sampler, one.strength) in used)

        plots = [
            plot(percent_axis("success, %"), 230, "Success", rate),
            plot(linear_axis("mean Q", [one.mean_q for one in trials]), 190, "Mean Q", value),
        ]
        return Panel(table.name, plots, _over_optimised(trials, names))

    reading = (
        "Every strength tried, on the tune block of keys, which shares no start with the episodes reported here; the "
    )
    reading += "ring is the strength that these runs used. Where Q keeps rising while success falls, the critic is "
    reading += "over-optimised."
    return Figure("strengths", "Success and Q against steering strength", reading, _panels(tables, panel))


def _panels(tables: Iterable[Table], panel: Callable[[Table], Panel | None]) -> list[Panel]:
    return [one for table in tables if (one := panel(table)) is not None]


def _over_optimised(trials: Sequence[Trial], names: Sequence[str]) -> str:
    """Where stronger steering than the most successful one reaches more Q and less success."""
    told = []
    for name in names:
        mine = sorted((one for one in trials if one.sampler == name), key=lambda one: one.strength)
        best = max(mine, key=lambda one: one.rate)
        fooled = max((one for one in mine if one.strength >= best.strength), key=lambda one: one.mean_q)
        if fooled.rate < best.rate and fooled.mean_q > best.mean_q:
            told.append(
                f"{name} from {best.strength:g} to {fooled.strength:g}: success {percent(best.rate)} to "
                f"{percent(fooled.rate)} %, Q {best.mean_q:.1f} to {fooled.mean_q:.1f}"
            )
    episodes = min(one.episodes for one in trials)
    return f"Q rises while success falls ({episodes} episodes a strength): {'; '.join(told)}." if told else ""


def _said(row: Row) -> str:
    return f"{percent(row.rate)} % ({interval(row.interval)})"


def _median_steps(row: Row) -> str:
    steps = sorted(one.steps for one in row.records if one.success)
    return str(steps[len(steps) // 2]) if steps else "none"


def _solved_by(row: Row, longest: int) -> list[tuple[float, float]]:
    """A staircase: (steps, share solved within them)."""
    steps = sorted(one.steps for one in row.records if one.success)
    stairs: list[tuple[float, float]] = [(0, 0)]
    for step in dict.fromkeys(steps):
        share = sum(one <= step for one in steps) / row.n
        stairs += [(step, stairs[-1][1]), (step, share)]
    return [*stairs, (longest, stairs[-1][1])]
