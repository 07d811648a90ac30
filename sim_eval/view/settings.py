"""The options of `sim-eval-view`, checked and resolved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sim_eval.config.compose import compose, folder
from sim_eval.config.values import port
from sim_eval.errors import RunError


@dataclass(frozen=True)
class ViewSettings:
    """The folder whose run folders are shown, itself or anything below it, and where on this machine.

    videos: a folder with further videos, which need not exist. Both paths are resolved.
    """

    root: Path
    videos: Path
    port: int


def read_view_settings(arguments: Sequence[str]) -> ViewSettings:
    """`sim-eval-view`'s arguments, the folder first. Raises RunError naming what is wrong."""
    root, options = Path(arguments[0]), compose("view", arguments[1:])
    if not root.is_dir():
        raise RunError(f"{root} is not a folder; accepted: sim-eval-view DIR [option=value ...]")
    return ViewSettings(root.resolve(), folder(options["videos"]).resolve(), port("port", options["port"]))
