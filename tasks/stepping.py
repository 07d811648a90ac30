"""Advance a robosuite environment by one control step, with robosuite's own loop or a compiled equivalent."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from tasks.stock_stepper import StockStepper
from tasks.task import TaskError

#: Accepted kinds of stepper.
KINDS = ("fast", "stock")


class Stepper(Protocol):
    """Advances an environment. Computes no observation, reward or success."""

    def reset(self) -> None:
        """Read the environment again; call it after every reset of the environment."""
        ...

    def step(self, action: np.ndarray) -> None:
        """Advance one control step under the (7,) action in [-1, 1]: 3 position, 3 rotation, 1 gripper.

        As in robosuite, `qpos` and `qvel` are then current, while derived quantities (`site_xpos`, contacts, sensors)
        are those at the start of the last substep.

        Raises FloatingPointError if the simulation diverges.
        """
        ...


def check_kind(kind: str) -> None:
    """Raise TaskError for an unknown kind of stepper."""
    if kind not in KINDS:
        raise TaskError(f"stepping is {kind!r}; accepted: {', '.join(KINDS)}")


def make_stepper(env: Any, kind: str) -> Stepper:
    """A stepper for a robosuite 1.4.0 environment (LIBERO's too) that has been reset.

    "stock" takes any environment. "fast" needs one Panda under OSC_POSE, and compiles on first use, which takes up to
    a minute (numba caches the result). Raises TaskError for any other kind or environment.
    """
    check_kind(kind)
    if kind == "stock":
        return StockStepper(env)
    # Imported late: this loads the compiler and mujoco, which stock stepping and `import tasks` do not need.
    from tasks.fast_stepper import FastStepper

    return FastStepper(env)
