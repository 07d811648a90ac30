"""Checks that every task of the suite makes, and the orientations of pictures."""

from __future__ import annotations

import numpy as np

from tasks.task import EpisodeKey, TaskError, TaskSpec

MAX_SEED = 2**32 - 1

#: How each orientation indexes an image as OpenGL draws it, bottom row first.
ORIENTATIONS = {
    "upright": np.s_[::-1, :],
    "opengl": np.s_[:, :],
    "rotated": np.s_[::-1, ::-1],
}


def check_key(spec: TaskSpec, key: EpisodeKey) -> None:
    """Raise TaskError for a key of another task, and for a seed outside 0 to 2^32 - 1."""
    if key.task != spec.name:
        raise TaskError(f"the episode key is for task {key.task!r}; this task is {spec.name!r}")
    if not 0 <= key.env_seed <= MAX_SEED:
        raise TaskError(f"env_seed is {key.env_seed}; accepted: 0 to {MAX_SEED}")


def check_under_way(spec: TaskSpec, steps_left: int) -> None:
    """Raise TaskError for a step outside an episode."""
    if steps_left == 0:
        raise TaskError(f"task {spec.name!r} has no episode under way; call reset(key) first")


def checked_action(spec: TaskSpec, action: np.ndarray) -> np.ndarray:
    """The action (D,), clipped to [-1, 1]. Raises TaskError for another size and for entries that are not finite."""
    array = np.asarray(action, dtype=np.float64)
    if array.shape != spec.action.shape:
        raise TaskError(f"action has shape {array.shape}; accepted: {spec.action.shape}")
    if not np.isfinite(array).all():
        raise TaskError(f"action is {array.tolist()}; accepted: {array.size} finite numbers")
    return np.clip(array, -1.0, 1.0)


def camera_of(spec: TaskSpec, observation: str) -> str:
    """The camera of the image `observation`. Raises TaskError if the task offers no such observation."""
    camera = observation.removesuffix("_image")
    if camera == observation or camera not in spec.cameras:
        images = (f"{camera}_image" for camera in spec.cameras)
        accepted = ", ".join((*spec.observations, *images, "instruction"))
        raise TaskError(f"observation is {observation!r}; accepted: {accepted}")
    return camera


def turned(picture: np.ndarray, orientation: str) -> np.ndarray:
    """A picture as OpenGL draws it, in another orientation. Raises TaskError for an unknown one."""
    if orientation not in ORIENTATIONS:
        raise TaskError(f"image_orientation is {orientation!r}; accepted: {', '.join(ORIENTATIONS)}")
    return np.ascontiguousarray(picture[ORIENTATIONS[orientation]])


def check_camera(spec: TaskSpec, camera: str) -> None:
    """Raise TaskError for an unknown camera."""
    if camera not in spec.cameras:
        raise TaskError(f"camera is {camera!r}; accepted: {', '.join(spec.cameras) or 'none'}")
