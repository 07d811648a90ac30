"""Videos of recorded episodes, from their stored actions: no policy, and an exact replay or an error."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from sim_eval.compare import load_run
from sim_eval.configuration import compose, whole
from sim_eval.environment import MakeTask
from sim_eval.errors import RunError
from sim_eval.keys import episode_key
from sim_eval.records import Record, actions_path
from sim_eval.run_folder import set_videos
from sim_eval.video import with_text, write_video
from tasks.task import EpisodeKey, Task


@dataclass(frozen=True)
class RenderSettings:
    """Which episodes (None: all), seen how, and where to.

    `size` in pixels, even; `every`: one frame of so many control steps is drawn, at the speed of life.
    """

    folder: Path
    output: Path
    episodes: tuple[int, ...] | None = None
    samplers: tuple[str, ...] | None = None
    camera: str = "agentview"
    size: int = 256
    every: int = 1
    overwrite: bool = False


def read_render_settings(arguments: Sequence[str]) -> RenderSettings:
    """`sim-eval-render`'s arguments, the run folder first. Raises RunError naming what is wrong."""
    folder, options = Path(arguments[0]), compose("render", arguments[1:])
    size = whole("size", options["size"], 16)
    if size % 2:
        raise RunError(f"size is {size}; accepted: an even number of pixels")
    output = options["output"]
    return RenderSettings(
        folder=folder,
        output=_default_output(folder) if output is None else Path(str(output)),
        episodes=None if options["episodes"] is None else tuple(_episodes(options["episodes"])),
        samplers=None if options["samplers"] is None else tuple(_list("samplers", options["samplers"])),
        camera=options["camera"],
        every=whole("every", options["every"], 1),
        size=size,
        overwrite=options["overwrite"],
    )


def _episodes(value: object) -> list[int]:
    return [whole("episodes", one, 0) for one in _list("episodes", value)]


def _list(option: str, value: object) -> list[Any]:
    if isinstance(value, list) and value:
        return value
    raise RunError(f"{option} is {value}; accepted: a list such as [a,b]")


def _default_output(folder: Path) -> Path:
    return Path("videos") / folder.resolve().name


def check_rendering(make_task: MakeTask, task: str, camera: str = "agentview", size: int = 64) -> None:
    """Draw one frame, so that a missing GL library is told before long work. Raises TaskError."""
    probe = make_task()
    try:
        probe.reset(episode_key(task, 0, 0))
        probe.frame(camera, size)
    finally:
        probe.close()


def render(settings: RenderSettings, make_task: MakeTask) -> list[Path]:
    """Replay and render the episodes; the videos' paths, also noted in the records.

    Raises RunError for an unknown sampler or episode, a video that exists, and a replay that differs from its record;
    TaskError for an unknown camera and for a missing GL library.
    """
    chosen = _chosen(settings, load_run(settings.folder).records)
    paths = {_name(settings, one): one for one in chosen}
    existing = [path for path in paths if path.exists()]
    if existing and not settings.overwrite:
        raise RunError(f"{existing[0]} exists already; accepted: overwrite=true or another output")
    task = make_task()
    try:
        for path, one in tqdm(paths.items(), unit="video", disable=None):
            actions = _actions(settings.folder, one)
            frames = _frames(task, one, actions, settings)
            write_video(path, frames, max(1, round(task.control_hz / settings.every)))
    finally:
        task.close()
    set_videos(settings.folder, {(one.sampler, one.episode): str(path) for path, one in paths.items()})
    return list(paths)


def render_first(folder: Path, count: int, make_task: MakeTask) -> list[Path]:
    """Render every sampler's first `count` episodes that have no video yet."""
    records = [one for one in load_run(folder).records if one.episode < count and one.error is None]
    missing = [one for one in records if one.video is None or not Path(one.video).exists()]
    paths: list[Path] = []
    for sampler in dict.fromkeys(one.sampler for one in missing):
        episodes = tuple(one.episode for one in missing if one.sampler == sampler)
        paths += render(RenderSettings(folder, _default_output(folder), episodes, (sampler,)), make_task)
    return paths


def _chosen(settings: RenderSettings, records: Sequence[Record]) -> list[Record]:
    """The records asked for; those that ended in an error have no outcome to show and are left out."""
    samplers = list(dict.fromkeys(one.sampler for one in records))
    for name in settings.samplers or ():
        if name not in samplers:
            raise RunError(f"samplers: {name} is not recorded in {settings.folder}; accepted: {', '.join(samplers)}")
    found = [one for one in records if settings.samplers is None or one.sampler in settings.samplers]
    recorded = {one.episode for one in found if one.error is None}
    for episode in settings.episodes or ():
        if episode not in recorded:
            raise RunError(
                f"episodes: {episode} is not recorded in {settings.folder}; accepted: {_ranges(sorted(recorded))}"
            )
    wanted = recorded if settings.episodes is None else set(settings.episodes)
    chosen = [one for one in found if one.episode in wanted and one.error is None]
    return sorted(chosen, key=lambda one: (samplers.index(one.sampler), one.episode))


def _name(settings: RenderSettings, one: Record) -> Path:
    return settings.output / f"{one.task}-{one.policy}-{one.sampler}-{one.episode:04d}.mp4"


def _actions(folder: Path, one: Record) -> np.ndarray:
    path = actions_path(folder, one.sampler, one.episode)
    try:
        actions: np.ndarray = np.load(path)
    except (OSError, ValueError, EOFError):
        raise RunError(f"{_which(one)}: its actions cannot be read from {path}") from None
    return actions


def _frames(task: Task, one: Record, actions: np.ndarray, settings: RenderSettings) -> Iterator[np.ndarray]:
    """Replay; RunError as soon as it is seen to differ from the record."""
    task.reset(EpisodeKey(one.task, one.episode, one.env_seed, one.noise_seed))
    if task.state_hash() != one.state_hash:
        raise RunError(f"{_which(one)} starts from another state than recorded: the simulator or its version differs")
    success = False
    yield _frame(task, one, 0, "", settings)
    for number, action in enumerate(actions, 1):
        step = task.step(action)
        success = success or step.success
        last = number == len(actions)
        if step.done != last or (last and success != one.success):
            raise RunError(
                f"{_which(one)} was recorded with success={one.success} after {one.steps} steps, its replay stands at "
                f"success={success} after {number}: the simulator or its version differs"
            )
        if last or number % settings.every == 0:
            yield _frame(task, one, number, ("success" if success else "failure") if last else "", settings)


def _frame(task: Task, one: Record, step: int, outcome: str, settings: RenderSettings) -> np.ndarray:
    left = f"{one.task}  {one.sampler}  #{one.episode}"
    return with_text(task.frame(settings.camera, settings.size), left, f"{outcome}  {step}")


def _which(one: Record) -> str:
    return f"sampler={one.sampler} episode={one.episode}"


def _ranges(numbers: Sequence[int]) -> str:
    """0, 1, 2, 5 as "0-2, 5"."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and number == parts[-1][-1] + 1:
            parts[-1].append(number)
        else:
            parts.append([number])
    return ", ".join(str(part[0]) if len(part) == 1 else f"{part[0]}-{part[-1]}" for part in parts) or "none"
