"""One simulated environment behind two commands; what a crash of the simulator becomes is decided here."""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tasks.task import EpisodeKey, Observation, Task, TaskError

#: Builds the task; must pickle, as worker processes build their own. `functools.partial(tasks.make, "can")` does.
MakeTask = Callable[[], Task]


@dataclass(frozen=True)
class Reset:
    """Start the episode of this key."""

    key: EpisodeKey


@dataclass(frozen=True)
class Execute:
    """Execute actions (n, D) until they run out or the episode ends. `every` keeps each step's observation."""

    actions: np.ndarray
    every: bool = False


Command = Reset | Execute


@dataclass(frozen=True)
class Started:
    """The reply to `Reset`; the sizes let the caller compare the task with its policy."""

    observation: Observation
    state_hash: str
    assets: str | None
    action_dim: int
    observation_sizes: dict[str, int]


@dataclass(frozen=True)
class Ran:
    """The reply to `Execute`: how many actions were executed, and one observation each or the last one alone."""

    observations: tuple[Observation, ...]
    steps: int
    success: bool
    done: bool


@dataclass(frozen=True)
class Failed:
    """The episode crashed; the environment is built anew before the next one."""

    error: str


@dataclass(frozen=True)
class Unbuildable:
    """The task cannot be built at all, so that no episode can run."""

    error: str


Reply = Started | Ran | Failed | Unbuildable


class Environment:
    """Keeps one task alive across episodes."""

    def __init__(self, make_task: MakeTask) -> None:
        self._make_task = make_task
        self._task: Task | None = None

    def handle(self, command: Command) -> Reply:
        """Obey; never raises, so that one episode's crash cannot end the others in the same process."""
        if self._task is None:
            try:
                self._task = self._make_task()
            except Exception as error:
                return Unbuildable(str(error) if isinstance(error, TaskError) else _describe(error))
        try:
            if isinstance(command, Reset):
                return _reset(self._task, command)
            return _run(self._task, command)
        except Exception as error:  # whatever a simulator raises is this episode's error, never its failure
            self.close()
            return Failed(_describe(error))

    def close(self) -> None:
        """Free the task. A broken simulator may fail at that too, which must not hide the first error."""
        task, self._task = self._task, None
        if task is not None:
            with contextlib.suppress(Exception):
                task.close()


def _reset(task: Task, command: Reset) -> Started:
    observation = task.reset(command.key)
    sizes = dict(task.observation_sizes)
    return Started(dict(observation), task.state_hash(), task.assets, task.action_dim, sizes)


def _run(task: Task, command: Execute) -> Ran:
    observations: list[Observation] = []
    steps = 0
    success = done = False
    for action in command.actions:
        step = task.step(action)
        if not command.every:
            observations.clear()
        observations.append(dict(step.observation))
        steps += 1
        success, done = success or step.success, step.done
        if done:
            break
    return Ran(tuple(observations), steps, success, done)


def _describe(error: Exception) -> str:
    frame = traceback.extract_tb(error.__traceback__)[-1]
    file = frame.filename.rsplit("/", 1)[-1]
    return f"{type(error).__name__}: {error} ({file}:{frame.lineno})"
