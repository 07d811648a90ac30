"""From this suite's observations to the features that a checkpoint reads, by an explicit map that is checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from policies.errors import PolicyError
from policies.observation import ObservationRequest
from policies.policy import Observations

STATE, ENVIRONMENT, IMAGES = "observation.state", "observation.environment_state", "observation.images"

#: LIBERO's cameras, and the features that LeRobot's and openpi's LIBERO data sets call them.
LIBERO_CAMERAS = {
    "agentview_image": (f"{IMAGES}.image",),
    "robot0_eye_in_hand_image": (f"{IMAGES}.image2", f"{IMAGES}.wrist_image"),
}
#: The state of LeRobot's LIBERO: position, axis-angle, fingers; 8 numbers.
LIBERO_STATE = ("robot0_eef_pos", "robot0_eef_quat:axis_angle", "robot0_gripper_qpos")
AXIS_ANGLE = ":axis_angle"
_SIZES = {"robot0_eef_pos": 3, "robot0_eef_quat": 4, "robot0_gripper_qpos": 2}


@dataclass(frozen=True)
class ObservationMap:
    """Which observation feeds which feature.

    cameras: observation name to feature. vectors: feature to the names whose numbers it joins; ":axis_angle" after a
        name turns a quaternion xyzw into an axis times an angle. sizes: the features' lengths.
    """

    cameras: Mapping[str, str]
    vectors: Mapping[str, tuple[str, ...]]
    sizes: Mapping[str, int]
    request: ObservationRequest

    @property
    def observation_sizes(self) -> dict[str, int]:
        """Lengths of the vectors whose lengths are known beforehand."""
        names = [name.removesuffix(AXIS_ANGLE) for names in self.vectors.values() for name in names]
        return {name: _SIZES[name] for name in names if name in _SIZES}

    def batch(self, observation: Observations) -> dict[str, Any]:
        """Raw features, a row for each control step seen: B * history rows.

        Images (B, history, size, size, 3) uint8 become (B * history, 3, size, size) in [0, 1]; vectors become
        (B * history, n) float32; the instruction is called "task". Raises PolicyError for a vector of another length.
        """
        history = self.request.history
        batch: dict[str, Any] = {}
        for name, feature in self.cameras.items():
            pixels = torch.from_numpy(np.ascontiguousarray(observation[name]))
            batch[feature] = pixels.flatten(0, pixels.ndim - 4).permute(0, 3, 1, 2).contiguous().float() / 255
        for feature, names in self.vectors.items():
            joined = torch.cat([_vector(observation, name) for name in names], dim=-1)
            if joined.shape[-1] != self.sizes[feature]:
                raise PolicyError(
                    f"the checkpoint's {feature} has {self.sizes[feature]} numbers, {' + '.join(names)} have "
                    f"{joined.shape[-1]}; policy.state=[NAME,...] chooses others"
                )
            batch[feature] = joined.flatten(0, joined.ndim - 2)
        batch["task"] = [text for text in observation["instruction"] for _ in range(history)]
        return batch


def observation_map(
    config: Any,
    cameras: Mapping[str, str] | None,
    state: Sequence[str] | None,
    environment: Sequence[str],
    image_size: int | None,
    image_orientation: str,
) -> ObservationMap:
    """The map for a checkpoint: LIBERO's unless options say otherwise.

    Raises PolicyError that lists both sides if they do not fit each other.
    """
    images, sizes = _images(config), _vectors(config)
    if cameras is None:
        cameras = {
            name: feature for name, features in LIBERO_CAMERAS.items() for feature in features if feature in images
        }
    if state is None:
        state = LIBERO_STATE if STATE in sizes else ()
    vectors = {feature: tuple(names) for feature, names in ((STATE, state), (ENVIRONMENT, environment)) if names}
    fed, read = {*cameras.values(), *vectors}, {*images, *sizes}
    filled = {name for name in images if name.startswith(f"{IMAGES}.empty_camera")}
    if fed - read or read - fed - filled:
        raise PolicyError(
            f"the checkpoint reads {', '.join(sorted(read - filled))}; this run feeds {_fed(cameras, vectors)}. "
            "Options: policy.cameras={CAMERA_image:FEATURE,...} policy.state=[NAME,...] policy.environment=[NAME,...]"
        )
    for feature, names in vectors.items():
        _check_length(feature, names, sizes[feature])
    names = (*cameras, *(name.removesuffix(AXIS_ANGLE) for names in vectors.values() for name in names), "instruction")
    size = image_size or _size(images, cameras)
    request = ObservationRequest(names, size, image_orientation, history=config.n_obs_steps)
    return ObservationMap(dict(cameras), vectors, sizes, request)


def axis_angle(quaternion: Tensor) -> Tensor:
    """Unit quaternions (..., 4) xyzw to axis times angle (..., 3), the angle in [0, 2 pi], as LIBERO's scripts do."""
    w = quaternion[..., 3:].clamp(-1.0, 1.0)
    sine = (1.0 - w * w).clamp_min(0.0).sqrt()
    turned = sine > 1e-10
    return torch.where(turned, quaternion[..., :3] / torch.where(turned, sine, 1.0) * (2.0 * torch.acos(w)), 0.0)


def _vector(observation: Observations, name: str) -> Tensor:
    values = torch.as_tensor(observation[name.removesuffix(AXIS_ANGLE)], dtype=torch.float32)
    return axis_angle(values) if name.endswith(AXIS_ANGLE) else values


def _images(config: Any) -> dict[str, tuple[int, ...]]:
    return {name: tuple(feature.shape) for name, feature in config.image_features.items()}


def _vectors(config: Any) -> dict[str, int]:
    return {
        name: config.input_features[name].shape[0] for name in (STATE, ENVIRONMENT) if name in config.input_features
    }


def _size(images: Mapping[str, tuple[int, ...]], cameras: Mapping[str, str]) -> int:
    """The size of the images that the checkpoint was trained on; LIBERO's 256 if it sees none."""
    shapes = {images[feature] for feature in cameras.values()}
    if not shapes:
        return 256
    (channels, height, width), *others = sorted(shapes)
    if others or height != width or channels != 3:
        raise PolicyError(
            f"the checkpoint's images are {sorted(shapes)}; give policy.image_size=PIXELS for square ones"
        )
    return height


def _check_length(feature: str, names: Sequence[str], size: int) -> None:
    lengths = [3 if name.endswith(AXIS_ANGLE) else _SIZES.get(name) for name in names]
    known = [length for length in lengths if length is not None]
    if len(known) == len(names) and sum(known) != size:
        raise PolicyError(
            f"the checkpoint's {feature} has {size} numbers, {' + '.join(names)} have {sum(known)}; "
            "policy.state=[NAME,...] chooses others"
        )


def _fed(cameras: Mapping[str, str], vectors: Mapping[str, Sequence[str]]) -> str:
    pairs = [f"{feature} from {name}" for name, feature in cameras.items()]
    return ", ".join([*pairs, *(f"{feature} from {' + '.join(names)}" for feature, names in vectors.items())]) or "none"
