"""Reports of a comparison: terminal table, report.html, report.md, summary.json, and figures as SVG files."""

from __future__ import annotations

from pathlib import Path

from sim_eval.analysis.compare import Comparison
from sim_eval.foundation.files import write_text
from sim_eval.report.html import html
from sim_eval.report.markdown import markdown
from sim_eval.report.svg_files import FIGURES, write_figures
from sim_eval.report.tables import summary
from sim_eval.report.terminal import terminal

__all__ = ["FIGURES", "HTML", "terminal", "write", "write_figures"]

#: The page for readers.
HTML = "report.html"


def write(comparison: Comparison, folder: Path) -> None:
    """Write report.html, report.md and summary.json into `folder`, created if needed. Raises RunError if that fails."""
    contents = {"summary.json": summary(comparison), "report.md": markdown(comparison), HTML: html(comparison, folder)}
    for name, text in contents.items():
        write_text(folder / name, text)
