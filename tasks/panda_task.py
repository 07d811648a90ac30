"""What every task here shares: one Panda under OSC_POSE at 20 Hz in a robosuite environment that is built once."""

from __future__ import annotations

import ctypes
import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from tasks.stepping import make_stepper
from tasks.task import EpisodeKey, Observation, Step, TaskError

if TYPE_CHECKING:
    from tasks.rendering import OffscreenRenderer

CONTROL_HZ = 20
ACTION_DIM = 7
_MAX_SEED = 2**32 - 1


class PandaTask(ABC):
    """The `Task` protocol over a built environment; a subclass says what `object` is and where an episode starts.

    An action is (7,) in [-1, 1]: 3 translation deltas (1 = 5 cm), 3 rotation deltas (axis-angle, 1 = 0.5 rad),
    both in the world frame, then the gripper (negative opens, positive closes). The reward is sparse.

    Observations, float32: `robot0_eef_pos` (3,) m, `robot0_eef_quat` (4,) xyzw, `robot0_gripper_qpos` (2,) m,
    and `object`, which each subclass documents. They are read after the last substep; stock robosuite returns
    those of the first substep, 48 ms old.

    Raises TaskError for an unknown stepping, a key of another task, a seed outside 0..2^32-1, an action that is
    not seven finite numbers, a step outside an episode and an unknown camera; FloatingPointError when the
    simulation diverges.
    """

    control_hz = CONTROL_HZ
    action_dim = ACTION_DIM
    cameras: tuple[str, ...] = ("agentview", "robot0_eye_in_hand")
    #: Actions executed between a start and the first observation, (n, 7).
    settling = np.zeros((0, ACTION_DIM))

    def __init__(self, name: str, instruction: str, max_steps: int, env: Any, stepping: str) -> None:
        self.name = name
        self.instruction = instruction
        self.max_steps = max_steps
        self._env = env
        self._model = env.sim.model._model
        self._data = env.sim.data._data
        self._stepper = make_stepper(env, stepping)
        self._find_robot()
        self._model_poses = (self._model.body_pos.copy(), self._model.body_quat.copy())
        self._renderer: OffscreenRenderer | None = None
        self._steps_left = 0
        self._colliding = colliding_geoms(self._model)
        self.observation_sizes: Mapping[str, int] = {
            "robot0_eef_pos": 3,
            "robot0_eef_quat": 4,
            "robot0_gripper_qpos": 2,
            "object": self._object_size(),
        }

    # What a subclass adds --------------------------------------------------------------------------------

    @abstractmethod
    def _object_size(self) -> int:
        """Length of `object`."""

    @abstractmethod
    def _object(self, eef_pos: np.ndarray, eef_quat: np.ndarray) -> np.ndarray:
        """The `object` observation, given the gripper's site (3,) m and body orientation (4,) wxyz."""

    def _start(self, key: EpisodeKey) -> None:
        """Put everything where the key's episode starts; numpy's global generator is seeded with `env_seed`."""
        self._env._reset_internal()

    def _refresh(self) -> None:
        """Bring what is read between steps up to date: mj_step leaves poses as they were before it integrated."""
        self._update_poses(self._model, self._data)

    # The protocol ----------------------------------------------------------------------------------------

    def reset(self, key: EpisodeKey) -> Observation:
        """Start the episode that `key.env_seed` names; nothing that ran before has any influence on it."""
        if key.task != self.name:
            raise TaskError(f"the episode key is for task {key.task!r}; this task is {self.name!r}")
        if not 0 <= key.env_seed <= _MAX_SEED:
            raise TaskError(f"env_seed is {key.env_seed}; accepted: 0 to {_MAX_SEED}")
        self._steps_left = 0
        env = self._env
        self._model.body_pos[:], self._model.body_quat[:] = self._model_poses
        env.sim.reset()
        # The gripper's ramped command outlives robosuite's own soft reset.
        env.robots[0].gripper.current_action = np.zeros(env.robots[0].gripper.dof)
        with numpy_seed(key.env_seed):
            self._start(key)
        env.sim.forward()
        self._stepper.reset()
        for action in self.settling:
            self._stepper.step(action)
        self._refresh()
        self._steps_left = self.max_steps
        return self._observe()

    def step(self, action: np.ndarray) -> Step:
        """Advance 1/20 s. `action` is (7,), clipped to [-1, 1]; the reward is 1 at success, else 0."""
        if self._steps_left == 0:
            raise TaskError(f"task {self.name!r} has no episode under way; call reset(key) first")
        self._stepper.step(_checked_action(action))
        self._steps_left -= 1
        self._refresh()
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
        """SHA-256 of the simulator's state, the body poses and the sizes of geoms that can collide; without time."""
        data, model = self._data, self._model
        digest = hashlib.sha256()
        for array in (data.qpos, data.qvel, data.act, data.mocap_pos, data.mocap_quat):
            digest.update(np.ascontiguousarray(array).tobytes())
        for array in (model.body_pos, model.body_quat, model.geom_size[self._colliding]):
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()

    def close(self) -> None:
        """Free the renderer and the simulator; the task cannot be used afterwards."""
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None
        self._steps_left = 0
        self._env.close()

    def _find_robot(self) -> None:
        import mujoco  # after load_robosuite, which imports it without GL

        robot = self._env.robots[0]
        self._update_poses = mujoco.mj_kinematics
        self._eef_site = robot.eef_site_id
        self._eef_body = self._env.sim.model.body_name2id(robot.robot_model.eef_name)
        self._gripper_qpos = np.array(robot._ref_gripper_joint_pos_indexes)

    def _observe(self) -> Observation:
        data = self._data
        eef_pos = data.site_xpos[self._eef_site]
        eef_quat = data.xquat[self._eef_body]
        return {
            "robot0_eef_pos": eef_pos.astype(np.float32),
            "robot0_eef_quat": xyzw(eef_quat).astype(np.float32),
            "robot0_gripper_qpos": data.qpos[self._gripper_qpos].astype(np.float32),
            "object": self._object(eef_pos, eef_quat).astype(np.float32),
        }


@contextmanager
def numpy_seed(seed: int) -> Iterator[None]:
    """Seed numpy's global generator, robosuite's only source of chance, and give it back as it was."""
    before = np.random.get_state()  # noqa: NPY002 - robosuite knows no other generator
    np.random.seed(seed)  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(before)  # noqa: NPY002


def xyzw(wxyz: np.ndarray) -> np.ndarray:
    """MuJoCo's (w, x, y, z) as robosuite's (x, y, z, w)."""
    return wxyz[[1, 2, 3, 0]]


def colliding_geoms(model: Any) -> np.ndarray:
    """Which geoms can touch anything, (ngeom,) bool. The others are there for the eye alone."""
    colliding: np.ndarray = (model.geom_contype != 0) | (model.geom_conaffinity != 0)
    colliding[model.pair_geom1] = colliding[model.pair_geom2] = True
    return colliding


def release_free_memory() -> None:
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
