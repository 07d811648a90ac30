"""From this suite's observations to those of a server, by default as openpi's LIBERO example sends them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from policies.observation import ObservationRequest

_IMAGE = "_image"
_AXIS_ANGLE = "_axis_angle"

#: What openpi's LIBERO example sends (https://github.com/Physical-Intelligence/openpi, examples/libero/main.py).
LIBERO: Mapping[str, tuple[str, ...]] = {
    "observation/image": ("agentview_image",),
    "observation/wrist_image": ("robot0_eye_in_hand_image",),
    "observation/state": ("robot0_eef_pos", "robot0_eef_axis_angle", "robot0_gripper_qpos"),
    "prompt": ("instruction",),
}

#: Lengths of robosuite's vectors for the Panda, for the first request, whose answer shows the shape of the actions.
_LENGTHS = {
    "robot0_eef_pos": 3,
    "robot0_eef_quat": 4,
    "robot0_gripper_qpos": 2,
    "robot0_gripper_qvel": 2,
    "robot0_joint_pos": 7,
    "robot0_joint_pos_cos": 7,
    "robot0_joint_pos_sin": 7,
    "robot0_joint_vel": 7,
}


@dataclass(frozen=True)
class MessageMap:
    """The sources of each of the server's names: one image, the instruction, or vectors in a row.

    A vector X_axis_angle is the rotation vector of the quaternion X_quat. `image_size`: width and height of the images
    sent, in pixels. Raises ValueError for an image or the instruction beside anything else.
    """

    sources: Mapping[str, tuple[str, ...]]
    image_size: int

    def __post_init__(self) -> None:
        for name, parts in self.sources.items():
            alone = [part for part in parts if part == "instruction" or part.endswith(_IMAGE)]
            if not parts or (alone and len(parts) > 1):
                raise ValueError(
                    f"observations: {name} is [{', '.join(parts)}]; accepted: an image, instruction, or vectors"
                )

    def request(self, render_size: int, orientation: str) -> ObservationRequest:
        """The observations that `message` reads, with images drawn at `render_size`."""
        read = [_read_from(part) for parts in self.sources.values() for part in parts]
        return ObservationRequest(tuple(dict.fromkeys(read)), render_size, orientation)

    def message(self, observation: Mapping[str, Any], row: int) -> dict[str, Any]:
        """The request for one row of a batch of observations."""
        return {name: self._value(parts, observation, row) for name, parts in self.sources.items()}

    def blank(self, request: ObservationRequest) -> dict[str, Any]:
        """A batch of one row of zeros. Raises ValueError for a vector of unknown length."""
        size = request.image_size
        unknown = [n for n in request.names if n not in _LENGTHS and n != "instruction" and not n.endswith(_IMAGE)]
        if unknown:
            raise ValueError(
                f"the server does not say the shape of its actions, and the length of {unknown[0]} is unknown, so it "
                "cannot be asked; give policy.horizon=NUMBER and policy.action_dim=NUMBER"
            )
        zeros: dict[str, Any] = {name: np.zeros((1, n), np.float32) for name, n in _LENGTHS.items()}
        zeros["instruction"] = [""]
        return {name: zeros.get(name, np.zeros((1, size, size, 3), np.uint8)) for name in request.names}

    def _value(self, parts: tuple[str, ...], observation: Mapping[str, Any], row: int) -> Any:
        if parts[0] == "instruction":
            return observation["instruction"][row]
        if parts[0].endswith(_IMAGE):
            return resized(observation[parts[0]][row], self.image_size)
        return np.concatenate([_vector(part, observation, row) for part in parts])


def resized(picture: np.ndarray, size: int) -> np.ndarray:
    """A square picture (n, n, 3) uint8 at `size` x `size`, bilinear, as openpi-client's `resize_with_pad` gives it."""
    if picture.shape[-3:-1] == (size, size):
        return picture
    return np.asarray(Image.fromarray(picture).resize((size, size), Image.Resampling.BILINEAR))


def axis_angle(quaternion: np.ndarray) -> np.ndarray:
    """The rotation vector (3,) in radians of a unit quaternion (4,) xyzw, its length in [0, 2 pi].

    As robosuite's `quat2axisangle`, which LIBERO's policies were trained with: q and -q give different vectors.
    """
    w = float(np.clip(quaternion[3], -1.0, 1.0))
    sine = np.sqrt(1.0 - w * w)
    vector = np.asarray(quaternion[:3], np.float64)
    return vector * (2.0 * np.arccos(w) / sine) if sine else np.zeros(3)


def _read_from(part: str) -> str:
    """The observation of this suite that the part is made from."""
    return part.removesuffix(_AXIS_ANGLE) + "_quat" if part.endswith(_AXIS_ANGLE) else part


def _vector(part: str, observation: Mapping[str, Any], row: int) -> np.ndarray:
    values: np.ndarray = observation[_read_from(part)][row]
    return axis_angle(values) if part.endswith(_AXIS_ANGLE) else values
