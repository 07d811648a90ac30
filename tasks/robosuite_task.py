"""robosuite's Lift, Can and Square as a `Task`: observations by robomimic's names, soft resets by key."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tasks.panda_task import CONTROL_HZ, PandaTask
from tasks.proprioception import xyzw
from tasks.random_state import seeded
from tasks.robosuite_import import load_robosuite
from tasks.simulated_task import release_free_memory

MAX_STEPS = 400

#: Seeds what is random about the model itself (Lift's cube size), so that all processes simulate the same model.
#: Stock robosuite redraws the cube's size (by up to 10 %) at each hard reset.
_MODEL_SEED = 0


@dataclass(frozen=True)
class RobosuiteSpec:
    """One robosuite environment: its registered name, the body observed as `object`, and the instruction.

    `relative_orientation`: whether `object` ends with the object's pose in the gripper's frame (14 values,
    robomimic's Can and Square) or only with the vector from object to gripper (10 values, Lift).
    """

    name: str
    env_name: str
    object_body: str
    relative_orientation: bool
    instruction: str


class RobosuiteTask(PandaTask):
    """400 steps, sparse reward (robosuite 1.4.0; Zhu et al. 2020, arXiv 2009.12293).

    `object` is (10,) or (14,): position (m), quaternion xyzw, then relative to the gripper (see `RobosuiteSpec`).
    """

    def __init__(self, spec: RobosuiteSpec, stepping: str = "fast") -> None:
        self._robosuite = spec
        env = build_environment(spec.env_name)
        robot = env.robots[0]
        self._eef_site = robot.eef_site_id
        self._eef_body = env.sim.model.body_name2id(robot.robot_model.eef_name)
        self._object_body = env.sim.model.body_name2id(spec.object_body)
        super().__init__(spec.name, spec.instruction, MAX_STEPS, env, stepping)

    def _object(self) -> np.ndarray:
        pos, quat = self._data.xpos[self._object_body], self._data.xquat[self._object_body]
        eef_pos, eef_quat = self._data.site_xpos[self._eef_site], self._data.xquat[self._eef_body]
        framed = self._robosuite.relative_orientation
        relative = _pose_in_frame(pos, quat, eef_pos, eef_quat) if framed else eef_pos - pos
        return np.concatenate([pos, xyzw(quat), relative])


def build_environment(env_name: str) -> Any:
    """The robosuite environment with a fixed model and no renderer, already reset once."""
    robosuite = load_robosuite()
    with seeded(_MODEL_SEED):
        env = robosuite.make(
            env_name,
            robots="Panda",
            controller_configs=robosuite.load_controller_config(default_controller="OSC_POSE"),
            has_renderer=False,
            has_offscreen_renderer=False,
            use_camera_obs=False,
            use_object_obs=True,
            reward_shaping=False,
            control_freq=CONTROL_HZ,
            horizon=MAX_STEPS,
            ignore_done=True,
            hard_reset=False,
        )
        env.reset()
    release_free_memory()
    return env


def _pose_in_frame(pos: np.ndarray, quat: np.ndarray, frame_pos: np.ndarray, frame_quat: np.ndarray) -> np.ndarray:
    """A world pose in another frame, (7,): position, then quaternion xyzw with w >= 0. Takes quaternions as wxyz."""
    w, axis = frame_quat[0], -frame_quat[1:]
    offset = pos - frame_pos
    turn = 2.0 * np.cross(axis, offset)
    relative_pos = offset + w * turn + np.cross(axis, turn)
    relative_w = w * quat[0] - axis @ quat[1:]
    relative_axis = w * quat[1:] + quat[0] * axis + np.cross(axis, quat[1:])
    sign = 1.0 if relative_w >= 0.0 else -1.0
    return np.concatenate([relative_pos, sign * relative_axis, [sign * relative_w]])
