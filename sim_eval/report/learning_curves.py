"""The page of learning curves: success on the eval block against environment steps, a panel a task and policy."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from sim_eval.analysis.curves import Curve, compare_curves
from sim_eval.analysis.rows import Pairing
from sim_eval.foundation.files import write_text
from sim_eval.foundation.formatting import interval, p_value, percent, points
from sim_eval.report.figures import Panel, line, percents
from sim_eval.report.html import environment
from sim_eval.report.plot_style import SERIES, canvas, look, mark, svg
from sim_eval.report.sampler_styles import Styles, styles_of

#: The page for readers.
HTML = "report.html"


def write(curves: Sequence[Curve], folder: Path) -> Path:
    """Write the page into `folder`; returns its path. Raises RunError if it cannot be written."""
    path = folder / HTML
    write_text(path, html(curves))
    return path


def html(curves: Sequence[Curve]) -> str:
    """The page, one file that needs no network."""
    styles = styles_of(curve.label for curve in curves)
    groups: dict[tuple[str, str], list[Curve]] = defaultdict(list)
    for curve in curves:
        groups[curve.task, curve.policy].append(curve)
    with look():
        panels = [_panel(f"{task} {policy}", group, styles) for (task, policy), group in groups.items()]
    page = environment().get_template("curves.html.j2")
    return page.render(
        curves=curves, summaries=list(map(_summary, curves)), pairings=_pairings(curves), panels=panels, style=styles
    )


def sentences(curves: Sequence[Curve]) -> list[str]:
    """One sentence a curve, where it starts and ends; then for every two samplers, at the start and at the end."""
    pairs = [_told(evaluation, pairing) for evaluation, found in _pairings(curves).items() for pairing in found]
    return [*map(_summary, curves), *pairs]


def _summary(curve: Curve) -> str:
    first, last = curve.points[0], curve.points[-1]
    runs = f"{len(curve.seeds)} seeds" if len(curve.seeds) > 1 else "one seed"
    if curve.frozen:
        rate = f"{percent(last.rate)} % [{interval(last.interval, ' to ')}]"
        named = f"{curve.task}, {curve.policy}, {curve.label}"
        return f"{named}: {rate} in the same episodes ({runs}, {last.episodes} episodes)."
    ends = f"{percent(first.rate)} % at the start, {percent(last.rate)} % [{interval(last.interval, ' to ')}]"
    return (
        f"{curve.task}, {curve.policy}, {curve.label}: {ends} after {last.steps:,.0f} environment steps ({runs}, "
        f"{last.episodes} episodes){_omitted(curve)}."
    )


def _pairings(curves: Sequence[Curve]) -> dict[str, list[Pairing]]:
    """Every two samplers at the first evaluation of both, if there are several, and at the last one."""
    several = any(len(curve.points) > 1 for curve in curves)
    at_first = {"first": compare_curves(curves, first=True)} if several else {}
    return {**at_first, "last": compare_curves(curves)}


def _omitted(curve: Curve) -> str:
    if not curve.left_out:
        return ""
    evaluations = "evaluation is" if curve.left_out == 1 else "evaluations are"
    return f"; {curve.left_out} {evaluations} left out, for not every seed has them"


def _told(evaluation: str, pairing: Pairing) -> str:
    return (
        f"{pairing.label} against {pairing.against} at the {evaluation} evaluation of both: "
        f"{points(pairing.difference, pairing.interval)} points, {pairing.won} of {pairing.pairs} pairs won and "
        f"{pairing.lost} lost, p = {p_value(pairing.p_holm)} after Holm's correction."
    )


def _panel(title: str, curves: Sequence[Curve], styles: Styles) -> Panel:
    figure = canvas(260)
    (axes,) = figure.axes
    for curve in curves:
        if curve.frozen:
            point = curve.points[0]
            axes.axhline(point.rate, color=SERIES[styles[curve.label]], linestyle="--", linewidth=1.5)
            continue
        line(axes, styles[curve.label], [(point.steps, point.rate) for point in curve.points])
        for point in curve.points:
            told = f"{curve.label}: {point.successes} of {point.episodes} after {point.steps:,.0f} steps"
            mark(axes, styles[curve.label], point.steps, point.rate, told, across=point.interval)
    axes.set_xlabel("environment steps")
    axes.set_xlim(left=0)
    percents(axes, "success, %")
    return Panel(title, [curve.label for curve in curves], svg(figure, " ".join(sentences(curves))))
