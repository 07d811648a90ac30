"""Replay a recorded episode from its stored actions, exactly or with an error."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from policies.observation import ObservationRequest
from sim_eval.foundation.errors import RunError
from sim_eval.runs.records import Record
from sim_eval.video.overlay import Moment
from tasks.task import EpisodeKey, Task


class ReplayError(RunError):
    """An episode cannot be replayed as recorded; the message names it. Others of its run may replay."""


@dataclass(frozen=True)
class View:
    """The camera, the size of pictures (`size` x `size` pixels), and how often: after `every` steps, and at the end.

    `camera`: None for the task's first.
    `observed`: the pictures that the policy saw when it decided, drawn again as it asked for them; None for none.
    """

    camera: str | None
    size: int
    every: int
    observed: ObservationRequest | None = None


@dataclass(frozen=True)
class DrawnEpisode:
    """One episode as drawn: `pictures` (n, size, size, 3) uint8, each after so many control `steps`.

    `observed`: what the policy saw at each decision, (decisions, cameras, h, w, 3) uint8, if it was asked for.
    """

    record: Record
    steps: list[int]
    pictures: np.ndarray
    observed: np.ndarray | None = None

    def moment(self, number: int) -> Moment:
        """The picture of this number, from 0; the last one where the episode has ended before."""
        number = min(number, len(self.steps) - 1)
        step = self.steps[number]
        decision = max(step - 1, 0) // self.record.execute
        return Moment(self.pictures[number], step, () if self.observed is None else tuple(self.observed[decision]))


def replay(task: Task, record: Record, actions: np.ndarray, view: View) -> DrawnEpisode:
    """Run the episode again and draw it. `actions`: (steps, D), as executed.

    Raises ReplayError as soon as start, number of steps or outcome differ from the record, RunError if the disk is
    full, and TaskError for an unknown camera and a missing GL library.
    """
    steps, decisions = [*range(0, record.steps, view.every), record.steps], range(0, record.steps, record.execute)
    pictures, observed, request = _on_disk((len(steps), view.size, view.size, 3)), None, view.observed
    if request is not None:
        observed = _on_disk((len(decisions), len(request.names), request.image_size, request.image_size, 3))
    camera = view.camera or first_camera(task)
    for step in _steps(task, record, actions):
        if step in steps:
            pictures[steps.index(step)] = task.frame(camera, view.size)
        if observed is not None and request is not None and step in decisions:
            seen = task.observe(request)
            observed[decisions.index(step)] = [seen[name] for name in request.names]
    return DrawnEpisode(record, steps, pictures, observed)


def first_camera(task: Task) -> str:
    """The camera of videos unless told otherwise; a user's task that declares none is asked for "agentview"."""
    return (*task.spec.cameras, "agentview")[0]


def _on_disk(shape: tuple[int, ...]) -> np.ndarray:
    """Bytes in a temporary file: the pictures of five samplers side by side would fill the memory."""
    try:
        with tempfile.TemporaryFile() as file:  # it goes with the array
            os.posix_fallocate(file.fileno(), 0, int(np.prod(shape)))
            return np.memmap(file, np.uint8, "r+", shape=shape)
    except OSError as error:
        raise RunError(f"cannot keep pictures in {tempfile.gettempdir()}: {error.strerror}") from None


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
