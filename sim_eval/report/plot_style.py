"""The style that all plots share, the samplers' marks, and the conversion of matplotlib figures to inline SVG."""

from __future__ import annotations

import io
import re
from contextlib import AbstractContextManager
from typing import Any
from xml.etree import ElementTree

import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.markers import MarkerStyle
from matplotlib.transforms import Affine2D

from sim_eval.report.sampler_styles import STYLES

#: Shapes as well as colours tell samplers apart: matplotlib's markers, at sizes that look alike.
_MARKERS = (("o", 9), ("s", 8), ("^", 10), ("D", 7.5), ("v", 10), ("P", 10), ("X", 10), ("*", 13))
assert len(_MARKERS) == STYLES

#: The page's CSS variables. matplotlib knows no themes, so it draws in colours that stand for them.
_VARIABLES = ("text", "soft", "line", "ground", *(f"s{style}" for style in range(STYLES)))
TEXT, SOFT, LINE, GROUND, *SERIES = (f"#c0de{index:02x}" for index in range(len(_VARIABLES)))

#: In SVG units, drawn at about one CSS pixel a unit so that text stays readable on a phone. matplotlib's unit is 1/72".
_WIDTH = 360
_LOOK = {
    "axes.axisbelow": True,
    "axes.edgecolor": SOFT,
    "axes.facecolor": "none",
    "axes.formatter.useoffset": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.labelcolor": SOFT,
    **{f"axes.spines.{side}": False for side in ("left", "top", "right")},
    "axes.ymargin": 0.1,
    "figure.constrained_layout.use": True,
    "figure.constrained_layout.h_pad": 5 / 72,
    "figure.constrained_layout.w_pad": 2 / 72,
    "figure.frameon": False,
    "font.size": 11.5,
    "grid.color": LINE,
    "lines.linewidth": 2,
    "lines.solid_capstyle": "butt",
    "svg.fonttype": "none",
    "text.parse_math": False,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "ytick.major.pad": 6,
    "ytick.major.size": 0,
}
_TITLE = "title:"  # a group of this name gets the rest of it as what is shown on hover


def look() -> AbstractContextManager[None]:
    """Inside it, plots look as they should, whatever the user's own settings of matplotlib are."""
    return matplotlib.style.context(_LOOK, after_reset=True)


def canvas(height: float, rows: int = 1) -> Figure:
    """Axes one below the other over the same x. The height is in SVG units."""
    figure = Figure(figsize=(_WIDTH / 72, height / 72))
    figure.subplots(rows, sharex=True)
    for axes in figure.axes:
        axes.locator_params(nbins=6)
    return figure


def mark(
    axes: Axes,
    style: int,
    x: float,
    y: float,
    title: str,
    *,
    along: tuple[float, float] | None = None,
    across: tuple[float, float] | None = None,
    ring: bool = False,
) -> None:
    """A sampler's mark, with intervals in x (`along`) and in y (`across`); `title` is shown on hover."""
    shape, size = _MARKERS[style]
    colour = SERIES[style]
    # Neither cut off at the edge of the axes, nor do they move it: panels beside each other stay aligned.
    free: dict[str, Any] = {"clip_on": False, "in_layout": False}
    for xs, ys in ((along, (y, y)), ((x, x), across)):
        if xs and ys:
            axes.plot(xs, ys, color=colour, alpha=0.55, **free)
    if ring:
        axes.plot(x, y, "o", ms=18, mfc="none", mec=colour, mew=1.6, **free)
    # Above all lines and rings, also those of other samplers, so that the pointer finds it.
    axes.plot(x, y, shape, ms=size, mfc=colour, mec=GROUND, mew=1, gid=_TITLE + title, zorder=3, **free)


def outline(style: int) -> str:
    """A mark as the `points` of an SVG polygon around 0, for legends."""
    shape, size = _MARKERS[style]
    marker = MarkerStyle(shape)
    path = marker.get_path().transformed(marker.get_transform() + Affine2D().scale(size, -size))
    return " ".join(f"{x:.2f},{y:.2f}" for x, y in np.concatenate(path.to_polygons())[:-1])  # the last is the first


def svg(figure: Figure, alt: str) -> str:
    """The figure as an element of the page, in the page's colours and font. `alt` says in words what it shows.

    The ids in it are made from its content and `alt`: figures with other words share none.
    """
    file = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": alt}):
        figure.savefig(file, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    # HTML knows svg without namespaces.
    root = ElementTree.fromstring(re.sub(r' xmlns(:xlink)?="[^"]*"|(?<= )xlink:(?=href=)', "", file.getvalue()))
    # Left out: a style sheet, which would apply to the whole page, and clip paths, for nothing lies beyond the axes.
    root[:] = root.findall("g")
    for element in list(root.iter()):
        element.text, element.tail = (element.text or "").strip(), None
        if element.tag == "g":
            name = element.attrib.pop("id", "")
            if name.startswith(_TITLE):
                title = ElementTree.Element("title")
                title.text = name.removeprefix(_TITLE)
                element.insert(0, title)
        element.attrib.pop("clip-path", None)
        for name, value in element.items():
            element.set(name, re.sub(r"(\.\d\d)\d+", r"\1", " ".join(value.split())))  # hundredths are fine enough
        if "style" in element.attrib:
            element.set("style", _themed(element.attrib["style"]))
    root.attrib = {"class": "plot", "viewBox": root.attrib["viewBox"], "role": "img", "aria-label": alt}
    return ElementTree.tostring(root, encoding="unicode")


def _themed(style: str) -> str:
    style = re.sub(r" font-family: [^;]*;?", "", style)
    return re.sub(r"#c0de(..)", lambda found: f"var(--{_VARIABLES[int(found[1], 16)]})", style)
