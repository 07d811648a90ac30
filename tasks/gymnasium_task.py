"""A registered Gymnasium environment as a `Task`."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import importlib.metadata
import os
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from tasks.checks import camera_of, check_camera, check_key, check_under_way, checked_action, turned
from tasks.packages import versions
from tasks.task import ArraySpec, EpisodeKey, Observation, ObservationRequest, Outcome, Task, TaskError, TaskSpec

#: What success may be besides a key of `info`.
TERMINATED, RETURN = "terminated", "return"
#: The name of an observation that is one array, and of the camera that `render` is.
STATE, RENDER = "state", "render"
#: Control steps a second where the environment names none.
_CONTROL_HZ = 20


def environment_spec(id: object) -> Any:
    """Gymnasium's `EnvSpec` of an id, such as "Reacher-v5" or "module:Name-v0", which imports the module first.

    Raises TaskError if Gymnasium is not installed, and for an id that is not registered.
    """
    if not isinstance(id, str) or not id:
        raise TaskError(f"id is {id!r}; accepted for gymnasium: a registered id, such as Reacher-v5 or module:Name-v0")
    try:
        gymnasium = importlib.import_module("gymnasium")
    except ImportError as error:
        raise TaskError(f'gymnasium cannot be imported ({error}); pip install "sim-eval[gymnasium]"') from None
    module, _, name = id.rpartition(":")
    try:
        if module:
            importlib.import_module(module)
        return gymnasium.spec(name)
    except (gymnasium.error.Error, ImportError) as error:
        raise TaskError(f"id is {id!r}: {error}") from None


def known_limit(id: object, max_steps: int | None) -> int:
    """Control steps of an episode: `max_steps`, else those that the id is registered with. Raises TaskError if none."""
    limit = max_steps or environment_spec(id).max_episode_steps
    if limit is None:
        raise TaskError(f"id {id!r} is registered without a limit of steps; give task.max_steps=N")
    return int(limit)


def check_options(
    id: object, success: object, threshold: object = None, max_steps: object = None, kwargs: object = None
) -> None:
    """Raise TaskError for options from which no task can be made; imports Gymnasium and the id's module."""
    spec = environment_spec(id)
    if not isinstance(success, str) or not success:
        raise TaskError(f"success is {success!r}; accepted for gymnasium: a key of info, {TERMINATED}, {RETURN}")
    if threshold is not None and (isinstance(threshold, bool) or not isinstance(threshold, int | float)):
        raise TaskError(f"threshold is {threshold!r}; accepted: a number")
    if threshold is not None and success != RETURN:
        raise TaskError(f"threshold is {threshold}, and success is {success!r}; accepted with success={RETURN} alone")
    if success == RETURN and threshold is None and spec.reward_threshold is None:
        raise TaskError(f"id {id!r} is registered without a reward threshold; give task.threshold=NUMBER")
    if max_steps is not None and (isinstance(max_steps, bool) or not isinstance(max_steps, int) or max_steps < 1):
        raise TaskError(f"max_steps is {max_steps!r}; accepted: a whole number of at least 1")
    if kwargs is not None and not isinstance(kwargs, Mapping):
        raise TaskError(f"kwargs is {kwargs!r}; accepted: keywords of the environment, task.kwargs.NAME=VALUE")
    known_limit(id, max_steps)


class GymnasiumTask:
    """The environment `gymnasium.make(id, **kwargs)`.

    An action is (D,) in [-1, 1], stretched to the bounds of the environment's Box, whatever its shape.

    Observations: a Box is `state`, the entries of a Dict have their own names, those of a Dict inside it `outer.inner`;
    float32, flattened. An entry of pictures, (H, W, 3) uint8, is a camera, and `render` is another where the
    environment can draw into an array; pictures are padded to squares and resized.

    A start is `reset(seed=env_seed)`. `state_hash` is of the observation alone: it vouches for no more than the
    environment shows. `save` and `restore` raise TaskError.

    success: a key of `info`, which counts where it is true; "terminated", where the environment ends the episode other
    than by a limit; "return", where the rewards add up to `threshold` at least when it ends, None for what the id is
    registered with. An episode ends at success, at the environment's own end, and after `max_steps`, None for what the
    id is registered with.

    Raises TaskError for spaces of other kinds, actions without bounds, and as `SimulatedTask`.
    """

    def __init__(
        self,
        name: str,
        id: str,
        success: str,
        threshold: float | None = None,
        max_steps: int | None = None,
        kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        registered = environment_spec(id)
        self._env = env = _build(id, {**({"max_episode_steps": max_steps} if max_steps else {}), **(kwargs or {})})
        self._success = success
        self._threshold = registered.reward_threshold if threshold is None else threshold
        self._low, self._high = _bounds(env.action_space)
        arrays = dict(_entries(env.observation_space))
        pictures = [name for name, space in arrays.items() if _is_picture(space)]
        self._seen: dict[str, np.ndarray] = {}
        self._return, self._steps_left, self._told = 0.0, 0, False
        self.spec = TaskSpec(
            name=name,
            instruction=id.rpartition(":")[2],
            max_steps=known_limit(id, max_steps),
            control_hz=round(env.metadata.get("render_fps") or _CONTROL_HZ),
            action=ArraySpec((self._low.size,), low=-1.0, high=1.0),
            observations={
                name: ArraySpec((int(np.prod(space.shape)),)) for name, space in arrays.items() if name not in pictures
            },
            cameras=(*([RENDER] if env.render_mode == "rgb_array" else []), *pictures),
            packages=versions(_packages(registered)),
        )

    def reset(self, key: EpisodeKey) -> None:
        """Start the episode that `key.env_seed` names, as far as the environment's own `reset` does."""
        check_key(self.spec, key)
        observation, _ = self._env.reset(seed=key.env_seed)
        self._see(observation)
        self._return, self._steps_left, self._told = 0.0, self.spec.max_steps, False

    def step(self, action: np.ndarray) -> Outcome:
        """Advance one control step. `action` is (D,), clipped to [-1, 1]."""
        check_under_way(self.spec, self._steps_left)
        share = (checked_action(self.spec, action).reshape(self._low.shape) + 1.0) / 2.0
        box = self._env.action_space
        executed = np.clip(self._low + share * (self._high - self._low), self._low, self._high).astype(box.dtype)
        observation, reward, terminated, truncated, info = self._env.step(executed)
        self._see(observation)
        self._return += float(reward)
        self._steps_left -= 1
        ended = bool(terminated) or bool(truncated) or self._steps_left == 0
        success = self._judged(bool(terminated), ended, info)
        if ended or success:
            self._steps_left = 0
        return Outcome(float(reward), success, done=ended or success)

    def observe(self, request: ObservationRequest) -> Observation:
        """The current observations in `request.names`; `render` draws only if it is among them."""
        return {name: self._observed(name, request) for name in request.names}

    def frame(self, camera: str, size: int) -> np.ndarray:
        """The environment's own picture or one of its observations, (size, size, 3) uint8, upright."""
        check_camera(self.spec, camera)
        return _squared(self._drawn() if camera == RENDER else self._seen[camera], size)

    def state_hash(self) -> str:
        """Hex SHA-256 of the latest observation."""
        digest = hashlib.sha256()
        for name, array in self._seen.items():
            digest.update(name.encode() + np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()

    save, restore = Task.save, Task.restore

    def close(self) -> None:
        """Close the environment."""
        self._steps_left = 0
        self._env.close()

    def _see(self, observation: Any) -> None:
        """Copy what the environment returned: it may use the arrays again."""
        self._seen = {name: np.array(value) for name, value in _values(observation)}

    def _judged(self, terminated: bool, ended: bool, info: Mapping[str, Any]) -> bool:
        if self._success == TERMINATED:
            return terminated
        if self._success == RETURN:
            return ended and self._return >= self._threshold
        self._told = self._told or self._success in info
        if ended and not self._told:
            has = ", ".join(map(str, info)) or "nothing"
            raise TaskError(f"success is {self._success!r}, which info never had in an episode; it has {has}")
        return bool(info.get(self._success, False))

    def _observed(self, name: str, request: ObservationRequest) -> np.ndarray | str:
        if name in self.spec.observations:
            return self._seen[name].astype(np.float32).reshape(-1)
        if name == "instruction":
            return self.spec.instruction
        upright = self.frame(camera_of(self.spec, name), request.image_size)
        return turned(upright[::-1], request.image_orientation)

    def _drawn(self) -> np.ndarray:
        # Gymnasium takes its GL context for the current one, which another environment's may be: it would draw black.
        viewer = getattr(getattr(self._env.unwrapped, "mujoco_renderer", None), "viewer", None)
        if viewer is not None:
            viewer.make_context_current()
        with _without_screen():
            drawn = self._env.render()
        return np.asarray(drawn)


def _build(id: str, keywords: Mapping[str, Any]) -> Any:
    """The environment; with `render_mode` where it can draw into an array, which only the environment itself says."""
    import gymnasium

    env = gymnasium.make(id, disable_env_checker=True, **keywords)
    if "render_mode" in keywords or "rgb_array" not in env.metadata.get("render_modes", ()):
        return env
    env.close()
    return gymnasium.make(id, disable_env_checker=True, render_mode="rgb_array", **keywords)


def _bounds(space: Any) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest action. Raises TaskError for what is no Box, and for one without bounds."""
    if not hasattr(space, "low"):
        raise TaskError(f"the environment's actions are {space}; accepted: a Box")
    low, high = np.asarray(space.low, np.float64), np.asarray(space.high, np.float64)
    if not (np.isfinite(low).all() and np.isfinite(high).all()):
        raise TaskError(
            f"the environment's actions are {space}; accepted: a Box with bounds, as gymnasium.wrappers give"
        )
    return low, high


def _entries(space: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Name and space of each array of an observation. Raises TaskError for a space that is none."""
    if hasattr(space, "spaces") and isinstance(space.spaces, Mapping):
        for key, inner in space.spaces.items():
            yield from _entries(inner, _joined(name, key))
    elif space.shape is None:
        raise TaskError(f"the environment's observation {name or STATE} is {space}; accepted: Box, or a Dict of them")
    else:
        yield name or STATE, space


def _values(observation: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Name and value of each array of an observation, named as `_entries` does."""
    if isinstance(observation, Mapping):
        for key, inner in observation.items():
            yield from _values(inner, _joined(name, key))
    else:
        yield name or STATE, observation


def _joined(outer: str, key: object) -> str:
    inner = str(key).replace("/", ".")
    return f"{outer}.{inner}" if outer else inner


def _is_picture(space: Any) -> bool:
    return space.dtype == np.uint8 and len(space.shape) >= 3 and space.shape[-1] == 3


def _squared(picture: np.ndarray, size: int) -> np.ndarray:
    """The picture (H, W, 3), batched by 1 or not, padded to a square of this size."""
    from PIL import Image, ImageOps

    square = ImageOps.pad(Image.fromarray(picture.reshape(picture.shape[-3:])), (size, size))
    return np.asarray(square)


@contextlib.contextmanager
def _without_screen() -> Iterator[None]:
    """Have Gymnasium's MuJoCo environments draw with a library that needs no screen; they first try one that does."""
    if "mujoco" not in sys.modules or "MUJOCO_GL" in os.environ:
        yield
        return
    from tasks.rendering import backend_without_screen

    os.environ["MUJOCO_GL"] = backend_without_screen()
    try:
        yield
    finally:
        del os.environ["MUJOCO_GL"]


def _packages(registered: Any) -> list[str]:
    """The packages that a start depends on: Gymnasium, the environment's own, and MuJoCo where it is loaded."""
    entry = registered.entry_point
    module = entry.partition(":")[0] if isinstance(entry, str) else getattr(entry, "__module__", "")
    own = importlib.metadata.packages_distributions().get(module.partition(".")[0], [])
    return sorted({"gymnasium", *own, *({"mujoco"} & sys.modules.keys())})
