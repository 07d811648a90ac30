"""The page of a probe: the sentence, the gains against the strength, and every figure."""

from __future__ import annotations

from pathlib import Path

from sim_eval.foundation.files import write_text
from sim_eval.probing.gains import Gain, Gains
from sim_eval.probing.measures import Figure
from sim_eval.probing.options import PAGE
from sim_eval.probing.probe import Probe
from sim_eval.report.figures import Panel, line
from sim_eval.report.html import environment
from sim_eval.report.plot_style import SERIES, canvas, look, mark, svg
from sim_eval.report.probe import bracketed, notes, played, rows
from sim_eval.report.sampler_styles import Styles, styles_of


def write(probe: Probe, folder: Path) -> Path:
    """Write the page into `folder`; returns its path. Raises RunError if it cannot be written."""
    path = folder / PAGE
    write_text(path, html(probe))
    return path


def html(probe: Probe) -> str:
    """The page, one file that needs no network."""
    gains = None if probe.twins is None else probe.twins.gains
    styles = styles_of([] if gains is None else ["best_of_n", *gains.tried])
    with look():
        panels = [] if gains is None else [_panel(gains, styles)]
    page = environment().get_template("probe.html.j2")
    return page.render(
        probe=probe,
        played=played(probe),
        rows=rows(probe, gains=False),
        notes=notes(probe),
        gains=gains,
        bracketed=bracketed,
        panels=panels,
        style=styles,
    )


def _panel(gains: Gains, styles: Styles) -> Panel:
    """Own gain dashed and twin gain drawn through against the strength, with that of `best_of_n` as a level."""
    figure = canvas(300)
    (axes,) = figure.axes
    strongest = max((_strength(gain) for tried in gains.tried.values() for gain in tried), default=0.0) or 1.0
    level = (_value(gains.best_of_n.twin),) * 2
    axes.plot((0, strongest), level, color=SERIES[styles["best_of_n"]], dashes=(6, 2))
    said = [f"best_of_n {bracketed(gains.best_of_n.twin)}"]
    for name, tried in gains.tried.items():
        style, at = styles[name], list(map(_strength, tried))
        axes.plot(at, [_value(gain.own) for gain in tried], color=SERIES[style], alpha=0.6, dashes=(3, 3))
        line(axes, style, [(strength, _value(gain.twin)) for strength, gain in zip(at, tried, strict=True)])
        for strength, gain in zip(at, tried, strict=True):
            told = f"{name} at {strength:g}: {bracketed(gain.twin)} by the twin, {bracketed(gain.own)} by itself"
            ring = gain == gains.peaks[name].gain
            mark(axes, style, strength, _value(gain.twin), told, across=gain.twin.interval, ring=ring)
            said.append(told)
    axes.set(xlabel="steering strength", ylabel="gain in Q")
    axes.set_xlim(left=0)
    alt = f"Gain by the twin's judgement: {'; '.join(said)}"
    return Panel("Gain in Q", ["best_of_n", *gains.tried], svg(figure, alt))


def _strength(gain: Gain) -> float:
    assert gain.strength is not None
    return gain.strength


def _value(figure: Figure) -> float:
    assert figure.value is not None
    return figure.value
