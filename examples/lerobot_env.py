"""The suite's tasks for LeRobot's own evaluation, by its EnvHub. Put this file into a hub repository as env.py.

In Python: lerobot.envs.factory.make_env("OWNER/NAME", n_envs=2, trust_remote_code=True)
"""

import functools
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv

#: What LeRobot evaluates: of each id, the task's numbers. A scene takes about 0.4 GB and a few seconds.
TASKS = {"sim_eval/LiberoGoal-v0": (0,)}
#: As LeRobot's LIBERO names, turns and sizes them.
CAMERAS = {"image": "agentview_image", "image2": "robot0_eye_in_hand_image"}
STATE = ("robot0_eef_pos", "robot0_eef_quat", "robot0_gripper_qpos")
SIZE = 256


class LeRobotEnv(gymnasium.Wrapper):
    """A task with what LeRobot reads: "pixels", "agent_pos" (8,), `is_success`, the instruction and the step limit."""

    def __init__(self, env: Any) -> None:
        super().__init__(env)
        told, offered = env.unwrapped.task_spec, env.observation_space.spaces
        self.task, self.task_description, self._max_episode_steps = told.name, told.instruction, told.max_steps
        pixels = {name: offered[camera] for name, camera in CAMERAS.items()}
        self.observation_space = spaces.Dict(
            {"pixels": spaces.Dict(pixels), "agent_pos": spaces.Box(-np.inf, np.inf, (8,), np.float32)}
        )

    def reset(self, **arguments: Any) -> tuple[dict, dict]:
        observation, info = self.env.reset(**arguments)
        return self._seen(observation), {**info, "is_success": False}

    def step(self, action: np.ndarray) -> tuple[dict, Any, bool, bool, dict]:
        observation, reward, terminated, truncated, info = self.env.step(action)
        return self._seen(observation), reward, terminated, truncated, {**info, "is_success": info["success"]}

    def _seen(self, observation: dict) -> dict:
        position, quaternion, fingers = (observation[name] for name in STATE)
        sine = np.sqrt(max(1.0 - quaternion[3] ** 2, 0.0))  # of half the angle; xyzw
        turn = quaternion[:3] / sine * 2.0 * np.arccos(np.clip(quaternion[3], -1, 1)) if sine > 0 else np.zeros(3)
        state = np.concatenate([position, turn, fingers]).astype(np.float32)
        return {"pixels": {name: observation[camera] for name, camera in CAMERAS.items()}, "agent_pos": state}


def make_env(n_envs: int = 1, use_async_envs: bool = False, cfg: Any = None) -> dict[str, dict[int, VectorEnv]]:
    """By id and number of the task, `n_envs` copies of it. `cfg`: LeRobot's settings, which are not needed."""

    def build(id: str, index: int) -> gymnasium.Env:
        seen: dict = {"observations": [*STATE, *CAMERAS.values()], "image_size": SIZE, "image_orientation": "rotated"}
        return LeRobotEnv(gymnasium.make(f"sim_eval.gymnasium:{id}", index=index, render_mode="rgb_array", **seen))

    def vector(id: str, index: int) -> VectorEnv:
        copies = [functools.partial(build, id, index)] * n_envs
        if use_async_envs:  # a GL context of this process would not survive a fork
            return AsyncVectorEnv(copies, autoreset_mode=AutoresetMode.SAME_STEP, context="forkserver")
        return SyncVectorEnv(copies, autoreset_mode=AutoresetMode.SAME_STEP)

    return {id: {index: vector(id, index) for index in indices} for id, indices in TASKS.items()}
