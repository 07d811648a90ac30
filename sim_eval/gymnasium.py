"""The suite's tasks as Gymnasium environments: `gymnasium.make("sim_eval/Can-v0")` after `import sim_eval.gymnasium`.

Gymnasium 1 looks for no plugins. Without the import, name the module: "sim_eval.gymnasium:sim_eval/Can-v0".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from policies.observation import ObservationRequest
from tasks.checks import MAX_SEED
from tasks.naming import ANY_ROBOSUITE, OGBENCH
from tasks.registry import make, names
from tasks.task import ArraySpec, EpisodeKey, Task, TaskError


def _written(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))


#: Id to task: `sim_eval/LiberoGoal-v0` is "libero_goal".
IDS = {f"sim_eval/{_written(name)}-v0": name for name in (*names(), ANY_ROBOSUITE)} | {"sim_eval/OGBench-v0": OGBENCH}


class TaskEnv(gymnasium.Env[dict[str, Any], np.ndarray]):
    """One of the suite's tasks.

    `reset(seed=S)` starts the episode whose `env_seed` is S, 0 to 2^32 - 1; of LIBERO 0 to 49 are the published starts.
    The start is that of every record with this `env_seed`, and `start_hash` is that record's `state_hash`. Without a
    seed, the environment's generator draws one. An episode's `noise_seed` belongs to the sampler and has no part here.

    An action is the task's, (D,) float32 in [-1, 1]. An observation maps names to vectors, float32, and to pictures,
    (size, size, 3) uint8. An episode terminates at success, and is truncated at the task's step limit. `info` has
    "start_hash", "success", "instruction" and "env_seed"; `task_spec` is the task's `TaskSpec`.

    name: the task; options: of `tasks.make`, such as `index`. observations: names; None for all vectors. image_size,
    image_orientation: as in `ObservationRequest`. camera, render_size: of `render`; None for the task's first camera.

    Raises TaskError for what the task does not accept, and ValueError as `ObservationRequest`.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 20}  # noqa: RUF012

    def __init__(
        self,
        name: str,
        *,
        observations: Sequence[str] | None = None,
        image_size: int = 128,
        image_orientation: str = "upright",
        camera: str | None = None,
        render_size: int = 256,
        render_mode: str | None = None,
        **options: Any,
    ) -> None:
        if render_mode not in (None, "rgb_array"):
            raise TaskError(f"render_mode is {render_mode!r}; accepted: None, 'rgb_array'")
        self.render_mode = render_mode
        self._task: Task = make(name, **options)
        self._closed = False
        self.task_spec = spec = self._task.spec
        wanted = tuple(spec.observations) if observations is None else tuple(observations)
        self._request = ObservationRequest(wanted, image_size, image_orientation)
        self._camera, self._render_size = camera or spec.cameras[0], render_size
        self._start: dict[str, Any] = {}
        self.metadata = {**self.metadata, "render_fps": spec.control_hz}
        self.observation_space = spaces.Dict({name: self._space_of(name) for name in wanted})
        self.action_space = _box(spec.action)

    def reset(
        self, *, seed: int | None = None, options: Mapping[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Start an episode. `options` are ignored."""
        super().reset(seed=seed)
        env_seed = int(self.np_random.integers(MAX_SEED, endpoint=True)) if seed is None else seed
        self._task.reset(EpisodeKey(self.task_spec.name, 0, env_seed, 0))
        self._start = {
            "start_hash": self._task.state_hash(),
            "instruction": self.task_spec.instruction,
            "env_seed": env_seed,
        }
        return self._observation(), {**self._start, "success": False}

    def step(self, action: np.ndarray) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        """Advance one control step."""
        outcome = self._task.step(action)
        terminated, truncated = outcome.done and outcome.success, outcome.done and not outcome.success
        info = {**self._start, "success": outcome.success}
        return self._observation(), float(outcome.reward), terminated, truncated, info

    def render(self) -> np.ndarray | None:
        """The view of the camera, (size, size, 3) uint8; None without `render_mode`."""
        return None if self.render_mode is None else self._task.frame(self._camera, self._render_size)

    def close(self) -> None:
        """Free the simulator; again, does nothing."""
        if not self._closed:
            self._closed = True
            self._task.close()

    def _observation(self) -> dict[str, Any]:
        return dict(self._task.observe(self._request))

    def _space_of(self, name: str) -> spaces.Box:
        spec, size = self.task_spec, self._request.image_size
        if name in spec.observations:
            return _box(spec.observations[name])
        if name.removesuffix("_image") in spec.cameras and name.endswith("_image"):
            return spaces.Box(0, 255, (size, size, 3), np.uint8)
        offered = (*spec.observations, *(f"{camera}_image" for camera in spec.cameras))
        raise TaskError(f"observations has {name!r}; accepted: {', '.join(offered)} (the instruction is in info)")


def _box(spec: ArraySpec) -> spaces.Box:
    low = -np.inf if spec.low is None else spec.low
    high = np.inf if spec.high is None else spec.high
    return spaces.Box(low, high, spec.shape, np.dtype(spec.dtype).type)


for _id, _name in IDS.items():
    # The task counts its own steps: its limit depends on its options.
    gymnasium.register(_id, f"{__name__}:{TaskEnv.__name__}", kwargs={"name": _name})
