"""Scripted experts: controllers that solve a task from its observations alone, cleanly or sloppily."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from tasks.experts.can import CanExpert
from tasks.experts.goal_scene import BowlOnCabinetExpert, BowlOnPlateExpert, CreamCheeseExpert
from tasks.experts.kitchen_scenes import BottleInDrawerExpert, BowlOnOpenCabinetExpert, MokaPotExpert
from tasks.experts.libero_goal import LiberoGoalExpert
from tasks.experts.libero_object import LiberoObjectExpert
from tasks.experts.libero_spatial import LiberoSpatialExpert
from tasks.experts.lift import LiftExpert
from tasks.experts.living_room_scenes import BowlInTrayExpert, SauceInTrayExpert, StackInTrayExpert
from tasks.experts.scripted import ScriptedExpert
from tasks.experts.square import SquareExpert
from tasks.task import Observation, TaskError

#: By full name: a LIBERO suite's own name is its task 0.
_EXPERTS: dict[str, type[ScriptedExpert]] = {
    "lift": LiftExpert,
    "can": CanExpert,
    "square": SquareExpert,
    "libero_spatial": LiberoSpatialExpert,
    "libero_object": LiberoObjectExpert,
    "libero_goal": LiberoGoalExpert,
    "libero_goal_1": BowlOnPlateExpert,  # on the stove
    "libero_goal_4": BowlOnCabinetExpert,
    "libero_goal_6": CreamCheeseExpert,
    "libero_goal_8": BowlOnPlateExpert,
    "libero_90_26": BottleInDrawerExpert,
    "libero_90_31": BowlOnOpenCabinetExpert,
    "libero_90_38": MokaPotExpert,
    "libero_90_59": SauceInTrayExpert,
    "libero_90_60": BowlInTrayExpert,
    "libero_90_64": StackInTrayExpert,
}


#: The observations that every expert reads.
EXPERT_OBSERVATIONS = ("object", "robot0_eef_pos", "robot0_eef_quat", "robot0_gripper_qpos")


class Expert(Protocol):
    """Plays episodes of one task. An `observation` holds the `EXPERT_OBSERVATIONS`."""

    #: True once the script has nothing left to try; the expert then holds still.
    finished: bool
    #: The last action without the noise that was added to it, (action_dim,) in [-1, 1].
    intended: np.ndarray

    @property
    def exemplary(self) -> bool:
        """False during an attempt that misses on purpose, which is not to be imitated."""
        ...

    def reset(self, observation: Observation) -> None:
        """Prepare for the episode that starts with `observation`, and draw a style for it."""
        ...

    def act(self, observation: Observation) -> np.ndarray:
        """The next action, (action_dim,) in [-1, 1]."""
        ...


def expert_names() -> tuple[str, ...]:
    """The tasks that have a scripted expert."""
    return tuple(_EXPERTS)


def expert(name: str, rng: np.random.Generator, style: str = "clean") -> Expert:
    """The scripted expert of the task with the full name `name`, which draws all its randomness from `rng`.

    `style`: "clean"; "sloppy" makes human mistakes (missed grasps, early closes and releases, jerks, pauses), and
    sometimes notices and repairs them; "recovering" sometimes misses the first grasp on purpose. Raises TaskError for
    a task without an expert.
    """
    if name not in _EXPERTS:
        raise TaskError(f"task {name!r} has no scripted expert; accepted: {', '.join(_EXPERTS)}")
    return _EXPERTS[name](rng, style)
