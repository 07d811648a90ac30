"""Options of rendering, small and in this process unless told otherwise."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sim_eval.config.options import from_values
from sim_eval.video.options import RenderOptions


def drawing(folder: Path, output: Path, **options: Any) -> RenderOptions:
    """Draw the run in `folder` into `output`."""
    return from_values(RenderOptions, **{"folder": folder, "output": output, "size": 64, "workers": 0, **options})
