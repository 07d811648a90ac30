"""robosuite's own control loop, and what every loop shares."""

from __future__ import annotations

from typing import Any

import numpy as np


def substeps_of(env: Any) -> int:
    """Physics steps per control step (25 at 20 Hz), rounded as in robosuite's loop."""
    return int(env.control_timestep / env.model_timestep)


def check_progress(env: Any, before: float) -> None:
    """Raise FloatingPointError if the simulation's clock is not past `before`, seconds.

    MuJoCo resets everything when the state is not finite, and only writes a line to a log file.
    """
    if not env.sim.data._data.time > before:
        raise FloatingPointError(f"the simulation diverged and MuJoCo reset it, {before:.3f} s into the episode")


class StockStepper:
    """robosuite's `MujocoEnv.step` without its reward and its returned observation."""

    def __init__(self, env: Any) -> None:
        self._env = env
        self.reset()

    def reset(self) -> None:
        # robosuite's soft reset keeps the fingers' command.
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
