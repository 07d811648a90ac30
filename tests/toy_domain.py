"""A domain of two tasks: a point of the toy's kind with two goals, judged before the action as OGBench's tasks are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from policies.policy import Observations
from tasks.task import ArraySpec, Observation, ObservationRequest, Outcome, TaskSpec
from tests.toy_models import ToyDenoiser
from tests.toy_task import ToyTask

#: By the task's number.
GOALS = {1: (0.0, 0.0), 2: (0.4, 0.0)}
RADIUS = 0.3


def reached(index: int, positions: np.ndarray) -> np.ndarray:
    """Whether positions (N, 2) are at the goal, (N,) bool."""
    near: np.ndarray = np.linalg.norm(positions - np.array(GOALS[index]), axis=-1) < RADIUS
    return near


class ToyRelabeller:
    """In the place of `tasks.ogbench_rewards.Relabeller`."""

    def __init__(self, domain: str, index: int, sparse: bool) -> None:
        self._index = index

    def __call__(self, qpos: np.ndarray, button_states: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        near = reached(self._index, qpos).astype(np.float32)
        return near - 1, 1 - near

    def close(self) -> None:
        pass


class First(ToyTask):
    spec: ClassVar[TaskSpec] = replace(
        ToyTask.spec,
        observations={"state": ArraySpec((2,)), "qpos": ArraySpec((2,))},
        reward_range=(-1.0, 0.0),
    )

    def __init__(self, env: str = "toys", index: int = 1) -> None:
        super().__init__()
        self._index = int(index)

    def step(self, action: np.ndarray) -> Outcome:
        success = bool(reached(self._index, self._position.astype(np.float32)))
        outcome = super().step(action)
        done = success or self._steps == self.spec.max_steps
        return replace(outcome, reward=float(success) - 1, success=success, done=done)

    def observe(self, request: ObservationRequest) -> Observation:
        position = self._position.astype(np.float32)
        everything: Observation = {"state": position, "qpos": position}
        return {name: everything[name] for name in request.names}


class Second(First):
    def __init__(self, env: str = "toys", index: int = 2) -> None:
        super().__init__(env, index)


class Walker(ToyDenoiser):
    """Its actions are random, around the way to the origin."""

    def __init__(self) -> None:
        super().__init__(observation_sizes={"state": 2})

    def encode(self, observation: Observations) -> Tensor:
        return torch.from_numpy(observation["state"])


def write_play(path: Path) -> None:
    """Eight random walks of 20 steps in OGBench's layout, none of which ends near a goal."""
    rng = np.random.default_rng(0)
    walks: list[tuple[np.ndarray, np.ndarray]] = []
    while len(walks) < 8:
        actions = rng.uniform(-1, 1, (21, 2)).astype(np.float32)
        states = (rng.uniform(-1, 1, 2) + 0.1 * np.cumsum(actions, axis=0)).astype(np.float32)
        if not any(reached(index, states[-8:]).any() for index in GOALS):
            walks.append((states, actions))
    states, actions = (np.concatenate(part) for part in zip(*walks, strict=True))
    terminals = np.tile(np.arange(21) == 20, 8)
    np.savez(path, observations=states, qpos=states, actions=actions, terminals=terminals)
