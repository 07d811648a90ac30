"""The style sheet of every page, and the script of its wide tables.

Loads no matplotlib, since the first view of `sim-eval view` waits for it.
"""

from __future__ import annotations

from importlib import resources


def stylesheet() -> str:
    """The rules that all pages share, as CSS."""
    return _template("style.css")


def scrolling() -> str:
    """The script with which a table that is wider than the page says so."""
    return _template("scrolling.js")


def _template(name: str) -> str:
    return resources.files("sim_eval.report").joinpath(f"templates/{name}").read_text(encoding="utf-8")
