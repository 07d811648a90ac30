"""What all tasks of the suite share: one MuJoCo model, built once, behind the protocol of `tasks.task.Task`."""

from __future__ import annotations

import ctypes
import hashlib
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tasks.checks import camera_of, check_camera, check_key, check_under_way, checked_action, turned
from tasks.task import EpisodeKey, Observation, ObservationRequest, Outcome, TaskError, TaskSpec

if TYPE_CHECKING:
    from tasks.rendering import OffscreenRenderer


class Advanced(NamedTuple):
    """What a control step led to, before the step limit. `ended`: the task ends the episode here.

    `goals_met`: as in `Outcome`.
    """

    reward: float
    success: bool
    ended: bool
    goals_met: float | None = None


@dataclass(frozen=True, eq=False)
class _SavedEpisode:
    """A state of the episode that the token `episode` stands for."""

    episode: object
    steps_left: int
    simulation: Any


class SimulatedTask(ABC):
    """A `Task` over a MuJoCo model; a subclass starts and advances its simulation.

    A subclass sets `spec`, `_model` and `_data` (MuJoCo's), and `_vectors`, name to a function that reads the vector.
    Images are (size, size, 3) uint8.

    Raises TaskError for a key of another task, a seed outside 0 to 2^32 - 1, an action of another size or with
    entries that are not finite, a step outside an episode, an unknown observation, an unknown camera and a saved state
    of another episode.
    """

    spec: TaskSpec
    _model: Any
    _data: Any
    _vectors: Mapping[str, Callable[[], np.ndarray]]
    #: Group of the geoms that pictures leave out.
    hidden_group = 0

    def __init__(self) -> None:
        self._renderer: OffscreenRenderer | None = None
        self._steps_left = 0
        self._episode = object()

    # What a subclass adds --------------------------------------------------------------------------------

    @abstractmethod
    def _begin(self, key: EpisodeKey) -> None:
        """Put the simulation where the key's episode starts, whatever ran before."""

    @abstractmethod
    def _advance(self, action: np.ndarray) -> Advanced:
        """Advance one control step under the checked action (D,)."""

    @abstractmethod
    def _hashed(self) -> Iterable[np.ndarray]:
        """The arrays that distinguish one start from another."""

    @abstractmethod
    def _save(self) -> Any:
        """A copy of all that the next control step depends on."""

    @abstractmethod
    def _restore(self, simulation: Any) -> None:
        """Go back to what `_save` returned."""

    @abstractmethod
    def _free(self) -> None:
        """Free the simulator."""

    def _view(self, camera: str) -> Any:
        """What the renderer takes for one of `spec.cameras`: its name in the model, or a MuJoCo camera."""
        return camera

    # The protocol ----------------------------------------------------------------------------------------

    def reset(self, key: EpisodeKey) -> None:
        """Start the episode that `key.env_seed` names; nothing that ran before influences it."""
        check_key(self.spec, key)
        self._steps_left = 0
        self._episode = object()
        self._begin(key)
        self._steps_left = self.spec.max_steps

    def step(self, action: np.ndarray) -> Outcome:
        """Advance one control step. `action` is (D,), clipped to [-1, 1]."""
        check_under_way(self.spec, self._steps_left)
        advanced = self._advance(checked_action(self.spec, action))
        self._steps_left = 0 if advanced.ended else self._steps_left - 1
        return Outcome(advanced.reward, advanced.success, self._steps_left == 0, advanced.goals_met)

    def observe(self, request: ObservationRequest) -> Observation:
        """The current observations in `request.names`; nothing else is computed or drawn."""
        return {name: self._observed(name, request) for name in request.names}

    def frame(self, camera: str, size: int) -> np.ndarray:
        """The view of `camera`, (size, size, 3) uint8, upright. Needs a GL library."""
        check_camera(self.spec, camera)
        return np.ascontiguousarray(self._drawing().draw(self._data, self._view(camera), size)[::-1])

    def state_hash(self) -> str:
        """Hex SHA-256 of the state; each class says of which parts."""
        digest = hashlib.sha256()
        for array in self._hashed():
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()

    def save(self) -> _SavedEpisode:
        """The state of the episode under way, for `restore`."""
        return _SavedEpisode(self._episode, self._steps_left, self._save())

    def restore(self, state: _SavedEpisode) -> None:
        """Go back to `state`, also from beyond the episode's end."""
        if state.episode is not self._episode:
            raise TaskError(f"the saved state is not of the present episode of task {self.spec.name!r}")
        self._restore(state.simulation)
        self._steps_left = state.steps_left

    def close(self) -> None:
        """Free the renderer and the simulator; the task cannot be used afterwards."""
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None
        self._steps_left = 0
        self._free()

    def _observed(self, name: str, request: ObservationRequest) -> np.ndarray | str:
        if name in self._vectors:
            return self._vectors[name]().astype(np.float32)
        if name == "instruction":
            return self.spec.instruction
        camera = camera_of(self.spec, name)
        shine = {"reflections": request.reflections, "multisampling": request.multisampling}
        drawn = self._drawing().draw(self._data, self._view(camera), request.image_size, **shine)
        return turned(drawn, request.image_orientation)

    def _drawing(self) -> OffscreenRenderer:
        if self._renderer is None:
            from tasks.rendering import OffscreenRenderer  # imported late: evaluation without images needs no GL

            self._renderer = OffscreenRenderer(self._model, self.hidden_group)
        return self._renderer


def release_free_memory() -> None:
    """Return the memory freed by compiling the model to the system: about 40 MB per environment.

    glibc would keep it. Other C libraries need no such call.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def release_asset_cache() -> None:
    """Free the decoded textures and meshes that MuJoCo keeps for the next model: 0.1 to 0.5 GB in each process.

    Call it when all environments of a process are built: with them, another one of the same scene takes a fifth of
    the time.
    """
    mujoco = sys.modules.get("mujoco")  # a task without MuJoCo has not imported it
    if mujoco is not None:
        mujoco.mj_clearCache(mujoco.mj_getCache())
        release_free_memory()
