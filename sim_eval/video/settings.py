"""The options of `sim-eval-render`, checked and resolved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sim_eval.analysis.episode_selection import Pick, read_pick
from sim_eval.config.compose import compose, folder
from sim_eval.config.engine import Workers, read_workers
from sim_eval.config.values import listed, one_of, whole
from sim_eval.errors import RunError
from sim_eval.video.encode import FORMATS


@dataclass(frozen=True)
class RenderSettings:
    """Which episodes of a run to render, how, and where to.

    `episodes`, `samplers`: None for all; `videos` picks among these. `side_by_side`: one video per episode, one column
    per sampler. `sheet`: draw contact sheets, too. `size`: pixels, even. `every`: control steps per frame; videos play
    in real time. `observed`: show the pictures that the policy saw; None: where it saw any. `workers`: what draws.
    `overwrite`: also draw files that exist.
    """

    folder: Path
    output: Path
    episodes: tuple[int, ...] | None = None
    samplers: tuple[str, ...] | None = None
    videos: Pick = "all"
    side_by_side: bool = False
    sheet: bool = False
    format: str = "mp4"
    camera: str = "agentview"
    size: int = 256
    every: int = 1
    observed: bool | None = None
    workers: Workers = 0
    overwrite: bool = False


def read_render_settings(arguments: Sequence[str]) -> RenderSettings:
    """`sim-eval-render`'s arguments, the run folder first. Raises RunError naming what is wrong."""
    run, options = Path(arguments[0]), compose("render", arguments[1:])
    size = whole("size", options["size"], 16)
    if size % 2:
        raise RunError(f"size is {size}; accepted: an even number of pixels")
    return RenderSettings(
        folder=run,
        output=default_output(run) if options["output"] is None else folder(options["output"]),
        episodes=None if options["episodes"] is None else tuple(_episodes(options["episodes"])),
        samplers=None if options["samplers"] is None else tuple(listed("samplers", options["samplers"])),
        videos=read_pick(options["videos"]),
        format=one_of("format", options["format"], FORMATS),
        size=size,
        every=whole("every", options["every"], 1),
        workers=read_workers(options),
        observed=_optional_bool("observed", options["observed"]),
        **{name: options[name] for name in ("side_by_side", "sheet", "camera", "overwrite")},
    )


def default_output(run: Path) -> Path:
    """Where the videos of a run folder go unless told otherwise."""
    return Path("videos") / run.resolve().name


def _episodes(value: object) -> list[int]:
    return [whole("episodes", episode, 0) for episode in listed("episodes", value)]


def _optional_bool(option: str, value: object) -> bool | None:
    if value is None or isinstance(value, bool):
        return value
    raise RunError(f"{option} is {value}; accepted: true, false or null")
