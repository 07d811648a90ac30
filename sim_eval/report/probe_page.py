"""The page of a probe: the sentence, the gains against the strength, and every figure."""

from __future__ import annotations

from pathlib import Path

from sim_eval.files import write_text
from sim_eval.probing.gains import Gains
from sim_eval.probing.probe import Probe
from sim_eval.probing.settings import PAGE
from sim_eval.report.figures import Panel, Styles, line
from sim_eval.report.html import environment
from sim_eval.report.plot_style import SERIES, STYLES, canvas, look, mark, svg
from sim_eval.report.probe import bracketed, notes, played, rows

_DASHES = (3, 3)


def write(probe: Probe, folder: Path) -> Path:
    """Write the page into `folder`; returns its path. Raises RunError if it cannot be written."""
    path = folder / PAGE
    write_text(path, html(probe))
    return path


def html(probe: Probe) -> str:
    """The page, one file that needs no network."""
    gains = None if probe.twins is None else probe.twins.gains
    styles: Styles = {} if gains is None else {"best_of_n": 1, **_styles(gains)}
    with look():
        panels = [] if gains is None else [_panel(gains, styles)]
    page = environment().get_template("probe.html.j2")
    return page.render(
        probe=probe,
        played=played(probe),
        rows=rows(probe),
        notes=notes(probe),
        gains=gains,
        bracketed=bracketed,
        panels=panels,
        style=styles,
    )


def _styles(gains: Gains) -> Styles:
    """Of each sampler with a strength: those after that of `best_of_n`."""
    return {name: 2 + number % (STYLES - 2) for number, name in enumerate(gains.tried)}


def _panel(gains: Gains, styles: Styles) -> Panel:
    """Own gain dashed and twin gain drawn through against the strength, with that of `best_of_n` as a level."""
    figure = canvas(300)
    (axes,) = figure.axes
    strengths = [0.0, *(gain.strength or 0.0 for tried in gains.tried.values() for gain in tried)]
    choice = gains.best_of_n.twin.value
    axes.plot((0, max(strengths) or 1), (choice, choice), color=SERIES[styles["best_of_n"]], dashes=_DASHES)
    said = [f"best_of_n {bracketed(gains.best_of_n.twin)}"]
    for name, tried in gains.tried.items():
        style, points = styles[name], [(gain.strength or 0.0, gain) for gain in tried]
        owned = [(at, gain.own.value) for at, gain in points if gain.own.value is not None]
        axes.plot(*zip(*owned, strict=True), color=SERIES[style], alpha=0.6, dashes=_DASHES)
        line(axes, style, [(at, gain.twin.value) for at, gain in points if gain.twin.value is not None])
        for at, gain in points:
            assert gain.twin.value is not None
            told = f"{name} at {at:g}: {bracketed(gain.twin)} by the twin, {bracketed(gain.own)} by itself"
            mark(axes, style, at, gain.twin.value, told, across=gain.twin.interval, ring=gain == gains.peaks[name].gain)
            said.append(told)
    axes.set(xlabel="steering strength", ylabel="gain in Q")
    axes.set_xlim(left=0)
    return Panel("Gain in Q", list(styles), svg(figure, f"Gain by the twin's judgement: {'; '.join(said)}"))
