"""A recorded episode run again from its stored actions: exactly, or an error."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO

import numpy as np

from sim_eval.errors import RunError
from sim_eval.runs.records import Record
from sim_eval.video.overlay import Moment
from tasks.task import EpisodeKey, Task


class ReplayError(RunError):
    """An episode cannot be replayed as recorded; the message names it. Others of its run may well be."""


@dataclass(frozen=True)
class View:
    """How episodes are seen: a picture of `size` pixels a side after every so many control steps and at the end."""

    camera: str
    size: int
    every: int


@dataclass
class Replay:
    """One episode as drawn. Its pictures lie in a temporary file: five samplers side by side would fill the memory."""

    record: Record
    size: int
    steps: list[int] = field(default_factory=list)  # the control step of each picture
    _pictures: IO[bytes] = field(default_factory=tempfile.TemporaryFile)

    def __len__(self) -> int:
        return len(self.steps)

    def append(self, picture: np.ndarray, step: int) -> None:
        """Store the picture (size, size, 3) uint8 after so many steps. Raises RunError when the disk is full."""
        try:
            self._pictures.write(np.ascontiguousarray(picture).data)
            self._pictures.flush()
        except OSError as error:
            raise RunError(f"cannot keep pictures in {tempfile.gettempdir()}: {error.strerror}") from None
        self.steps.append(step)

    def moment(self, number: int) -> Moment:
        """The picture of this number, from 0; the last one where the episode has ended before."""
        number = min(number, len(self) - 1)
        shape = (self.size, self.size, 3)
        self._pictures.seek(number * self.size * self.size * 3)
        picture = np.frombuffer(self._pictures.read(self.size * self.size * 3), np.uint8).reshape(shape)
        return Moment(picture, self.steps[number])

    def close(self) -> None:
        self._pictures.close()


def replay(task: Task, record: Record, actions: np.ndarray, view: View) -> Replay:
    """Run and draw the episode again; `actions`: (steps, D) as executed.

    Raises ReplayError as soon as the replay is seen to differ from the record: another start, another number of steps,
    another outcome; TaskError for an unknown camera and for a missing GL library.
    """
    drawn = Replay(record, view.size)
    try:
        for step in _steps(task, record, actions):
            if step % view.every == 0 or step == record.steps:
                drawn.append(task.frame(view.camera, view.size), step)
    except BaseException:
        drawn.close()
        raise
    return drawn


def _steps(task: Task, record: Record, actions: np.ndarray) -> Iterator[int]:
    """The number of steps executed so far, from 0 to the last."""
    task.reset(EpisodeKey(record.task, record.episode, record.env_seed, record.noise_seed))
    if task.state_hash() != record.state_hash:
        raise ReplayError(
            f"{title(record)} starts from another state than recorded: the simulator or its version differs"
        )
    success = False
    yield 0
    for number, action in enumerate(actions, 1):
        outcome = task.step(action)
        success = success or outcome.success
        last = number == len(actions)
        if outcome.done != last or (last and (success, number) != (record.success, record.steps)):
            raise ReplayError(
                f"{title(record)} was recorded with success={record.success} after {record.steps} steps, its replay "
                f"stands at success={success} after {number}: the simulator or its version differs"
            )
        yield number


def title(record: Record) -> str:
    """A record as messages name it."""
    return f"sampler={record.sampler} episode={record.episode}"
