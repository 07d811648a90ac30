"""The robot's proprioception: the vectors of robosuite's and LIBERO's low-dimensional observations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

Read = Callable[[], np.ndarray]


def proprioception(env: Any) -> dict[str, Read]:
    """Functions that read each vector of the environment's only arm, by robosuite's names.

    `robot0_eef_pos` (3,) m: world position of the point between the fingers. `robot0_eef_quat` (4,) xyzw: the hand's
    body. `robot0_gripper_qpos` (2,) m, `robot0_gripper_qvel` (2,) m/s: the fingers. `robot0_joint_pos` (7,) rad, its
    `_cos` and `_sin`, `robot0_joint_vel` (7,) rad/s: the arm. `robot0_proprio-state`: the vectors that the environment
    has enabled, concatenated (with the joint angles in LIBERO, without them in robosuite).
    """
    robot, data = env.robots[0], env.sim.data._data
    site, body = robot.eef_site_id, env.sim.model.body_name2id(robot.robot_model.eef_name)
    joints, joint_speeds = np.array(robot._ref_joint_pos_indexes), np.array(robot._ref_joint_vel_indexes)
    fingers, finger_speeds = (
        np.array(robot._ref_gripper_joint_pos_indexes),
        np.array(robot._ref_gripper_joint_vel_indexes),
    )
    vectors: dict[str, Read] = {
        "robot0_joint_pos": lambda: data.qpos[joints],
        "robot0_joint_pos_cos": lambda: np.cos(data.qpos[joints]),
        "robot0_joint_pos_sin": lambda: np.sin(data.qpos[joints]),
        "robot0_joint_vel": lambda: data.qvel[joint_speeds],
        "robot0_eef_pos": lambda: data.site_xpos[site],
        "robot0_eef_quat": lambda: xyzw(data.xquat[body]),
        "robot0_gripper_qpos": lambda: data.qpos[fingers],
        "robot0_gripper_qvel": lambda: data.qvel[finger_speeds],
    }
    parts = [read for name, read in vectors.items() if env._observables[name].is_active()]
    return {**vectors, "robot0_proprio-state": lambda: np.concatenate([read() for read in parts])}


def xyzw(wxyz: np.ndarray) -> np.ndarray:
    """MuJoCo's (w, x, y, z) as robosuite's (x, y, z, w)."""
    return wxyz[[1, 2, 3, 0]]
