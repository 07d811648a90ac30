"""The base of all tasks here: one Panda under OSC_POSE at 20 Hz, in a robosuite environment that is built once."""

from __future__ import annotations

import ctypes
import hashlib
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tasks.packages import versions
from tasks.proprioception import proprioception
from tasks.random_state import seeded
from tasks.saved_simulation import SavedSimulation, restore_simulation, save_simulation
from tasks.stepping import make_stepper
from tasks.task import ArraySpec, EpisodeKey, Observation, ObservationRequest, Outcome, TaskError, TaskSpec

if TYPE_CHECKING:
    from tasks.rendering import OffscreenRenderer

CONTROL_HZ = 20
ACTION = ArraySpec((7,), low=-1.0, high=1.0)
CAMERAS = ("agentview", "robot0_eye_in_hand")
_MAX_SEED = 2**32 - 1
#: How each orientation indexes an image as OpenGL draws it, bottom row first.
_ORIENTATIONS = {
    "upright": np.s_[::-1, :],
    "opengl": np.s_[:, :],
    "rotated": np.s_[::-1, ::-1],
}


@dataclass(frozen=True, eq=False)
class _SavedEpisode:
    """A state of the episode that the token `episode` stands for."""

    episode: object
    steps_left: int
    simulation: SavedSimulation


class PandaTask(ABC):
    """A `Task` over a built environment; a subclass defines `object` and where an episode starts.

    An action is (7,) in [-1, 1]: 3 translation deltas (1 = 5 cm), 3 rotation deltas (axis-angle, 1 = 0.5 rad),
    both in the world frame, then the gripper (negative opens, positive closes). The reward is sparse.

    Observations: the vectors of `tasks.proprioception` and `object`, which each subclass documents, as float32; the
    images "agentview_image" and "robot0_eye_in_hand_image", (size, size, 3) uint8; "instruction", a string. All show
    the state after the last substep; stock robosuite returns the state after the first, which is 48 ms older.

    Raises TaskError for an unknown stepping, a key of another task, a seed outside 0 to 2^32 - 1, an action that is
    not seven finite numbers, a step outside an episode, an unknown observation, an unknown camera and a saved state of
    another episode, and FloatingPointError if the simulation diverges.
    """

    #: Actions (n, 7) executed between a start and the first observation.
    settling = np.zeros((0, *ACTION.shape))
    #: Packages whose versions the simulation depends on.
    packages: tuple[str, ...] = ("mujoco", "robosuite")
    #: How far the hand moves and turns for an action, relative to what is documented above.
    gain = 1.0
    #: How many starts the benchmark publishes.
    published_starts: int | None = None

    def __init__(self, name: str, instruction: str, max_steps: int, env: Any, stepping: str) -> None:
        import mujoco  # after load_robosuite, which imports it without GL

        self._update_poses = mujoco.mj_kinematics
        self._env = env
        self._model = env.sim.model._model
        self._data = env.sim.data._data
        self._stepper = make_stepper(env, stepping)
        self._model_poses = (self._model.body_pos.copy(), self._model.body_quat.copy())
        self._colliding = colliding_geoms(self._model)
        self._renderer: OffscreenRenderer | None = None
        self._steps_left = 0
        self._episode = object()
        self._vectors = {**proprioception(env), "object": self._object}
        self.spec = TaskSpec(
            name=name,
            instruction=instruction,
            max_steps=max_steps,
            control_hz=CONTROL_HZ,
            action=ACTION,
            observations={name: ArraySpec(read().shape) for name, read in self._vectors.items()},
            cameras=CAMERAS,
            published_starts=self.published_starts,
            packages=versions(self.packages),
        )

    # What a subclass adds --------------------------------------------------------------------------------

    @abstractmethod
    def _object(self) -> np.ndarray:
        """The current `object` observation."""

    def _start(self, key: EpisodeKey) -> None:
        """Place everything where the key's episode starts; the global generators are seeded with `env_seed`."""
        self._env._reset_internal()

    def _refresh(self) -> None:
        """Update what is read between steps: mj_step leaves poses as they were before it integrated."""
        self._update_poses(self._model, self._data)

    # The protocol ----------------------------------------------------------------------------------------

    def reset(self, key: EpisodeKey) -> None:
        """Start the episode that `key.env_seed` names; nothing that ran before influences it."""
        if key.task != self.spec.name:
            raise TaskError(f"the episode key is for task {key.task!r}; this task is {self.spec.name!r}")
        if not 0 <= key.env_seed <= _MAX_SEED:
            raise TaskError(f"env_seed is {key.env_seed}; accepted: 0 to {_MAX_SEED}")
        self._steps_left = 0
        self._episode = object()
        env = self._env
        self._model.body_pos[:], self._model.body_quat[:] = self._model_poses
        env.sim.reset()
        # robosuite's soft reset does not reset the gripper's ramped command.
        env.robots[0].gripper.current_action = np.zeros(env.robots[0].gripper.dof)
        with seeded(key.env_seed):
            self._start(key)
        env.sim.forward()
        self._stepper.reset()
        for action in self.settling:
            self._stepper.step(action)
        self._refresh()
        self._steps_left = self.spec.max_steps

    def step(self, action: np.ndarray) -> Outcome:
        """Advance 1/20 s. `action` is (7,), clipped to [-1, 1]; the reward is 1 at success, else 0."""
        if self._steps_left == 0:
            raise TaskError(f"task {self.spec.name!r} has no episode under way; call reset(key) first")
        commanded = _checked_action(action)
        commanded[:-1] *= self.gain
        self._stepper.step(commanded)
        self._steps_left -= 1
        self._refresh()
        success = bool(self._env._check_success())
        if success:
            self._steps_left = 0
        return Outcome(float(success), success, done=self._steps_left == 0)

    def observe(self, request: ObservationRequest) -> Observation:
        """The current observations in `request.names`; nothing else is computed or drawn."""
        return {name: self._observed(name, request) for name in request.names}

    def frame(self, camera: str, size: int) -> np.ndarray:
        """The view of `camera`, (size, size, 3) uint8, upright. Needs a GL library."""
        if camera not in CAMERAS:
            raise TaskError(f"camera is {camera!r}; accepted: {', '.join(CAMERAS)}")
        return np.ascontiguousarray(self._drawing().draw(self._data, camera, size)[::-1])

    def state_hash(self) -> str:
        """Hex SHA-256 of the simulator's state without time, the body poses and the sizes of geoms that can collide."""
        data, model = self._data, self._model
        digest = hashlib.sha256()
        for array in (data.qpos, data.qvel, data.act, data.mocap_pos, data.mocap_quat):
            digest.update(np.ascontiguousarray(array).tobytes())
        for array in (model.body_pos, model.body_quat, model.geom_size[self._colliding]):
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()

    def save(self) -> _SavedEpisode:
        """The state of the episode under way, for `restore`."""
        return _SavedEpisode(self._episode, self._steps_left, save_simulation(self._env))

    def restore(self, state: _SavedEpisode) -> None:
        """Go back to `state`, also from beyond the episode's end. Takes under 0.1 ms."""
        if state.episode is not self._episode:
            raise TaskError(f"the saved state is not of the present episode of task {self.spec.name!r}")
        restore_simulation(self._env, state.simulation)
        self._steps_left = state.steps_left
        self._refresh()

    def close(self) -> None:
        """Free the renderer and the simulator; the task cannot be used afterwards."""
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None
        self._steps_left = 0
        self._env.close()

    def _observed(self, name: str, request: ObservationRequest) -> np.ndarray | str:
        if name in self._vectors:
            return self._vectors[name]().astype(np.float32)
        if name == "instruction":
            return self.spec.instruction
        camera = name.removesuffix("_image")
        if camera == name or camera not in CAMERAS:
            images = (f"{camera}_image" for camera in CAMERAS)
            raise TaskError(f"observation is {name!r}; accepted: {', '.join((*self._vectors, *images, 'instruction'))}")
        if request.image_orientation not in _ORIENTATIONS:
            raise TaskError(f"image_orientation is {request.image_orientation!r}; accepted: {', '.join(_ORIENTATIONS)}")
        drawn = self._drawing().draw(
            self._data, camera, request.image_size, reflections=request.reflections, multisampling=request.multisampling
        )
        return np.ascontiguousarray(drawn[_ORIENTATIONS[request.image_orientation]])

    def _drawing(self) -> OffscreenRenderer:
        if self._renderer is None:
            from tasks.rendering import OffscreenRenderer  # imported late: evaluation without images needs no GL

            self._renderer = OffscreenRenderer(self._model)
        return self._renderer


def colliding_geoms(model: Any) -> np.ndarray:
    """Which geoms can collide, (ngeom,) bool. The others are only visual."""
    colliding: np.ndarray = (model.geom_contype != 0) | (model.geom_conaffinity != 0)
    colliding[model.pair_geom1] = colliding[model.pair_geom2] = True
    return colliding


def release_free_memory() -> None:
    """Return the memory freed by compiling the model to the system: about 40 MB per environment.

    glibc would keep it. Other C libraries need no such call.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _checked_action(action: np.ndarray) -> np.ndarray:
    array = np.asarray(action, dtype=np.float64)
    if array.shape != ACTION.shape:
        raise TaskError(f"action has shape {array.shape}; accepted: {ACTION.shape}")
    if not np.isfinite(array).all():
        raise TaskError(f"action is {array.tolist()}; accepted: finite numbers only")
    return np.clip(array, -1.0, 1.0)
