"""Videos of recorded episodes, from their stored actions: which episodes, and under which names."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from sim_eval.analysis.compare import load_run
from sim_eval.analysis.episode_selection import Pick, check_pick, picked, read_pick
from sim_eval.config.compose import compose, folder, listed, one_of, whole, worker_count
from sim_eval.errors import RunError
from sim_eval.rollout.environment import MakeTask
from sim_eval.rollout.keys import episode_key
from sim_eval.runs.records import Record, actions_path, lock, recorded, video_path
from sim_eval.runs.run_folder import set_videos
from sim_eval.video.contact_sheet import ROWS, Row, write_sheet
from sim_eval.video.encode import FORMATS
from sim_eval.video.episode_video import Film
from sim_eval.video.parallel import shoot_all
from sim_eval.video.replay import View, name


@dataclass(frozen=True)
class RenderSettings:
    """Which episodes of a run (None: all), seen how, and where to.

    `videos` picks among `episodes`. `side_by_side`: one video an episode, a column for each of `samplers`; `sheet`:
    contact sheets, too. `size` in pixels, even; `every`: one frame of so many control steps is drawn, at the speed of
    life. `workers`: processes, 0 for none.
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
    workers: int = 0
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
        side_by_side=options["side_by_side"],
        sheet=options["sheet"],
        format=one_of("format", options["format"], FORMATS),
        camera=options["camera"],
        size=size,
        every=whole("every", options["every"], 1),
        workers=worker_count(options["workers"]),
        overwrite=options["overwrite"],
    )


def _episodes(value: object) -> list[int]:
    return [whole("episodes", one, 0) for one in listed("episodes", value)]


def default_output(folder: Path) -> Path:
    """Where the videos of a run folder go unless told otherwise."""
    return Path("videos") / folder.resolve().name


def check_rendering(make_task: MakeTask, task: str) -> None:
    """Draw one frame, so that a missing GL library is told before long work. Raises TaskError."""
    probe = make_task()
    try:
        probe.reset(episode_key(task, 0, 0))
        probe.frame("agentview", 64)
    finally:
        probe.close()


def render(settings: RenderSettings, make_task: MakeTask) -> list[Path]:
    """Replay and render the episodes; the files made, contact sheets last. The records note their MP4 videos.

    Raises RunError for an unknown sampler or episode, columns that start from different states, a file that exists,
    and a replay that differs from its record; TaskError for an unknown camera and for a missing GL library.
    """
    return _draw(settings, _chosen(settings), make_task)


def render_missing(settings: RenderSettings, make_task: MakeTask) -> list[Path]:
    """As `render`, without the episodes whose videos exist."""
    return _draw(settings, [one for one in _chosen(settings) if not _has_video(settings.folder, one)], make_task)


def check_output(settings: RenderSettings, task: str, policy: str, episodes: int) -> None:
    """Raise RunError where another run's videos are in the way of this run's, before the run takes its time."""
    noted = [video_path(settings.folder, one) for one in recorded(settings.folder)]
    known = {path.resolve() for path in noted if path is not None}
    for sampler in settings.samplers or ():
        for episode in range(episodes):
            path = _film_path(settings, task, policy, sampler, episode)
            if path.exists() and path.resolve() not in known:
                raise RunError(f"{path} is no video of output={settings.folder}; move it, or name the output otherwise")


def _has_video(folder: Path, one: Record) -> bool:
    path = video_path(folder, one)
    return path is not None and path.is_file()


def _draw(settings: RenderSettings, chosen: Sequence[Record], make_task: MakeTask) -> list[Path]:
    if not chosen:
        return []
    films = _films(settings, chosen)
    sheets = _sheet_paths(settings, chosen) if settings.sheet else []
    existing = [path for path in (*(film.path for film in films), *sheets) if path.exists()]
    if existing and not settings.overwrite:
        raise RunError(f"{existing[0]} exists already; accepted: overwrite=true or another output")
    with lock(settings.folder):
        pass  # a run that is writing would keep the records from noting the videos when they are done
    rows = _shoot(settings, films, make_task)
    together = sorted(chosen, key=lambda one: one.episode)  # stable: samplers keep their order
    for number, path in enumerate(sheets):
        page = together[number * ROWS : (number + 1) * ROWS]
        write_sheet(path, [rows[one.sampler, one.episode] for one in page])
    return [*(film.path for film in films), *sheets]


def _shoot(settings: RenderSettings, films: Sequence[Film], make_task: MakeTask) -> dict[tuple[str, int], Row]:
    """Make the videos and note them in the records; the rows of contact sheets, if any, by (sampler, episode)."""
    view = View(settings.camera, settings.size, settings.every)
    rows: dict[tuple[str, int], Row] = {}
    with _noting(settings, films) as made, tqdm(total=len(films), unit="video", disable=None) as progress:
        for film, shown in shoot_all(films, make_task, view, settings.workers):
            made.append(film)
            if settings.sheet:  # hundreds of rows fill the memory
                rows.update({(row.record.sampler, row.record.episode): row for row in shown})
            progress.update()
    return rows


@contextmanager
def _noting(settings: RenderSettings, films: Sequence[Film]) -> Iterator[list[Film]]:
    """Note the videos in the records: in the end those of the films that the caller has put into the list.

    New ones are noted before they are drawn: a video that a killed process leaves behind is then known for this run's.
    """
    made: list[Film] = []
    if settings.format != "mp4":  # a page's player shows no GIF
        yield made
        return

    def notes(noted: Iterable[Film]) -> dict[tuple[str, int], str | None]:
        return {
            (one.sampler, one.episode): os.path.relpath(film.path, settings.folder)
            for film in noted
            for one in film.records
        }

    before = {(one.sampler, one.episode): one for film in films for one in film.records}
    new = {key for key, one in before.items() if not _has_video(settings.folder, one)}
    set_videos(settings.folder, {key: note for key, note in notes(films).items() if key in new})
    try:
        yield made
    finally:  # those that are finished stay, whatever became of the rest
        set_videos(settings.folder, {**{key: before[key].video for key in new}, **notes(made)})


def _chosen(settings: RenderSettings) -> list[Record]:
    """The records asked for, by sampler; those that ended in an error have no outcome to show and are left out."""
    records = load_run(settings.folder).records
    if not records:
        raise RunError(f"no episode is recorded in {settings.folder}")
    recorded = list(dict.fromkeys(one.sampler for one in records))
    for sampler in settings.samplers or ():
        if sampler not in recorded:
            raise RunError(f"samplers: {sampler} is not recorded in {settings.folder}; accepted: {', '.join(recorded)}")
    samplers = settings.samplers or tuple(recorded)
    if settings.side_by_side and len(set(samplers)) < 2:
        raise RunError(f"side_by_side=true needs two samplers or more, there is {', '.join(samplers)}")
    check_pick(settings.videos, recorded)
    good = [one for one in records if one.error is None]
    asked = _asked(settings, good, samplers)
    wanted = picked(settings.videos, [one for one in good if one.episode in asked], samplers)
    chosen = [one for one in good if one.sampler in samplers and one.episode in wanted]
    return sorted(chosen, key=lambda one: (samplers.index(one.sampler), one.episode))


def _asked(settings: RenderSettings, good: Sequence[Record], samplers: Sequence[str]) -> set[int]:
    """The episodes asked for by number; side by side, only those that every sampler has can be had."""
    sets = [{one.episode for one in good if one.sampler == sampler} for sampler in samplers]
    recorded = set.intersection(*sets) if settings.side_by_side else set.union(*sets)
    for episode in settings.episodes or ():
        if episode not in recorded:
            every = " of every sampler" if settings.side_by_side else ""
            raise RunError(
                f"episodes: {episode} is not recorded in {settings.folder}; accepted{every}: "
                f"{_ranges(sorted(recorded))}"
            )
    return recorded if settings.episodes is None else set(settings.episodes)


def _films(settings: RenderSettings, chosen: Sequence[Record]) -> list[Film]:
    """One for every record, or one for every episode with a column for each of its records."""
    if not settings.side_by_side:
        return [_film(settings, (one,)) for one in chosen]
    episodes: dict[int, list[Record]] = {}
    for one in chosen:
        episodes.setdefault(one.episode, []).append(one)
    return [_film(settings, tuple(columns)) for columns in episodes.values()]


def _film(settings: RenderSettings, columns: tuple[Record, ...]) -> Film:
    first = columns[0]
    for other in columns[1:]:
        if other.state_hash != first.state_hash:
            raise RunError(
                f"side_by_side: {other.sampler} starts episode {other.episode} from another state than "
                f"{first.sampler}, the pairing is broken"
            )
    shown = "-vs-".join(one.sampler for one in columns)
    path = _film_path(settings, first.task, first.policy, shown, first.episode)
    return Film(path, columns, tuple(_actions(settings.folder, one) for one in columns))


def _film_path(settings: RenderSettings, task: str, policy: str, shown: str, episode: int) -> Path:
    return settings.output / f"{task}-{policy}-{shown}-{episode:04d}.{settings.format}"


def _sheet_paths(settings: RenderSettings, chosen: Sequence[Record]) -> list[Path]:
    name = f"{chosen[0].task}-{chosen[0].policy}-sheet"
    return [settings.output / f"{name}-{number + 1}.png" for number in range(-(-len(chosen) // ROWS))]


def _actions(folder: Path, one: Record) -> np.ndarray:
    path = actions_path(folder, one.sampler, one.episode)
    try:
        actions: np.ndarray = np.load(path)
    except (OSError, ValueError, EOFError):
        raise RunError(f"{name(one)}: its actions cannot be read from {path}") from None
    if actions.ndim != 2 or len(actions) != one.steps:
        raise RunError(f"{name(one)}: {path} holds actions of shape {actions.shape}, the record {one.steps} steps")
    return actions


def _ranges(numbers: Sequence[int]) -> str:
    """0, 1, 2, 5 as "0-2, 5"."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and number == parts[-1][-1] + 1:
            parts[-1].append(number)
        else:
            parts.append([number])
    return ", ".join(str(part[0]) if len(part) == 1 else f"{part[0]}-{part[-1]}" for part in parts) or "none"
