"""The options of rendering."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sim_eval.config.engine import EngineOptions
from sim_eval.config.options import Given, option
from sim_eval.foundation.errors import RunError
from sim_eval.runs.outputs import check_folder
from sim_eval.video.picks import Pick, read_pick

#: File formats of videos.
FORMATS = ("mp4", "gif")


@dataclass(frozen=True, kw_only=True)
class RenderOptions(EngineOptions):
    """Render recorded episodes, and write the run's report again with their videos. `folder`: of the run."""

    folder: Path
    episodes: tuple[int, ...] | None = option(None, "numbers of episodes, such as 0,3; null: all", least=0, entries=1)
    samplers: tuple[str, ...] | None = option(None, "samplers; null: all", entries=1)
    videos: Pick = option(
        "all",
        "of these episodes: rescued (unsteered fails, another succeeds), broken (the reverse), all, or the first N",
        kind="str",
    )
    side_by_side: bool = option(False, "one video per episode, with a column per sampler in the order of samplers")
    beside: Path | None = option(
        None,
        "another run from the same starts, such as another policy's: its samplers' columns follow this run's",
    )
    sheet: bool = option(False, "also draw contact sheets: evenly spaced frames of every rendered episode")
    format: str = option("mp4", "mp4 or gif", choices=FORMATS)
    camera: str | None = option(None, "agentview, robot0_eye_in_hand or another of the task's; null: the task's first")
    size: int = option(256, "width and height of each picture in pixels, even", least=16)
    every: int = option(1, "draw a frame every N control steps; the video plays in real time", least=1)
    observed: bool | None = option(
        None,
        "below each frame, the pictures that the policy saw when it last decided: true, false, or null: where it saw "
        "any",
    )
    output: Path = option(None, "folder of the videos; null: videos/<run folder's name>", kind="Path | None")
    overwrite: bool = option(False, "also draw videos that exist; false: only those that are missing")

    @staticmethod
    def resolve(given: Given) -> None:
        if given["size"] % 2:
            raise RunError(f"size is {given['size']}; accepted: an even number of pixels")
        given["videos"] = read_pick(given["videos"])
        given["side_by_side"] = given["side_by_side"] or given["beside"] is not None
        given["output"] = given["output"] or default_output(given["folder"])
        check_folder("output", given["output"])


def default_output(run: Path) -> Path:
    """Where the videos of a run folder go unless told otherwise."""
    return Path("videos") / run.resolve().name
