"""A 2-D point mass: the engine's tests need no MuJoCo. Imports no torch, as worker processes build it."""

from __future__ import annotations

import hashlib
import os
import signal
import sys
import time
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from tasks.task import ArraySpec, EpisodeKey, Observation, ObservationRequest, Outcome, TaskSpec


@dataclass
class ToyTask:
    """Drive a point from a random start to within 0.2 of the origin in 40 steps. `crash` names what goes
    wrong.

    `crash`: "step" raises at the third step of every episode in `crash_in`; "kill" kills the process there.
    `observed` counts how often something was asked for.
    """

    crash: str = ""
    crash_in: tuple[int, ...] = ()
    step_s: float = 0.0
    observed: int = 0

    spec: ClassVar[TaskSpec] = TaskSpec(
        name="toy",
        instruction="reach the origin",
        max_steps=40,
        control_hz=20,
        action=ArraySpec((2,), low=-1, high=1),
        observations={"position": ArraySpec((2,)), "goal": ArraySpec((2,)), "time": ArraySpec((1,))},
        cameras=("agentview",),
    )

    def reset(self, key: EpisodeKey) -> None:
        self._key, self._steps = key, 0
        self._position = np.random.default_rng(key.env_seed).uniform(-1, 1, 2)

    def step(self, action: np.ndarray) -> Outcome:
        assert action.dtype == np.float32
        assert np.all(np.abs(action) <= 1)
        time.sleep(self.step_s)
        self._steps += 1
        if self._steps == 3 and self._key.episode in self.crash_in:
            if self.crash == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            raise RuntimeError("the toy broke")
        self._position = np.clip(self._position + 0.1 * action, -1, 1)
        success = bool(np.linalg.norm(self._position) < 0.2)
        return Outcome(float(success), success, success or self._steps == self.spec.max_steps)

    def observe(self, request: ObservationRequest) -> Observation:
        self.observed += 1
        everything: Observation = {
            "position": self._position.astype(np.float32),
            "goal": np.zeros(2, np.float32),
            "time": np.array([self._steps], np.float32),
            "agentview_image": self.frame("agentview", request.image_size),
            "instruction": self.spec.instruction,
        }
        return {name: everything[name] for name in request.names}

    def frame(self, camera: str, size: int) -> np.ndarray:
        image = np.full((size, size, 3), 40, np.uint8)
        row, column = ((self._position + 1) / 2 * (size - 5)).astype(int)
        image[row : row + 5, column : column + 5] = (255, 80, 80)
        return image

    def state_hash(self) -> str:
        return hashlib.sha256(self._position.tobytes()).hexdigest()

    def save(self) -> tuple[int, np.ndarray]:
        return self._steps, self._position

    def restore(self, state: tuple[int, np.ndarray]) -> None:
        self._steps, self._position = state

    def close(self) -> None:
        pass


class CostlyToy(ToyTask):
    """The toy whose steps cost 1 until the origin is reached."""

    spec: ClassVar[TaskSpec] = replace(ToyTask.spec, reward_range=(-1.0, 0.0))

    def step(self, action: np.ndarray) -> Outcome:
        outcome = super().step(action)
        return replace(outcome, reward=outcome.reward - 1)


def make_toy(name: str, **options: Any) -> ToyTask:
    """In the place of `tasks.make`."""
    return ToyTask()


def toy_without_torch() -> ToyTask:
    """The toy, in processes that have not loaded torch, and that software GL draws in with one thread."""
    if "torch" in sys.modules:
        raise RuntimeError("torch is loaded here")
    if os.environ.get("LP_NUM_THREADS") != "1":
        raise RuntimeError("software GL may start a thread a core here")
    return ToyTask()
