"""The style sheet of every page. Loads no matplotlib, since the first view of `sim-eval view` waits for it."""

from __future__ import annotations

from importlib import resources


def stylesheet() -> str:
    """The rules that all pages share, as CSS."""
    return resources.files("sim_eval.report").joinpath("templates/style.css").read_text(encoding="utf-8")
