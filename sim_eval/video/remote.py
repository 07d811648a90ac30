"""Videos drawn on machines that do not see the run folder: actions travel there, and files come back."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from sim_eval.config.engine import Cluster
from sim_eval.foundation.errors import RunError
from sim_eval.foundation.files import replacing
from sim_eval.rollout.environment import MakeTask
from sim_eval.rollout.start import work_through
from sim_eval.runs.records import actions_path
from sim_eval.video.episode_video import Column, EpisodeVideo, draw_video
from sim_eval.video.replay import ReplayError, View
from tasks.task import Task


@dataclass(frozen=True)
class _Parcel:
    """A video to draw, with the content of each record's file of actions; None where there is no such file."""

    video: EpisodeVideo
    actions: tuple[bytes | None, ...]


def draw_elsewhere(
    videos: Sequence[EpisodeVideo], view: View, make_task: MakeTask, cluster: Cluster
) -> Generator[list[np.ndarray] | ReplayError]:
    """As `draw_video` for each video, in order, on the cluster. Raises RunError if a file cannot be written here."""
    work = functools.partial(_draw_parcel, view=view)
    with closing(work_through([_packed(video) for video in videos], work, make_task, cluster)) as done:
        for video, (rows, content) in zip(videos, done, strict=True):
            if content is not None:
                _write(video.path, content)
            yield rows


def _packed(video: EpisodeVideo) -> _Parcel:
    paths = [actions_path(column.folder, column.record.sampler, column.record.episode) for column in video.columns]
    return _Parcel(video, tuple(path.read_bytes() if path.is_file() else None for path in paths))


def _draw_parcel(task: Task, parcel: _Parcel, view: View) -> tuple[list[np.ndarray] | ReplayError, bytes | None]:
    """The result of `draw_video`, and the content of the file; None if none was drawn."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        columns = [Column(folder / str(number), column.record) for number, column in enumerate(parcel.video.columns)]
        for column, content in zip(columns, parcel.actions, strict=True):
            if content is not None:
                path = actions_path(column.folder, column.record.sampler, column.record.episode)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
        video = replace(parcel.video, columns=tuple(columns), path=folder / parcel.video.path.name)
        rows = draw_video(task, video, view)
        return rows, video.path.read_bytes() if video.path.exists() else None


def _write(path: Path, content: bytes) -> None:
    try:
        with replacing(path) as part:
            part.write_bytes(content)
    except OSError as error:
        raise RunError(f"cannot write the video {path}: {error.strerror}; the disk may be full") from None
