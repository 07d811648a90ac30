"""Scripted experts: controllers that solve a task from its observations alone, cleanly or sloppily."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from tasks.experts.can import CanExpert
from tasks.experts.libero_goal import LiberoGoalExpert
from tasks.experts.libero_object import LiberoObjectExpert
from tasks.experts.libero_spatial import LiberoSpatialExpert
from tasks.experts.lift import LiftExpert
from tasks.experts.scripted import ScriptedExpert
from tasks.experts.square import SquareExpert
from tasks.task import Observation, TaskError

#: A LIBERO suite's expert solves task 0 of the suite.
_EXPERTS: dict[str, type[ScriptedExpert]] = {
    "lift": LiftExpert,
    "can": CanExpert,
    "square": SquareExpert,
    "libero_spatial": LiberoSpatialExpert,
    "libero_object": LiberoObjectExpert,
    "libero_goal": LiberoGoalExpert,
}


#: The observations that every expert reads.
EXPERT_OBSERVATIONS = ("object", "robot0_eef_pos", "robot0_eef_quat", "robot0_gripper_qpos")


class Expert(Protocol):
    """Plays episodes of one task. An `observation` holds the `EXPERT_OBSERVATIONS`."""

    #: True once the script has nothing left to try; the expert then holds still.
    finished: bool

    def reset(self, observation: Observation) -> None:
        """Prepare for the episode that starts with `observation`, and draw a style for it."""
        ...

    def act(self, observation: Observation) -> np.ndarray:
        """The next action, (action_dim,) in [-1, 1]."""
        ...


def expert_names() -> tuple[str, ...]:
    """The tasks that have a scripted expert."""
    return tuple(_EXPERTS)


def expert(name: str, rng: np.random.Generator, sloppy: bool = False) -> Expert:
    """The scripted expert of task `name`, which draws all its randomness from `rng`.

    A sloppy expert makes human mistakes (missed grasps, early closes and releases, jerks, pauses), and sometimes
    notices and repairs them. Raises TaskError for a task without an expert.
    """
    if name not in _EXPERTS:
        raise TaskError(f"task {name!r} has no scripted expert; accepted: {', '.join(_EXPERTS)}")
    return _EXPERTS[name](rng, sloppy)
