"""Any robosuite environment with one arm and a gripper, by robosuite's registered name."""

from __future__ import annotations

import re

import numpy as np

from tasks.panda_task import PandaTask
from tasks.robosuite_import import load_robosuite
from tasks.robosuite_task import MAX_STEPS, build_environment
from tasks.task import TaskError

#: Wipe has a tool instead of the gripper that an action's seventh number moves.
_NO_GRIPPER = ("Wipe",)


class AnyRobosuiteTask(PandaTask):
    """The robosuite 1.4.0 environment `env_name` with its own starts and success test; 400 steps.

    `object` is robosuite's `object-state`: the environment's object observables, in its order. The instruction is the
    environment's name in words: "nut assembly round". `environment_names` lists the names.
    """

    def __init__(self, name: str, env_name: str, stepping: str = "fast") -> None:
        super().__init__(name, in_words(env_name), MAX_STEPS, build_environment(env_name), stepping)

    def _object(self) -> np.ndarray:
        state: np.ndarray = self._env._get_observations(force_update=True)["object-state"]
        return state


def in_words(env_name: str) -> str:
    """The instruction: "nut assembly round" for NutAssemblyRound."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", env_name).lower()


def environment_names() -> list[str]:
    """robosuite's environments for one arm with a gripper."""
    load_robosuite()
    from robosuite.environments.base import REGISTERED_ENVS

    # LIBERO registers its environments there too, once imported.
    own = [name for name, kind in REGISTERED_ENVS.items() if kind.__module__.startswith("robosuite.")]
    return [name for name in own if not name.startswith("TwoArm") and name not in _NO_GRIPPER]


def check_environment(env_name: object) -> None:
    """Raise TaskError unless the name is one of `environment_names`."""
    accepted = environment_names()
    if env_name not in accepted:
        raise TaskError(f"env is {env_name!r}; accepted: {', '.join(accepted)}")
