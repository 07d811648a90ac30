"""Trajectories on disk in robomimic's HDF5 layout, so that public robomimic and LIBERO files load unchanged.

data/                     attributes: env_args (JSON), total
  demo_0/                 attributes: num_samples
    obs/<name>  (T, n)    observation before each action
    actions     (T, D)    rewards (T,)    dones (T,)    states (T, m), where the simulator's were kept

LIBERO's own files differ in the names of observations, which are read as robomimic's, and hold no `object`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from scipy.spatial.transform import Rotation

from sim_eval.errors import RunError
from sim_eval.files import replacing

#: What LIBERO's files (Liu et al. 2023, arXiv 2306.03310) call robomimic's observations. Their orientation is an
#: axis-angle vector, whose angle keeps the quaternion's sign.
_LIBERO_NAMES = {"robot0_eef_pos": "ee_pos", "robot0_eef_quat": "ee_ori", "robot0_gripper_qpos": "gripper_states"}


class DatasetError(RunError):
    """A demonstration file is missing, unreadable or of another layout; the message names the file and the field."""


@dataclass(frozen=True)
class Trajectory:
    """One episode: observations (T, n) float32 by name, actions (T, D) float32, success."""

    observations: Mapping[str, np.ndarray]
    actions: np.ndarray
    success: bool


def write_hdf5(path: Path, trajectories: Iterable[Trajectory], env_args: Mapping[str, object]) -> None:
    """Write trajectories atomically. `env_args` describes the environment, as robomimic's attribute does."""
    with replacing(path) as part, h5py.File(part, "w") as file:
        data = file.create_group("data")
        data.attrs["env_args"] = json.dumps(env_args)
        total = 0
        for index, trajectory in enumerate(trajectories):
            steps = len(trajectory.actions)
            demo = data.create_group(f"demo_{index}")
            demo.attrs["num_samples"] = steps
            for name, values in trajectory.observations.items():
                demo.create_dataset(f"obs/{name}", data=np.asarray(values, np.float32))
            outcome = np.zeros(steps, np.float32)
            outcome[-1] = trajectory.success
            demo.create_dataset("actions", data=np.asarray(trajectory.actions, np.float32))
            demo.create_dataset("rewards", data=outcome)
            demo.create_dataset("dones", data=outcome.astype(np.int64))
            total += steps
        data.attrs["total"] = total


def read_hdf5(path: Path, observations: Sequence[str] | None = None) -> list[Trajectory]:
    """Every demonstration of `path`, in the order of its number, with the observations named, by robomimic's names.

    The default is all that are vectors; pictures are left out. A demonstration counts as successful if any of its
    rewards is positive. Raises DatasetError.
    """
    if not path.is_file():
        raise DatasetError(f"{path}: no such file; a robomimic HDF5 file is expected")
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise DatasetError(f"{path}: not a readable HDF5 file ({error})") from error
    with file:
        if "data" not in file:
            raise DatasetError(f"{path}: no group 'data'; robomimic's layout is data/demo_k/obs, actions, rewards")
        names = sorted(file["data"], key=lambda name: int(name.rsplit("_", 1)[-1]))
        return [_read_demo(path, name, file["data"][name], observations) for name in names]


def _read_demo(path: Path, name: str, demo: h5py.Group, observations: Sequence[str] | None) -> Trajectory:
    for field in ("obs", "actions", "rewards"):
        if field not in demo:
            raise DatasetError(f"{path}: data/{name} has no '{field}'; there are {', '.join(sorted(demo))}")
    seen = demo["obs"]
    stored = {key: theirs if theirs in seen else key for key, theirs in _LIBERO_NAMES.items()}
    if observations is None:
        vectors = [key for key in seen if seen[key].ndim == 2]
        ours = {theirs: key for key, theirs in stored.items()}
        observations = [ours.get(key, key) for key in vectors]
    for key in observations:
        if stored.get(key, key) not in seen:
            raise DatasetError(f"{path}: data/{name} has no 'obs/{key}'; there are {', '.join(sorted(seen))}")
    return Trajectory(
        observations={key: _observation(key, seen[stored.get(key, key)][:]) for key in observations},
        actions=demo["actions"][:].astype(np.float32),
        success=bool((demo["rewards"][:] > 0).any()),
    )


def _observation(key: str, values: np.ndarray) -> np.ndarray:
    if key == "robot0_eef_quat" and values.shape[1] == 3:
        values = Rotation.from_rotvec(values).as_quat()
    return values.astype(np.float32)


def chunks_of(actions: np.ndarray, horizon: int) -> np.ndarray:
    """(T, D) to the chunk that starts at each step, (T, H, D); past the end the last action repeats."""
    steps = np.arange(len(actions))[:, None] + np.arange(horizon)
    return actions[np.minimum(steps, len(actions) - 1)]
