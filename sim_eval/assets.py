"""Which of LIBERO's assets a run stands on: settled once, before any worker starts, and stored with the run."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tasks.libero_assets import AUTO, LITE, REAL, choose_assets


def with_assets(task: Mapping[str, Any]) -> dict[str, Any]:
    """The task's options with `assets` settled: "real", "lite", or the folder that was asked for.

    "real" is found again in the same place, by worker processes and when the run is resumed or rendered, on whatever
    machine. One line on stderr tells of a fall back on lite. Raises TaskError for assets that cannot be had.
    """
    if "assets" not in task:
        return dict(task)
    chosen = choose_assets(task["name"], task["assets"])
    if chosen.why is not None:
        print(f"task.assets=lite: primitives stand in for LIBERO's own assets, because {chosen.why}", file=sys.stderr)
    named = task["assets"] not in (AUTO, REAL)  # a folder, or lite: stored as it was given
    return {**task, "assets": chosen.value if named else chosen.kind}


def with_recorded_assets(task: Mapping[str, Any]) -> dict[str, Any]:
    """A stored run's task options. Where the asset folder that it ran on is gone, `real` takes its place."""
    assets = task.get("assets")
    gone = assets not in (None, LITE) and not Path(assets).is_dir()
    return {**task, "assets": REAL} if gone else dict(task)
