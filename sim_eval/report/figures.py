"""The plots of the report, each a panel for every task and policy. What they mean stands in the page's template."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullLocator
from scipy.stats import fisher_exact

from sim_eval.analysis.rows import ALPHA, Row
from sim_eval.analysis.statistics import binned_success, roc_area
from sim_eval.analysis.table import Table
from sim_eval.foundation.formatting import interval, percent
from sim_eval.report.headline import said_of_decision
from sim_eval.report.plot_style import SERIES, TEXT, canvas, look, mark, svg
from sim_eval.report.sampler_styles import Styles
from sim_eval.runs.sweeps import Trial

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


#: Trials by the name of their table.
Sweeps = Mapping[str, Sequence[Trial]]


def panels(tables: Sequence[Table], styles: Styles, sweeps: Sweeps) -> dict[str, list[Panel]]:
    """Every figure's panels, by the figure's name; none for tables that lack its data."""
    with look():
        drawn = {
            "success": [success(table, styles) for table in tables],
            "evidence": [evidence(table, styles) for table in tables],
            "cost": [cost(table, styles) for table in tables],
            "speed": [speed(table, styles) for table in tables],
            "strengths": [strengths(table, styles, sweeps.get(table.name, ())) for table in tables],
            "critic": [calibration(table, styles) for table in tables],
        }
    return {name: [panel for panel in row if panel is not None] for name, row in drawn.items()}


def success(table: Table, styles: Styles) -> Panel | None:
    """Rates with intervals, the baseline's as a line to compare with."""
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
        axes.annotate(  # beside the axes, where no line passes
            percent(rate), (1, line), (8, 0), textcoords="offset points", va="center", weight="bold", color=TEXT
        )
    names = [name if len(name) <= _LONGEST_NAME else f"…{name[1 - _LONGEST_NAME :]}" for name in labels]
    axes.set(xlim=(0, 1), xticks=_QUARTERS, xticklabels=_PERCENT, xlabel="success, %")
    axes.set(ylim=(len(rows) - 0.4, -0.6), yticks=range(len(rows)), yticklabels=names)
    alt = f"Success on {table.name}: " + "; ".join(f"{row.label} {_said(row)}" for row, _, _ in rows)
    return Panel(table.name, labels, svg(figure, alt))


def evidence(table: Table, styles: Styles) -> Panel | None:
    """The e-value of each comparison with the baseline after every pair, where runs stop when they are decided."""
    pairings = [row.pairing for row in table.rows if row.pairing and row.pairing.evidence]
    if not pairings:
        return None
    figure = canvas(_HEIGHT)
    (axes,) = figure.axes
    longest = max(pairing.pairs for pairing in pairings)
    axes.plot((1, longest), (-np.log10(ALPHA),) * 2, color=SERIES[0], linewidth=1.5, dashes=(3, 3), zorder=1.5)
    for pairing in pairings:
        line(axes, styles[pairing.label], list(enumerate(pairing.evidence, 1)))
        last = pairing.evidence[-1]
        mark(axes, styles[pairing.label], pairing.pairs, last, f"{pairing.label}: e = {10**last:.3g}")
    axes.set(xlabel="pairs, in episode order", ylabel="log10 of the e-value")
    said = "; ".join(map(said_of_decision, pairings))
    labels = [pairing.label for pairing in pairings]
    return Panel(table.name, labels, svg(figure, f"Evidence against chance on {table.name}: {said}"), f"{said}.")


def cost(table: Table, styles: Styles) -> Panel | None:
    """Success against milliseconds a decision."""
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
    percents(axes, "success, %")
    said = "; ".join(f"{row.label} {percent(rate)} % at {ms:.1f} ms" for row, ms, rate in rows)
    return Panel(
        table.name, [row.label for row, _, _ in rows], svg(figure, f"Success against cost on {table.name}: {said}")
    )


def speed(table: Table, styles: Styles) -> Panel | None:
    """The share of episodes solved within so many control steps."""
    rows = [row for row in table.rows if row.n and row.steps is not None]
    if not any(row.successes for row in rows):
        return None
    longest = max(record.steps for row in rows for record in row.records)
    figure = canvas(_HEIGHT)
    (axes,) = figure.axes
    medians = []
    for row in rows:
        lengths = sorted(record.steps for record in row.records if record.success)
        steps, solved = np.unique(lengths, return_counts=True)
        shares = [0, *np.cumsum(solved) / row.n]
        axes.step([0, *steps, longest], [*shares, shares[-1]], where="post", color=SERIES[styles[row.label]])
        medians.append(f"{row.label} {lengths[len(lengths) // 2] if lengths else 'none'}")
    axes.set(xlim=(0, longest), xlabel="control steps")
    percents(axes, "solved by then, %")
    alt = f"Steps to success on {table.name}, median over successes: {'; '.join(medians)}"
    return Panel(table.name, [row.label for row in rows], svg(figure, alt))


def calibration(table: Table, styles: Styles) -> Panel | None:
    """The critic's value of the first chunk against the outcome of the episode."""
    figure = canvas(_HEIGHT)
    (axes,) = figure.axes
    labels, areas = [], []
    for row in table.rows:
        judged = [(record.q[0], record.success) for record in row.records if record.q]
        values, outcomes = [q for q, _ in judged], [won for _, won in judged]
        bins = binned_success(values, outcomes, min(_MOST_BINS, max(1, len(judged) // _BIN)))
        if len(bins) < 2:  # one point says nothing about how success follows the value
            continue
        labels.append(row.label)
        line(axes, styles[row.label], [(part.value, part.successes / part.n) for part in bins])
        for part in bins:
            title = f"{row.label}: Q near {part.value:.2f}, {part.successes} of {part.n} succeed"
            mark(axes, styles[row.label], part.value, part.successes / part.n, title, across=part.interval)
        if (area := roc_area(values, outcomes)) is not None:
            areas.append(f"{row.label} {area:.2f}")
    if not labels:
        return None
    axes.set_xlabel("Q of the first chunk")
    percents(axes, "success, %")
    told = "Area under the ROC curve: " + ", ".join(areas) if areas else ""
    alt = f"Critic's value of the first chunk against success on {table.name}. {told}"
    return Panel(table.name, labels, svg(figure, alt), told and f"{told}.")


def strengths(table: Table, styles: Styles, trials: Sequence[Trial]) -> Panel | None:
    """Success and mean Q over the strengths that were tried."""
    if not trials:
        return None
    names = list(dict.fromkeys(trial.sampler for trial in trials))
    used = {(row.sampler, row.strength) for row in table.rows}
    figure = canvas(370, rows=2)
    upper, lower = figure.axes
    for name in names:
        mine = [trial for trial in trials if trial.sampler == name]
        line(upper, styles[name], [(trial.strength, trial.rate) for trial in mine])
        line(lower, styles[name], [(trial.strength, trial.mean_q) for trial in mine])
        for trial in mine:
            at, ring = f"{name} at {trial.strength:g}", (name, trial.strength) in used
            rate = f"{at}: {trial.successes} of {trial.episodes}, {interval(trial.interval)} %"
            mark(upper, styles[name], trial.strength, trial.rate, rate, across=trial.interval, ring=ring)
            mark(lower, styles[name], trial.strength, trial.mean_q, f"{at}: mean Q {trial.mean_q:.2f}", ring=ring)
    percents(upper, "success, %")
    lower.set(ylabel="mean Q", xlabel="steering strength")
    lower.set_xlim(left=0)
    figure.align_ylabels()
    alt = f"Success and mean Q against strength on {table.name}: " + "; ".join(
        f"{trial.sampler} at {trial.strength:g} {percent(trial.rate)} %, Q {trial.mean_q:.2f}" for trial in trials
    )
    return Panel(table.name, names, svg(figure, alt), _over_optimised(trials, names))


def percents(axes: Axes, title: str) -> None:
    """A y axis of shares."""
    axes.set(ylim=(0, 1), yticks=_QUARTERS, yticklabels=_PERCENT, ylabel=title)


def line(axes: Axes, style: int, points: Sequence[tuple[float, float]]) -> None:
    axes.plot(*zip(*points, strict=True), color=SERIES[style])


def _over_optimised(trials: Sequence[Trial], names: Sequence[str]) -> str:
    """Where steering more strongly than the best trial reaches higher Q and significantly less success."""
    told = []
    for name in names:
        mine = sorted((trial for trial in trials if trial.sampler == name), key=lambda trial: trial.strength)
        best = max(mine, key=lambda trial: trial.rate)
        stronger = [trial for trial in mine if trial.strength > best.strength and trial.mean_q > best.mean_q]
        worse = [trial for trial in stronger if _surely_less(trial, best)]
        if worse:
            worst = max(worse, key=lambda trial: trial.mean_q)
            told.append(
                f"{name} from {best.strength:g} to {worst.strength:g}: success {percent(best.rate)} to "
                f"{percent(worst.rate)} %, Q {best.mean_q:.1f} to {worst.mean_q:.1f}"
            )
    episodes = min(trial.episodes for trial in trials)
    what = f"Q rises while success falls ({episodes} episodes a strength, Fisher's exact p < {ALPHA})"
    return f"{what}: {'; '.join(told)}." if told else ""


def _surely_less(trial: Trial, best: Trial) -> bool:
    counts = [[tried.successes, tried.episodes - tried.successes] for tried in (trial, best)]
    return trial.rate < best.rate and fisher_exact(counts).pvalue < ALPHA


def _said(row: Row) -> str:
    return f"{percent(row.rate)} % ({interval(row.interval)})"
