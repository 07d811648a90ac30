"""One video: its episodes replayed, drawn and encoded by whoever has the task."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sim_eval.runs.records import Record
from sim_eval.video.contact_sheet import Row, row
from sim_eval.video.encode import write_video
from sim_eval.video.overlay import Overlay
from sim_eval.video.replay import Replay, View, replay
from tasks.task import Task


@dataclass(frozen=True)
class Film:
    """A video to be made: episodes of one key, a column each, with the executed actions (steps, D) of each."""

    path: Path
    records: tuple[Record, ...]
    actions: tuple[np.ndarray, ...]


def shoot(film: Film, task: Task, view: View) -> list[Row]:
    """Make the video; the episodes' rows for a contact sheet. Raises as `replay` and `write_video` do."""
    with ExitStack() as stack:
        replays = [
            stack.enter_context(closing(replay(task, record, actions, view)))
            for record, actions in zip(film.records, film.actions, strict=True)
        ]
        write_video(film.path, _frames(replays, task.instruction, view.size), task.control_hz / view.every)
        return [row(one, task.instruction) for one in replays]


def _frames(replays: Sequence[Replay], instruction: str, size: int) -> Iterator[np.ndarray]:
    """As many frames as the longest episode has; those that ended before hold their last."""
    overlay = Overlay([one.record for one in replays], instruction, size)
    for number in range(max(map(len, replays))):
        yield overlay.frame([one.moment(number) for one in replays])
