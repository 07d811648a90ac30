"""A robosuite environment as a `Task`: low-dimensional observations by robomimic's names, soft resets by key."""

from __future__ import annotations

import ctypes
import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tasks.robosuite_import import load_robosuite
from tasks.stepping import KINDS, make_stepper
from tasks.task import EpisodeKey, Observation, Step, TaskError

if TYPE_CHECKING:
    from tasks.rendering import OffscreenRenderer

CONTROL_HZ = 20
ACTION_DIM = 7
MAX_STEPS = 400

#: Everything random about the model itself (Lift's cube size) is drawn once, with this seed, so that all
#: processes simulate the same model. Stock robosuite redraws the cube's size (by up to 10 %) at each hard reset.
_MODEL_SEED = 0
_MAX_SEED = 2**32 - 1


@dataclass(frozen=True)
class RobosuiteSpec:
    """One robosuite environment: its registered name, the body observed as `object`, and the words for it.

    `relative_orientation` says whether `object` ends with the object's full pose in the gripper's frame (14
    values, robomimic's Can and Square) or with the vector from object to gripper alone (10 values, Lift).
    """

    name: str
    env_name: str
    object_body: str
    relative_orientation: bool
    instruction: str


class RobosuiteTask:
    """Panda, OSC_POSE deltas, 20 Hz, 400 steps, sparse reward (robosuite 1.4.0; Zhu et al. 2020, arXiv 2009.12293).

    An action is (7,) in [-1, 1]: 3 translation deltas (1 = 5 cm), 3 rotation deltas (axis-angle, 1 = 0.5 rad),
    both in the world frame, then the gripper (negative opens, positive closes).

    Observations, float32: `robot0_eef_pos` (3,) m, `robot0_eef_quat` (4,) xyzw, `robot0_gripper_qpos` (2,) m,
    `object` (10,) or (14,): position, quaternion xyzw, then relative to the gripper (see `RobosuiteSpec`).
    They are read after the last substep; stock robosuite returns those of the first substep, 48 ms old.

    Raises TaskError for an unknown stepping, a key of another task, a seed outside 0..2^32-1, an action that is
    not seven finite numbers, a step outside an episode and an unknown camera; FloatingPointError when the
    simulation diverges.
    """

    control_hz = CONTROL_HZ
    action_dim = ACTION_DIM
    max_steps = MAX_STEPS
    cameras: tuple[str, ...] = ("agentview", "robot0_eye_in_hand")

    def __init__(self, spec: RobosuiteSpec, stepping: str = "fast") -> None:
        if stepping not in KINDS:
            raise TaskError(f"stepping is {stepping!r}; accepted: {', '.join(KINDS)}")
        self.name = spec.name
        self.instruction = spec.instruction
        self.observation_sizes: Mapping[str, int] = {
            "robot0_eef_pos": 3,
            "robot0_eef_quat": 4,
            "robot0_gripper_qpos": 2,
            "object": 14 if spec.relative_orientation else 10,
        }
        self._spec = spec
        self._env = _build(spec.env_name)
        self._model = self._env.sim.model._model
        self._data = self._env.sim.data._data
        self._stepper = make_stepper(self._env, stepping)
        self._find_indices()
        self._model_poses = (self._model.body_pos.copy(), self._model.body_quat.copy())
        self._renderer: OffscreenRenderer | None = None
        self._steps_left = 0

    def reset(self, key: EpisodeKey) -> Observation:
        """Start the episode that `key.env_seed` names; nothing that ran before has any influence on it."""
        if key.task != self.name:
            raise TaskError(f"the episode key is for task {key.task!r}; this task is {self.name!r}")
        if not 0 <= key.env_seed <= _MAX_SEED:
            raise TaskError(f"env_seed is {key.env_seed}; accepted: 0 to {_MAX_SEED}")
        env = self._env
        self._model.body_pos[:], self._model.body_quat[:] = self._model_poses
        env.sim.reset()
        # The gripper's ramped command outlives robosuite's own soft reset.
        env.robots[0].gripper.current_action = np.zeros(env.robots[0].gripper.dof)
        with _numpy_seed(key.env_seed):
            env._reset_internal()
        env.sim.forward()
        self._stepper.reset()
        self._steps_left = self.max_steps
        return self._observe()

    def step(self, action: np.ndarray) -> Step:
        """Advance 1/20 s. `action` is (7,), clipped to [-1, 1]; the reward is 1 at success, else 0."""
        if self._steps_left == 0:
            raise TaskError(f"task {self.name!r} has no episode under way; call reset(key) first")
        self._stepper.step(_checked_action(action))
        self._steps_left -= 1
        # mj_step leaves poses as they were before its own integration: bring them up to date.
        self._update_poses(self._model, self._data)
        success = bool(self._env._check_success())
        if success:
            self._steps_left = 0
        return Step(self._observe(), float(success), success, done=self._steps_left == 0)

    def frame(self, camera: str, size: int) -> np.ndarray:
        """The view of `camera` as (size, size, 3) uint8, upright. Needs a GL library from the first call on."""
        if camera not in self.cameras:
            raise TaskError(f"camera is {camera!r}; accepted: {', '.join(self.cameras)}")
        if self._renderer is None:
            from tasks.rendering import OffscreenRenderer  # not before: evaluation without videos needs no GL

            self._renderer = OffscreenRenderer(self._model)
        return self._renderer.frame(self._data, camera, size)

    def state_hash(self) -> str:
        """SHA-256 of the simulator's state and of the model's body poses and sizes; time is left out."""
        data, model = self._data, self._model
        digest = hashlib.sha256()
        for array in (data.qpos, data.qvel, data.act, data.mocap_pos, data.mocap_quat):
            digest.update(np.ascontiguousarray(array).tobytes())
        for array in (model.body_pos, model.body_quat, model.geom_size):
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()

    def close(self) -> None:
        """Free the renderer and the simulator; the task cannot be used afterwards."""
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None
        self._steps_left = 0
        self._env.close()

    def _find_indices(self) -> None:
        import mujoco  # after load_robosuite, which imports it without GL

        robot = self._env.robots[0]
        self._update_poses = mujoco.mj_kinematics
        self._eef_site = robot.eef_site_id
        self._eef_body = self._env.sim.model.body_name2id(robot.robot_model.eef_name)
        self._gripper_qpos = np.array(robot._ref_gripper_joint_pos_indexes)
        self._object_body = self._env.sim.model.body_name2id(self._spec.object_body)

    def _observe(self) -> Observation:
        data = self._data
        eef_pos = data.site_xpos[self._eef_site]
        eef_quat = data.xquat[self._eef_body]
        object_pos = data.xpos[self._object_body]
        object_quat = data.xquat[self._object_body]
        if self._spec.relative_orientation:
            relative = _pose_in_frame(object_pos, object_quat, eef_pos, eef_quat)
        else:
            relative = eef_pos - object_pos
        return {
            "robot0_eef_pos": eef_pos.astype(np.float32),
            "robot0_eef_quat": _xyzw(eef_quat).astype(np.float32),
            "robot0_gripper_qpos": data.qpos[self._gripper_qpos].astype(np.float32),
            "object": np.concatenate([object_pos, _xyzw(object_quat), relative]).astype(np.float32),
        }


def _build(env_name: str) -> Any:
    """The robosuite environment, with a fixed model and no renderer, reset once."""
    robosuite = load_robosuite()
    with _numpy_seed(_MODEL_SEED):
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
    _release_free_memory()
    return env


def _release_free_memory() -> None:
    """Hand what compiling the model has freed back to the system: some 40 MB for every environment of a process.

    glibc keeps it otherwise; where there is another C library there is nothing to do.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _checked_action(action: np.ndarray) -> np.ndarray:
    array = np.asarray(action, dtype=np.float64)
    if array.shape != (ACTION_DIM,):
        raise TaskError(f"action has shape {array.shape}; accepted: ({ACTION_DIM},)")
    if not np.isfinite(array).all():
        raise TaskError(f"action is {array.tolist()}; accepted: finite numbers only")
    return np.clip(array, -1.0, 1.0)


@contextmanager
def _numpy_seed(seed: int) -> Iterator[None]:
    """Seed numpy's global generator, robosuite's only source of chance, and give it back as it was."""
    before = np.random.get_state()  # noqa: NPY002 - robosuite knows no other generator
    np.random.seed(seed)  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(before)  # noqa: NPY002


def _xyzw(wxyz: np.ndarray) -> np.ndarray:
    """MuJoCo's (w, x, y, z) as robosuite's (x, y, z, w)."""
    return wxyz[[1, 2, 3, 0]]


def _pose_in_frame(pos: np.ndarray, quat: np.ndarray, frame_pos: np.ndarray, frame_quat: np.ndarray) -> np.ndarray:
    """A world pose in another frame: (7,), position then quaternion xyzw with w >= 0. Quaternions in are wxyz."""
    w, axis = frame_quat[0], -frame_quat[1:]
    offset = pos - frame_pos
    turn = 2.0 * np.cross(axis, offset)
    relative_pos = offset + w * turn + np.cross(axis, turn)
    relative_w = w * quat[0] - axis @ quat[1:]
    relative_axis = w * quat[1:] + quat[0] * axis + np.cross(axis, quat[1:])
    sign = 1.0 if relative_w >= 0.0 else -1.0
    return np.concatenate([relative_pos, sign * relative_axis, [sign * relative_w]])
