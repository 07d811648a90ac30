"""Gymnasium environments for tests: `task.id=tests.gym_worlds:Point-v0`. Imports no torch, as workers build them."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces


class Point(gymnasium.Env[dict[str, Any], np.ndarray]):
    """A point moves by (1, 10) times the action; it reaches the goal beyond 1, and falls below -1.

    seeded: whether `reset(seed)` determines the start.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 5}  # noqa: RUF012
    action_space = spaces.Box(np.array([-3.0, 0.0], np.float32), np.array([1.0, 0.2], np.float32))
    observation_space = spaces.Dict(
        {
            "robot": spaces.Dict({"position": spaces.Box(-9, 9, (2,), np.float64), "joints/a": spaces.Discrete(3)}),
            "front": spaces.Box(0, 255, (4, 8, 3), np.uint8),
        }
    )

    def __init__(self, seeded: bool = True, render_mode: str | None = None) -> None:
        self.seeded, self.render_mode = seeded, render_mode
        self.drawn = 0
        self.position = np.zeros(2)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[dict[str, Any], dict[str, Any]]:
        super().reset(seed=seed)
        generator = self.np_random if self.seeded else np.random.default_rng()
        self.position[:] = generator.uniform(-0.1, 0.1), 0.0
        return self.seen(), {}

    def step(self, action: np.ndarray) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        assert self.action_space.contains(action)
        self.position += (1.0, 10.0) * action
        return self.seen(), -1.0, self.position[0] < -1, False, {"reached": np.bool_(self.position[0] > 1)}

    def seen(self) -> dict[str, Any]:
        picture = np.zeros((4, 8, 3), np.uint8)
        picture[:2] = 200  # the upper half is bright
        return {"robot": {"position": self.position, "joints/a": 2}, "front": picture}  # the array is used again

    def render(self) -> np.ndarray:
        self.drawn += 1
        return np.full((6, 6, 3), 90, np.uint8)


class Wide(Point):
    """Its actions have no bounds."""

    action_space = spaces.Box(-np.inf, np.inf, (2,), np.float32)


class Counted(Point):
    """Its actions are numbers."""

    action_space = spaces.Discrete(4)  # type: ignore[assignment]


for _kind in (Point, Wide, Counted):
    gymnasium.register(f"{_kind.__name__}-v0", f"{__name__}:{_kind.__name__}", max_episode_steps=10)
gymnasium.register("Endless-v0", f"{__name__}:Point")
