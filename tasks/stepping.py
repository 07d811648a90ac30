"""Advance a robosuite environment by one control step: robosuite's own loop, or a compiled equal of it."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from tasks.task import TaskError

#: Accepted kinds of stepper.
KINDS = ("fast", "stock")


class Stepper(Protocol):
    """Moves an environment on. Computes no observation, reward or success."""

    def reset(self) -> None:
        """Read the environment anew; call it after every reset of the environment."""
        ...

    def step(self, action: np.ndarray) -> None:
        """Advance one control step under the (7,) action in [-1, 1]: 3 position, 3 rotation, 1 gripper.

        As in robosuite, `qpos` and `qvel` are then new, while quantities derived from them (`site_xpos`,
        contacts, sensors) are those of the last substep's start.

        Raises FloatingPointError if the simulation diverged.
        """
        ...


def check_kind(kind: str) -> None:
    """Raise TaskError for a kind of stepper that does not exist."""
    if kind not in KINDS:
        raise TaskError(f"stepping is {kind!r}; accepted: {', '.join(KINDS)}")


def make_stepper(env: Any, kind: str) -> Stepper:
    """A stepper for a robosuite 1.4.0 environment (LIBERO's too) that has been reset.

    `stock` takes any; `fast` needs one Panda under OSC_POSE, and compiles for some 6 s the first time it is
    ever used (numba keeps the result). Raises TaskError for any other kind or environment.
    """
    check_kind(kind)
    if kind == "stock":
        return StockStepper(env)
    # Not before: this loads the compiler and mujoco, which stock stepping and `import tasks` do without.
    from tasks.fast_stepper import FastStepper

    return FastStepper(env)


def substeps_of(env: Any) -> int:
    """Physics steps in a control step (25 at 20 Hz), rounded as robosuite's loop rounds."""
    return int(env.control_timestep / env.model_timestep)


def check_progress(env: Any, before: float) -> None:
    """Raise FloatingPointError if the simulation's clock is not past `before`.

    MuJoCo answers a state that is not finite by resetting everything, with no more than a line in a log file.
    """
    if not env.sim.data._data.time > before:
        raise FloatingPointError(f"the simulation diverged and MuJoCo reset it, {before:.3f} s into the episode")


class StockStepper:
    """robosuite's `MujocoEnv.step` without its reward and its returned observation."""

    def __init__(self, env: Any) -> None:
        self._env = env
        self.reset()

    def reset(self) -> None:
        # robosuite keeps the fingers' command over a reset that reuses the model.
        gripper = self._env.robots[0].gripper
        gripper.current_action = np.zeros(gripper.dof)

    def step(self, action: np.ndarray) -> None:
        env = self._env
        before = env.sim.data._data.time
        for substep in range(substeps_of(env)):
            env.sim.forward()
            env._pre_action(action, substep == 0)
            env.sim.step()
            env._update_observables()
        check_progress(env, before)
        env.timestep += 1
        env.cur_time += env.control_timestep
