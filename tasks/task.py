"""What a task promises: the `Task` protocol, and the key that names one episode of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

#: Observations by robomimic's names: `robot0_eef_pos` (3,), `robot0_eef_quat` (4,),
#: `robot0_gripper_qpos` (2,), `object` (n,), each float32.
Observation = Mapping[str, np.ndarray]


class TaskError(ValueError):
    """A task cannot be built or run as asked; the message names the option, its value and what is accepted."""


@dataclass(frozen=True)
class EpisodeKey:
    """One episode, the same for every sampler: where it starts and which noise the sampler draws.

    `episode` counts within the run; `env_seed` fixes the start; `noise_seed` fixes the sampler's noise.
    """

    task: str
    episode: int
    env_seed: int
    noise_seed: int


@dataclass(frozen=True)
class Step:
    """One control step's outcome. `done` is True at success and at the task's step limit."""

    observation: Observation
    reward: float
    success: bool
    done: bool


class Task(Protocol):
    """One manipulation task in simulation."""

    name: str
    instruction: str
    max_steps: int
    control_hz: int
    action_dim: int
    observation_sizes: Mapping[str, int]
    cameras: tuple[str, ...]
    assets: str | None
    """Which kind of a choice of meshes and textures it runs on, such as "real"; None where there is no choice."""

    def reset(self, key: EpisodeKey) -> Observation:
        """Start the episode that `key.env_seed` names. The result depends on nothing that ran before."""
        ...

    def step(self, action: np.ndarray) -> Step:
        """Advance one control step. `action` is (action_dim,), clipped to [-1, 1]."""
        ...

    def frame(self, camera: str, size: int) -> np.ndarray:
        """The view of `camera` as (size, size, 3) uint8, upright."""
        ...

    def state_hash(self) -> str:
        """Hex digest of the simulator's state AND of the model's body poses: equal starts have equal hashes."""
        ...

    def close(self) -> None:
        """Free the simulator and its renderer."""
        ...
