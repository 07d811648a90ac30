"""The interface of a task: the `Task` protocol, and the key that names one of its episodes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

import numpy as np

#: By robosuite's names: float32 vectors (n,), uint8 images (H, W, 3), and the "instruction", a string.
Observation = Mapping[str, Any]


class TaskError(ValueError):
    """A task cannot be built or run as requested; the message names the option, its value and what is accepted."""


@dataclass(frozen=True)
class EpisodeKey:
    """One episode, the same for every sampler.

    `episode`: its number in the run, from 0. `env_seed` in [0, 2**32) fixes the start, `noise_seed` in [0, 2**63) the
    sampler's noise.
    """

    task: str
    episode: int
    env_seed: int
    noise_seed: int


@dataclass(frozen=True)
class ArraySpec:
    """Shape and type of an array; `low` and `high` bound its entries, None if they are unbounded."""

    shape: tuple[int, ...]
    dtype: str = "float32"
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class TaskSpec:
    """What is known about a task before an episode starts.

    `max_steps`: control steps per episode. `action`: (D,). `observations`: the vectors on offer; each of `cameras`
    also offers the image `<camera>_image`. `published_starts`: how many starts (env_seed 0, 1, ...) the benchmark
    publishes. `packages`: name to version of the packages that the simulation depends on. `reward_range`: the least and
    the largest reward of a step; None: the reward is 1 for success and else 0. With a range, the step limit is no part
    of the task: what comes after it still counts for the value of a state.
    """

    name: str
    instruction: str
    max_steps: int
    control_hz: int
    action: ArraySpec
    observations: Mapping[str, ArraySpec]
    cameras: tuple[str, ...] = ()
    published_starts: int | None = None
    packages: Mapping[str, str] = field(default_factory=dict)
    reward_range: tuple[float, float] | None = None


@dataclass(frozen=True)
class Outcome:
    """The result of a control step. `done` is True at success and at the task's step limit.

    `goals_met`: the share of the goal's predicates that hold, a fraction; None for a task whose goal has no such parts.
    """

    reward: float
    success: bool
    done: bool
    goals_met: float | None = None


class ObservationRequest(Protocol):
    """What to observe. `policies.observation.ObservationRequest` documents the fields."""

    @property
    def names(self) -> tuple[str, ...]: ...

    @property
    def image_size(self) -> int: ...

    @property
    def image_orientation(self) -> str: ...

    @property
    def reflections(self) -> bool: ...

    @property
    def multisampling(self) -> bool: ...


class Task(Protocol):
    """One manipulation task in simulation."""

    @property
    def spec(self) -> TaskSpec: ...

    def reset(self, key: EpisodeKey) -> None:
        """Start the episode that `key.env_seed` names. The result depends on nothing that ran before."""
        ...

    def step(self, action: np.ndarray) -> Outcome:
        """Advance one control step; computes no observation. `action` is (D,), clipped to [-1, 1]."""
        ...

    def observe(self, request: ObservationRequest) -> Observation:
        """The current observations in `request.names`. Raises TaskError for a name that the task does not offer."""
        ...

    def frame(self, camera: str, size: int) -> np.ndarray:
        """The view of `camera` for videos, (size, size, 3) uint8, upright."""
        ...

    def state_hash(self) -> str:
        """Hex digest of the simulator's state and the model's body poses: equal starts have equal hashes."""
        ...

    def save(self) -> Any:
        """The state in mid-episode: all that later steps and observations depend on, random generators included.

        It is opaque, and valid for this task object and this episode. A task of a user's own may leave `save` and
        `restore` out: only the exact look-ahead needs them, and both raise TaskError.
        """
        raise cannot_save(self)

    def restore(self, state: Any) -> None:
        """Go back to what `save` returned, as often as wanted and whatever was executed in between.

        The same actions then lead to the same observations, outcomes and states, bit for bit. Raises TaskError for a
        state of another task object or of another episode.
        """
        raise cannot_save(self)

    def close(self) -> None:
        """Free the simulator and its renderer."""
        ...


def checked_task(task: Any) -> Task:
    """What a user's code built, if it is a task. Raises TaskError for anything else."""
    if isinstance(getattr(task, "spec", None), TaskSpec):
        return cast(Task, task)
    raise TaskError(f"a {type(task).__name__} was built; accepted: a Task, whose `spec` is a TaskSpec")


def can_save(task: Any) -> bool:
    """Whether the task has a `save` and a `restore` of its own."""
    return all(
        hasattr(task, name) and getattr(type(task), name, None) is not getattr(Task, name)
        for name in ("save", "restore")
    )


def cannot_save(task: Any) -> TaskError:
    """The error of a task that is asked for its state and cannot give it."""
    return TaskError(f"task {task.spec.name} has no `save` and `restore` of its own; the exact look-ahead needs both")
