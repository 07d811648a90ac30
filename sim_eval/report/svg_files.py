"""The report's figures as SVG files that stand alone: on paper, with a legend, in the colours of the light page."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

from sim_eval.analysis.compare import Comparison
from sim_eval.foundation.files import write_text
from sim_eval.report.figures import Panel
from sim_eval.report.html import drawings
from sim_eval.report.plot_style import outline
from sim_eval.report.sampler_styles import Styles
from sim_eval.report.stylesheet import stylesheet

#: Their folder, in the report's.
FIGURES = "figures"

_LEGEND_LINE, _LEGEND_SIZE, _LETTER = 18, 11.5, 6.4  # height, font size and mean width of a letter, in SVG units
_MARK = 18  # what a legend's mark takes before its name
#: It names its sampler beside each mark.
_SELF_EXPLAINED = "success"


def write_figures(comparison: Comparison, folder: Path) -> list[Path]:
    """Write every panel of every figure into `folder`/figures, named after figure and table. Returns the files.

    Raises RunError if one cannot be written.
    """
    styles, panels = drawings(comparison)
    colours = page_colours()
    written = []
    for figure, row in panels.items():
        titles = [_file_name(f"{figure}-{panel.title}") for panel in row]
        for number, (panel, title) in enumerate(zip(row, titles, strict=True)):
            apart = f"-{number}" if titles.count(title) > 1 else ""
            path = folder / FIGURES / f"{title}{apart}.svg"
            write_text(path, standalone(panel, {} if figure == _SELF_EXPLAINED else styles, colours))
            written.append(path)
    return written


def standalone(panel: Panel, styles: Styles, colours: dict[str, str]) -> str:
    """A panel as a file of its own. `styles`: of the labels in its legend. `colours`: by the page's variable."""
    root = ElementTree.fromstring(panel.drawing)
    _, _, width, height = map(float, root.attrib["viewBox"].split())
    labels = [label for label in styles if label in panel.labels]
    lines = _packed(labels, width)
    for number, line in enumerate(lines):
        _draw_legend_line(root, line, styles, height + _LEGEND_LINE * (number + 0.5))
    height += _LEGEND_LINE * len(lines)
    root.attrib = {
        "xmlns": "http://www.w3.org/2000/svg",
        "viewBox": f"0 0 {width:g} {height:g}",
        "width": f"{width:g}",
        "height": f"{height:g}",
        "font-family": "sans-serif",
        "role": "img",
        "aria-label": root.attrib["aria-label"],
    }
    text = ElementTree.tostring(root, encoding="unicode")
    return re.sub(r"var\(--(\w+)\)", lambda found: colours[found[1]], text) + "\n"


def page_colours() -> dict[str, str]:
    """The light page's colours by the name of their CSS variable, for programs that know no variables."""
    return dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", stylesheet().partition("@media")[0]))


def _file_name(title: str) -> str:
    """The title with a hyphen for whatever may not stand in a file's name everywhere, cut where names get too long."""
    return re.sub(r"[^\w.+-]+", "-", title).strip("-")[:120]


def _packed(labels: Sequence[str], width: float) -> list[list[tuple[float, str]]]:
    """Lines of a legend: each label and where it starts."""
    lines: list[list[tuple[float, str]]] = []
    x = width
    for label in labels:
        taken = _MARK + _LETTER * (len(label) + 2)
        if x + taken > width or not lines:
            lines.append([])
            x = 8
        lines[-1].append((x, label))
        x += taken
    return lines


def _draw_legend_line(root: ElementTree.Element, line: list[tuple[float, str]], styles: Styles, y: float) -> None:
    for x, label in line:
        fill = f"var(--s{styles[label]})"
        place = f"translate({x:g} {y:g})"
        ElementTree.SubElement(root, "polygon", points=outline(styles[label]), transform=place, fill=fill)
        at = {"x": f"{x + 10:g}", "y": f"{y + 4:g}", "font-size": f"{_LEGEND_SIZE}", "fill": "var(--text)"}
        ElementTree.SubElement(root, "text", at).text = label
