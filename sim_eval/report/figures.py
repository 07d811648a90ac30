"""The figures of the report: what each shows, a panel for every task and policy."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullLocator
from scipy.stats import fisher_exact

from sim_eval.analysis.compare import ALPHA, Row, Table
from sim_eval.analysis.statistics import binned_success, roc_area
from sim_eval.report.formatting import interval, number, percent
from sim_eval.report.plot_style import SERIES, TEXT, canvas, look, mark, svg
from sim_eval.tuning.results import Trial

_BIN = 20  # episodes that a bin of the calibration needs, so that its interval says something
_MOST_BINS = 5
_HEIGHT = 225
_QUARTERS, _PERCENT = (0, 0.25, 0.5, 0.75, 1), ("0", "25", "50", "75", "100")
_LONGEST_NAME = 24  # characters that leave room for the plot beside them


@dataclass(frozen=True)
class Panel:
    """The drawing (SVG) of one task and policy, the samplers in it, and what to read off it."""

    title: str
    labels: Sequence[str]
    drawing: str
    note: str = ""


@dataclass(frozen=True)
class Figure:
    """A question, its panels, and how to read them. `anchor` names it in links."""

    anchor: str
    title: str
    reading: str
    panels: Sequence[Panel]


#: The number of colour and shape of every label.
Styles = Mapping[str, int]
#: By task and policy.
Sweeps = Mapping[tuple[str, str], Sequence[Trial]]


def success(tables: Iterable[Table], styles: Styles) -> Figure:
    """Rates with intervals, the baseline's as a line to compare with."""

    def panel(table: Table) -> Panel | None:
        rows = [(row, row.rate, row.interval) for row in table.rows if row.rate is not None and row.interval]
        if not rows:
            return None
        labels = [row.label for row, _, _ in rows]
        figure = canvas(50 + 30 * len(rows))
        (axes,) = figure.axes
        against = next(iter(table.references), None)
        for line, (row, rate, ends) in enumerate(rows):
            if row.label == against:
                axes.plot((rate, rate), (0, len(rows) - 0.4), color=SERIES[0], linewidth=1.5, dashes=(3, 3), zorder=1.5)
            mark(axes, styles[row.label], rate, line, f"{row.label}: {_said(row)}", along=ends)
            axes.annotate(
                percent(rate), (rate, line), (0, 9), textcoords="offset points", ha="center", weight="bold", color=TEXT
            )
        names = [name if len(name) <= _LONGEST_NAME else f"…{name[1 - _LONGEST_NAME :]}" for name in labels]
        axes.set(xlim=(0, 1), xticks=_QUARTERS, xticklabels=_PERCENT, xlabel="success, %")
        axes.set(ylim=(len(rows) - 0.4, -0.6), yticks=range(len(rows)), yticklabels=names)
        alt = f"Success on {table.name}: " + "; ".join(f"{row.label} {_said(row)}" for row, _, _ in rows)
        return Panel(table.name, labels, svg(figure, alt))

    reading = (
        "Share of episodes that succeed, with Wilson 95 % intervals; the dashed line is the reference's rate. "
        "Overlapping intervals do not mean equal samplers: the pairs below decide that."
    )
    return Figure("success", "How often each sampler succeeds", reading, _panels(tables, panel))


def cost(tables: Iterable[Table], styles: Styles) -> Figure:
    """Success against milliseconds a decision."""

    def panel(table: Table) -> Panel | None:
        rows = [(row, row.ms, row.rate) for row in table.rows if row.ms is not None and row.rate is not None]
        if not rows:
            return None
        figure = canvas(_HEIGHT)
        (axes,) = figure.axes
        for row, ms, rate in rows:
            mark(axes, styles[row.label], ms, rate, f"{row.label}: {_said(row)}, {ms:.1f} ms", across=row.interval)
        # Wide enough for one tick at least: they are at most a factor of 2.5 apart. The powers alone where all crowd.
        low, high = min(ms for _, ms, _ in rows) / 1.6, max(ms for _, ms, _ in rows) * 1.6
        axes.set(xscale="log", xlim=(low, high), xlabel="milliseconds a decision (log)")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 100 * low else (1,)))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_locator(NullLocator())
        _percents(axes, "success, %")
        alt = f"Success against cost on {table.name}: " + "; ".join(
            f"{row.label} {percent(rate)} % at {number(ms, '.1f')} ms" for row, ms, rate in rows
        )
        return Panel(table.name, [row.label for row, _, _ in rows], svg(figure, alt))

    reading = "Median wall time of one decision of one episode, measured alone. Up and to the left is better."
    return Figure("cost", "What the success costs", reading, _panels(tables, panel))


def speed(tables: Iterable[Table], styles: Styles) -> Figure:
    """The share of episodes solved within so many control steps."""

    def panel(table: Table) -> Panel | None:
        rows = [row for row in table.rows if row.n]
        if not any(row.successes for row in rows):
            return None
        longest = max(one.steps for row in rows for one in row.records)
        figure = canvas(_HEIGHT)
        (axes,) = figure.axes
        for row in rows:
            steps, solved = np.unique([one.steps for one in row.records if one.success], return_counts=True)
            shares = [0, *np.cumsum(solved) / row.n]
            axes.step([0, *steps, longest], [*shares, shares[-1]], where="post", color=SERIES[styles[row.label]])
        axes.set(xlim=(0, longest), xlabel="control steps")
        _percents(axes, "solved by then, %")
        alt = f"Steps to success on {table.name}, median over successes: " + "; ".join(
            f"{row.label} {_median_steps(row)}" for row in rows
        )
        return Panel(table.name, [row.label for row in rows], svg(figure, alt))

    reading = (
        "Share of all episodes solved within so many control steps. A curve further left is faster, one that ends "
        "higher solves more; so both show at once, without dropping the failures."
    )
    return Figure("speed", "Steps to success", reading, _panels(tables, panel))


def calibration(tables: Iterable[Table], styles: Styles) -> Figure:
    """What the critic said of the first chunk against what became of the episode."""

    def panel(table: Table) -> Panel | None:
        figure = canvas(_HEIGHT)
        (axes,) = figure.axes
        labels, areas = [], []
        for row in table.rows:
            judged = [(one.q[0], one.success) for one in row.records if one.q]
            values, outcomes = [q for q, _ in judged], [won for _, won in judged]
            bins = binned_success(values, outcomes, min(_MOST_BINS, max(1, len(judged) // _BIN)))
            if bins:
                labels.append(row.label)
                _line(axes, styles[row.label], [(one.value, one.successes / one.n) for one in bins])
            for one in bins:
                title = f"{row.label}: Q near {one.value:.2f}, {one.successes} of {one.n} succeed"
                mark(axes, styles[row.label], one.value, one.successes / one.n, title, across=one.interval)
            if (area := roc_area(values, outcomes)) is not None:
                areas.append(f"{row.label} {area:.2f}")
        if not labels:
            return None
        axes.set_xlabel("Q of the first chunk")
        _percents(axes, "success, %")
        told = "Area under the ROC curve: " + ", ".join(areas) if areas else ""
        alt = f"Critic's value of the first chunk against success on {table.name}. {told}"
        return Panel(table.name, labels, svg(figure, alt), told and f"{told}.")

    reading = (
        "Episodes in bins of equal size by the critic's value of their first executed chunk; intervals are Wilson's. "
        "A critic that knows rises from left to right. A sampler whose curve lies to the right of the unsteered "
        "one's, and no higher, has raised Q and not success. The area under the ROC curve is 0.5 for a critic that "
        "tells nothing about this start, 1 for one that tells all."
    )
    return Figure("critic", "Does the critic foretell success?", reading, _panels(tables, panel))


def strengths(tables: Iterable[Table], styles: Styles, sweeps: Sweeps) -> Figure:
    """Success and mean Q over the strengths that were tried."""

    def panel(table: Table) -> Panel | None:
        trials = sweeps.get((table.task, table.policy))
        if not trials:
            return None
        names = list(dict.fromkeys(one.sampler for one in trials))
        used = {(row.sampler, row.strength) for row in table.rows}
        figure = canvas(370, rows=2)
        upper, lower = figure.axes
        for name in names:
            mine = [one for one in trials if one.sampler == name]
            _line(upper, styles[name], [(one.strength, one.rate) for one in mine])
            _line(lower, styles[name], [(one.strength, one.mean_q) for one in mine])
            for one in mine:
                at, ring = f"{name} at {one.strength:g}", (name, one.strength) in used
                rate = f"{at}: {one.successes} of {one.episodes}, {interval(one.interval)} %"
                mark(upper, styles[name], one.strength, one.rate, rate, across=one.interval, ring=ring)
                mark(lower, styles[name], one.strength, one.mean_q, f"{at}: mean Q {one.mean_q:.2f}", ring=ring)
        _percents(upper, "success, %")
        lower.set(ylabel="mean Q", xlabel="steering strength")
        lower.set_xlim(left=0)
        figure.align_ylabels()
        alt = f"Success and mean Q against strength on {table.name}: " + "; ".join(
            f"{one.sampler} at {one.strength:g} {percent(one.rate)} %, Q {one.mean_q:.2f}" for one in trials
        )
        return Panel(table.name, names, svg(figure, alt), _over_optimised(trials, names))

    reading = (
        "Every strength tried, on the tune block of keys, which shares no start with the episodes reported here; the "
        "ring is the strength that these runs used. Where Q keeps rising while success falls, the critic is "
        "over-optimised."
    )
    return Figure("strengths", "Success and Q against steering strength", reading, _panels(tables, panel))


def _panels(tables: Iterable[Table], panel: Callable[[Table], Panel | None]) -> list[Panel]:
    with look():
        return [one for table in tables if (one := panel(table)) is not None]


def _percents(axes: Axes, title: str) -> None:
    """A y axis of shares."""
    axes.set(ylim=(0, 1), yticks=_QUARTERS, yticklabels=_PERCENT, ylabel=title)


def _line(axes: Axes, style: int, points: Sequence[tuple[float, float]]) -> None:
    axes.plot(*zip(*points, strict=True), color=SERIES[style])


def _over_optimised(trials: Sequence[Trial], names: Sequence[str]) -> str:
    """Where stronger steering than the most successful one reaches more Q and surely less success."""
    told = []
    for name in names:
        mine = sorted((one for one in trials if one.sampler == name), key=lambda one: one.strength)
        best = max(mine, key=lambda one: one.rate)
        fools = [
            one for one in mine if one.strength > best.strength and one.mean_q > best.mean_q and _surely_less(one, best)
        ]
        if fools:
            fooled = max(fools, key=lambda one: one.mean_q)
            told.append(
                f"{name} from {best.strength:g} to {fooled.strength:g}: success {percent(best.rate)} to "
                f"{percent(fooled.rate)} %, Q {best.mean_q:.1f} to {fooled.mean_q:.1f}"
            )
    episodes = min(one.episodes for one in trials)
    what = f"Q rises while success falls ({episodes} episodes a strength, Fisher's exact p < {ALPHA})"
    return f"{what}: {'; '.join(told)}." if told else ""


def _surely_less(one: Trial, best: Trial) -> bool:
    counts = [[trial.successes, trial.episodes - trial.successes] for trial in (one, best)]
    return one.rate < best.rate and fisher_exact(counts).pvalue < ALPHA


def _said(row: Row) -> str:
    return f"{percent(row.rate)} % ({interval(row.interval)})"


def _median_steps(row: Row) -> str:
    steps = sorted(one.steps for one in row.records if one.success)
    return str(steps[len(steps) // 2]) if steps else "none"
