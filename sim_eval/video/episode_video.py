"""One video: its episodes replayed, drawn and encoded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from sim_eval.foundation.errors import RunError
from sim_eval.foundation.files import replacing
from sim_eval.runs.records import Record, actions_path
from sim_eval.video.encode import write_video
from sim_eval.video.overlay import Moment, Overlay
from sim_eval.video.replay import DrawnEpisode, ReplayError, View, replay, title
from tasks.task import Task


@dataclass(frozen=True)
class Column:
    """A recorded episode, and the run folder that holds its actions."""

    folder: Path
    record: Record


@dataclass(frozen=True)
class EpisodeVideo:
    """A video to draw: recorded episodes of one key, a column each.

    `path`: the file; `exists`: it is kept, and the episodes are only replayed for their rows of a contact sheet.
    """

    path: Path
    columns: tuple[Column, ...]
    exists: bool = False


def draw_video(task: Task, video: EpisodeVideo, view: View) -> list[np.ndarray] | ReplayError:
    """Make the video. Returns the episodes' rows for a contact sheet, or why they cannot be replayed.

    Raises RunError when the video cannot be written; TaskError for an unknown camera and for a missing GL library.
    """
    (size,) = task.spec.action.shape
    instruction, fps = task.spec.instruction, task.spec.control_hz / view.every
    try:
        replays = [replay(task, column.record, _actions(column, size), view) for column in video.columns]
    except ReplayError as error:
        return error
    if not video.exists:
        write_video(video.path, _frames(replays, instruction, view), fps)
    return [row(replayed, instruction) for replayed in replays]


def _frames(replays: Sequence[DrawnEpisode], instruction: str, view: View) -> Iterator[np.ndarray]:
    """As many frames as the longest episode has; those that ended before hold their last."""
    overlay = Overlay([replayed.record for replayed in replays], instruction, view.size, view.observed)
    for number in range(max(len(replayed.steps) for replayed in replays)):
        yield overlay.frame([replayed.moment(number) for replayed in replays])


def _actions(column: Column, size: int) -> np.ndarray:
    """The executed actions (steps, size) of a column's episode."""
    record = column.record
    path = actions_path(column.folder, record.sampler, record.episode)
    try:
        if not path.is_file():  # reading a pipe would wait for ever
            raise FileNotFoundError(path)
        # Mapped, so that an array that claims more values than the file holds takes no memory.
        actions: np.ndarray = np.load(path, mmap_mode="r")
    except (OSError, ValueError, EOFError):
        raise ReplayError(f"{title(record)}: its actions cannot be read from {path}") from None
    if not isinstance(actions, np.ndarray):  # an archive of several
        raise ReplayError(f"{title(record)}: {path} is no array")
    if actions.shape != (record.steps, size) or actions.dtype != np.float32 or not np.isfinite(actions).all():
        raise ReplayError(
            f"{title(record)}: {path} holds {actions.dtype} of shape {actions.shape}; accepted: finite float32 of "
            f"shape {(record.steps, size)}"
        )
    return np.array(actions)


#: Pictures a row, the first and the last of the episode among them.
COLUMNS = 8
#: Rows that one sheet holds at most; longer ones are no longer seen at a glance, nor opened by every viewer.
ROWS = 20


def row(replay: DrawnEpisode, instruction: str) -> np.ndarray:
    """An episode's row (height, width, 3) uint8; an episode that has fewer pictures shows some twice."""
    numbers = np.linspace(0, len(replay.steps) - 1, COLUMNS).round().astype(int)
    moments = [_half(replay.moment(int(number))) for number in numbers]
    return Overlay([replay.record] * COLUMNS, instruction, len(moments[0].picture)).frame(moments)


def _half(moment: Moment) -> Moment:
    picture = Image.fromarray(moment.picture)
    small = picture.resize((picture.width // 2, picture.height // 2), Image.Resampling.LANCZOS)
    return Moment(np.asarray(small), moment.step)


def write_sheet(path: Path, rows: Sequence[np.ndarray]) -> None:
    """Write rows of one width, at least one, as PNG. Raises RunError when it cannot be written."""
    try:
        with replacing(path) as part:
            Image.fromarray(np.concatenate(rows)).save(part, "PNG", optimize=True)
    except OSError as error:
        raise RunError(f"cannot write the contact sheet {path}: {error.strerror or error}") from None
