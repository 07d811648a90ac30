"""Videos and contact sheets of recorded episodes, drawn from their stored actions."""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from policies.observation import ObservationRequest
from sim_eval.config.engine import Cluster
from sim_eval.foundation.errors import RunError
from sim_eval.rollout.environment import MakeTask
from sim_eval.rollout.keys import episode_key
from sim_eval.rollout.start import work_through
from sim_eval.runs.reader import Run, read_run
from sim_eval.runs.records import Record, read
from sim_eval.runs.videos import Shown, read_index, update_index
from sim_eval.video.encode import check_encoder
from sim_eval.video.episode_video import Column, EpisodeVideo, draw_video, write_sheet
from sim_eval.video.options import RenderOptions
from sim_eval.video.remote import draw_elsewhere
from sim_eval.video.replay import ReplayError, View, first_camera
from sim_eval.video.selection import chosen_records, planned_sheets, planned_videos, records_beside, video_path


@dataclass(frozen=True)
class Rendered:
    """The result of rendering.

    `paths`: files drawn, contact sheets last. `kept`: videos that existed already. `skipped`: videos that could not be
    replayed. `listed`: whether the run folder lists the files, so that its report shows them.
    """

    paths: list[Path]
    kept: int = 0
    skipped: int = 0
    listed: bool = False


def check_rendering(make_task: MakeTask, task: str) -> None:
    """Look for ffmpeg and draw one frame before a long run.

    Raises RunError if ffmpeg is missing, TaskError if a GL library is.
    """
    check_encoder()
    probe = make_task()
    try:
        probe.reset(episode_key(task, 0, 0))
        probe.frame(first_camera(probe), 64)
    finally:
        probe.close()


def check_output(settings: RenderOptions, task: str, policy: str, episodes: int) -> None:
    """Raise RunError, before a long run, if its videos would overwrite another run's."""
    paths = [
        video_path(settings, task, policy, sampler, episode)
        for sampler in settings.samplers or ()
        for episode in range(episodes)
    ]
    _check_own(paths, read_index(settings.folder, read(settings.folder)), settings.folder)


def _check_own(paths: Iterable[Path], index: Mapping[Path, Shown], folder: Path) -> None:
    for path in paths:
        if path.exists() and path.resolve() not in index:
            raise RunError(
                f"{path} exists and is no file of the run {folder}; accepted: overwrite=true or another output"
            )


def render(settings: RenderOptions, make_task: MakeTask) -> Rendered:
    """Replay and draw the episodes whose videos do not exist yet; with `overwrite`, all of them.

    An episode that cannot be replayed as recorded is reported on stderr and skipped. Raises RunError for an unknown
    sampler or episode, columns that start from different states, and a file of another run, and TaskError for an
    unknown camera and a missing GL library.
    """
    run = read_run(settings.folder)
    observed = _observed(settings, run)
    chosen, beside = chosen_records(settings, run), list[Column]()
    if settings.beside is not None:
        others = records_beside(settings, run, chosen, read_run(settings.beside))
        beside = [Column(settings.beside, record) for record in others]
        shared = {record.episode for record in others}
        chosen = [record for record in chosen if record.episode in shared]
    columns = [*(Column(settings.folder, record) for record in chosen), *beside]
    videos, sheets = planned_videos(settings, columns), planned_sheets(settings, chosen)
    index = read_index(settings.folder, run.records)
    if not settings.overwrite:
        _check_own([*(video.path for video in videos), *sheets], index, settings.folder)
        videos = [replace(video, exists=video.path.exists()) for video in videos]
        sheets = {
            path: records
            for path, records in sheets.items()
            if not path.exists() or index[path.resolve()] != _shown(records)
        }
    kept = sum(video.exists for video in videos)
    on_sheets = {key for records in sheets.values() for key in _shown(records)}
    todo = [video for video in videos if not video.exists or on_sheets.intersection(_own(settings, video))]
    if not todo:
        return Rendered([], kept)
    check_encoder()
    new = {video.path: _own(settings, video) for video in todo if not video.exists}
    files = new | {path: _shown(records) for path, records in sheets.items()}
    listed = _listed(settings.folder, files)
    try:
        rows, skipped = _draw(settings, observed, todo, make_task)
        for path, records in sheets.items():
            if drawn := [rows[key] for key in _shown(records) if key in rows]:
                write_sheet(path, drawn)
    finally:  # the files that are finished stay listed, whatever became of the rest
        if listed:
            update_index(settings.folder, {}, [path for path in files if not path.exists()])
    return Rendered([path for path in files if path.exists()], kept, skipped, listed)


def _observed(settings: RenderOptions, run: Run) -> ObservationRequest | None:
    """The pictures that the run's policy saw, as it asked for them, if they are to be shown.

    Raises RunError if they were asked for and are not known, or there are none.
    """
    request = run.request
    if settings.observed is False or (settings.observed is None and (request is None or not request.images)):
        return None
    if request is None:
        raise RunError(
            f"observed is true, and {settings.folder} does not say what its policy saw, as runs of earlier versions; "
            "accepted: false"
        )
    if not request.images:
        raise RunError(
            f"observed is true, and the policy of {settings.folder} saw no picture, only {', '.join(request.names)}; "
            "accepted: false"
        )
    return replace(request, names=request.images, history=1)


def _draw(
    settings: RenderOptions,
    observed: ObservationRequest | None,
    videos: Sequence[EpisodeVideo],
    make_task: MakeTask,
) -> tuple[dict[tuple[str, int], np.ndarray], int]:
    """Make the videos. Returns the rows of contact sheets, if any, by (sampler, episode), and how many were skipped."""
    view, workers = View(settings.camera, settings.size, settings.every, observed), settings.workers
    if isinstance(workers, Cluster):
        drawn = draw_elsewhere(videos, view, make_task, workers)
    else:
        drawn = work_through(videos, functools.partial(draw_video, view=view), make_task, workers)
    rows: dict[tuple[str, int], np.ndarray] = {}
    skipped = 0
    with tqdm(total=len(videos), unit="video", disable=None) as progress:
        for video, made in zip(videos, drawn, strict=True):
            if isinstance(made, ReplayError):
                tqdm.write(f"skipped: {made}", file=sys.stderr)
                skipped += 1
            elif settings.sheet:  # hundreds of rows fill the memory
                rows.update(zip(_own(settings, video), made, strict=False))  # the other run's columns come last
            progress.update()
    return rows, skipped


def _shown(records: Sequence[Record]) -> Shown:
    return tuple((record.sampler, record.episode) for record in records)


def _own(settings: RenderOptions, video: EpisodeVideo) -> Shown:
    """The episodes of the rendered run that a video shows."""
    return _shown([column.record for column in video.columns if column.folder == settings.folder])


def _listed(folder: Path, files: Mapping[Path, Shown]) -> bool:
    """List the files in the run folder; False where it is read-only, which stderr is told.

    They are listed before they are drawn: what a killed process leaves behind is then known for this run's.
    """
    try:
        update_index(folder, files)
    except RunError as error:
        print(f"the report of {folder} will not show these videos: {error}", file=sys.stderr)
        return False
    return True
