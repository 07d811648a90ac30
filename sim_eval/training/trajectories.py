"""Trajectories on disk in robomimic's HDF5 layout, so that public robomimic and LIBERO files load unchanged.

data/                     attributes: env_args (JSON), total, policy_sha256 (of the policy that played, where known)
  demo_0/                 attributes: num_samples, stride; success, beside masks
    obs/<name>  (T, n)    observation before each action
    actions     (T, D)    rewards (T,)    dones (T,)    states (T, m), where the simulator's were kept
    masks       (T,)      0 where the return ends with the step, else 1: of tasks with rewards of their own
    decisions/<name>      what the policy saw when it decided (R, ...), where that is more than obs; attribute: stride

LIBERO's own files differ in the names of observations, which are read as robomimic's, and hold no `object`.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
from scipy.spatial.transform import Rotation

from sim_eval.foundation.files import written
from sim_eval.training.environment import check_environment
from sim_eval.training.hdf5_file import (
    DAMAGE,
    DatasetError,
    array_in,
    attribute,
    check_readable,
    env_args,
    group_in,
    holds,
    names_in,
    opened,
    values_of,
)

#: Actions are in [-1, 1], but for rounding.
_LARGEST_ACTION = 1.001
_LONGEST_STRIDE = 1_000_000
#: Bytes that a file takes beside its arrays, and at most for each of its episodes.
_OVERHEAD = 2**16

#: What LIBERO's files (Liu et al. 2023, arXiv 2306.03310) call robomimic's observations. Their orientation is an
#: axis-angle vector, whose angle keeps the quaternion's sign.
_LIBERO_NAMES = {"robot0_eef_pos": "ee_pos", "robot0_eef_quat": "ee_ori", "robot0_gripper_qpos": "gripper_states"}


@dataclass(frozen=True)
class StoredRows:
    """The rows of one data set of an HDF5 file, read one at a time: the pictures of all would fill the memory."""

    path: Path
    name: str
    count: int

    def __len__(self) -> int:
        return self.count

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """All rows: `np.asarray(rows)`. Raises DatasetError as reading one."""
        return np.asarray(self[:], dtype)

    def __getitem__(self, row: int | slice) -> Any:
        """Row number `row`: an array, or a string. Raises DatasetError if the file can no longer be read."""
        folder, _, name = self.name.rpartition("/")
        try:
            with h5py.File(self.path, "r") as file:
                values = array_in(self.path, file[folder], name, by_row=True)
                return values.asstr()[row] if h5py.check_string_dtype(values.dtype) else values[row]
        except (OSError, KeyError, ValueError, RuntimeError) as error:
            raise DatasetError(f"{self.path}: {self.name} can no longer be read ({error})") from error


class StepRewards(NamedTuple):
    """Of each control step, (T,) float32: the task's reward, and its mask, 0 if the return ends with the step, else 1.

    The last mask of an episode that a time limit ended is 1. Where several tasks share the episode, both are
    (tasks, T).
    """

    rewards: np.ndarray
    masks: np.ndarray


@dataclass(frozen=True)
class Trajectory:
    """An episode: observations (T, n) float32 by name, actions (T, D) float32, success.

    `decisions`: what the policy saw at every `stride`-th control step, (R, ...) by name, where that is more than
    `observations`; else empty. Those that are read from a file stay there until a row is asked for. `rewards`: None for
    1 at the end of a success, else 0, with the episode's end that of the return.
    """

    observations: Mapping[str, np.ndarray]
    actions: np.ndarray
    success: bool
    decisions: Mapping[str, np.ndarray | StoredRows] = field(default_factory=dict)
    stride: int = 1
    rewards: StepRewards | None = None

    @property
    def decision_steps(self) -> range:
        """The control steps for which it is known what the policy sees."""
        return range(0, len(self.actions), self.stride if self.decisions else 1)

    def decision(self, row: int) -> dict[str, Any]:
        """The policy's observation at control step `decision_steps[row]`."""
        return {name: values[row] for name, values in self.decisions.items()} if self.decisions else self.state(row)

    def state(self, row: int) -> dict[str, Any]:
        """The observations (n,) of control step number `decision_steps[row]`."""
        return {name: values[self.decision_steps[row]] for name, values in self.observations.items()}


def write_hdf5(path: Path, trajectories: Iterable[Trajectory], task: str) -> None:
    """Write trajectories of a task atomically. Raises RunError if they cannot be written."""
    trajectories = list(trajectories)
    with _new_data(path, task, sum(map(_size, trajectories))) as data:
        total = 0
        for index, trajectory in enumerate(trajectories):
            _write_demo(data.create_group(f"demo_{index}"), trajectory)
            total += len(trajectory.actions)
        data.attrs["total"] = total


def join_hdf5(path: Path, files: Iterable[Path], task: str, policy_sha256: str | None = None) -> None:
    """Write the trajectories of `files` that `write_hdf5` wrote, one in each, atomically to one file.

    `policy_sha256`: the fingerprint of the frozen policy that played them, None without one. Raises DatasetError for a
    damaged file, and RunError if the whole one cannot be written.
    """
    files = list(files)
    with _new_data(path, task, sum(file.stat().st_size + _OVERHEAD for file in files)) as data:
        total = 0
        for index, file in enumerate(files):
            with opened(file) as source:
                try:
                    source.copy("data/demo_0", data, f"demo_{index}")
                    total += int(source["data"].attrs["total"])
                except DAMAGE as error:
                    raise DatasetError(f"{file}: damaged ({error}); accepted: the same command without it") from None
        data.attrs["total"] = total
        if policy_sha256 is not None:
            data.attrs["policy_sha256"] = policy_sha256


@contextmanager
def _new_data(path: Path, task: str, most: int) -> Iterator[h5py.Group]:
    """The group `data` of a file that is there when the block ends without an error. `most`: bytes that it may take.

    On a full disk the HDF5 library crashes. So the disk is asked for the room before the library has written anything.
    """
    with written(path) as part:
        with part.open("wb") as room:
            os.posix_fallocate(room.fileno(), 0, most + _OVERHEAD)
        with h5py.File(part, "w") as file:
            data = file.create_group("data")
            data.attrs["env_args"] = json.dumps({"env_name": task, "type": 1, "env_kwargs": {}})  # as robomimic's
            yield data


def _size(trajectory: Trajectory) -> int:
    """Bytes that it may take in a file."""
    stored = (*trajectory.observations.values(), *map(np.asarray, trajectory.decisions.values()))
    return _OVERHEAD + sum(values.nbytes for values in stored) + 2 * trajectory.actions.nbytes


def _write_demo(demo: h5py.Group, trajectory: Trajectory) -> None:
    steps = len(trajectory.actions)
    demo.attrs["num_samples"], demo.attrs["stride"] = steps, trajectory.stride
    for name, values in trajectory.observations.items():
        demo.create_dataset(f"obs/{name}", data=np.asarray(values, np.float32))
    for name, stored in trajectory.decisions.items():
        values = np.asarray(stored)
        if values.dtype.kind in "OU":
            demo.create_dataset(f"decisions/{name}", data=values.astype(object), dtype=h5py.string_dtype())
        elif values.ndim < 4:
            demo.create_dataset(f"decisions/{name}", data=values)
        else:  # pictures, each compressed alone, as each is read alone
            options = {"chunks": (1, *values.shape[1:]), "compression": "gzip", "compression_opts": 1, "shuffle": True}
            demo.create_dataset(f"decisions/{name}", data=values, **options)
    rewards = np.zeros(steps, np.float32)
    rewards[-1] = trajectory.success
    dones = rewards
    demo.create_dataset("actions", data=np.asarray(trajectory.actions, np.float32))
    if trajectory.rewards is not None:
        demo.attrs["success"] = trajectory.success
        rewards, masks = (np.asarray(values, np.float32) for values in trajectory.rewards)
        dones = 1 - masks
        demo.create_dataset("masks", data=masks)
    demo.create_dataset("rewards", data=rewards)
    demo.create_dataset("dones", data=dones.astype(np.int64))


def policy_of(path: Path) -> str | None:
    """The fingerprint of the policy that played `path`; None where the file does not name it. Raises DatasetError."""
    with opened(path) as file:
        stored = attribute(path, group_in(path, file, "data"), "policy_sha256")
    return None if stored is None else str(stored)


def read_hdf5(path: Path, observations: Sequence[str] | None = None, task: str | None = None) -> list[Trajectory]:
    """Every demonstration of `path`, in the order of its number, with the observations named, by robomimic's names.

    The default is all that are vectors; pictures are left out. A demonstration counts as successful if any of its
    rewards is positive, or, if it has masks, as its attribute says. `task`: the full name of the task that they must be
    of, for files from elsewhere; None: a file that this suite wrote.

    Raises DatasetError for a file that cannot be read or holds none, for one of another environment or with absolute
    actions, and for a demonstration whose arrays are no numbers, lie elsewhere, differ in length, differ from the first
    one's in size, or hold NaN or infinity.
    """
    if task is not None and path.is_file():
        check_readable(path)
    with opened(path) as file:
        check_environment(path, env_args(path, file), task)
        data = group_in(path, file, "data")
        names = _in_order(path, data)
        trajectories = [_read_demo(path, group_in(path, data, name), observations) for name in names]
    first = trajectories[0]
    for name, trajectory in zip(names, trajectories, strict=True):
        if (differing := _sizes(trajectory)) != (expected := _sizes(first)):
            raise DatasetError(f"{path}: data/{name} has arrays of sizes {differing}, data/{names[0]} of {expected}")
    return trajectories


def _in_order(path: Path, data: h5py.Group) -> list[str]:
    """The groups demo_0, demo_1, ... by their numbers."""
    there = names_in(path, data)
    names = [name for name in there if re.fullmatch(r"demo_[0-9]{1,9}", name)]
    if not names:
        besides = f"; there are {', '.join(there)}" if there else ""
        raise DatasetError(f"{path}: data holds no demonstration demo_0, demo_1, ...{besides:.300}")
    return sorted(names, key=lambda name: int(name.removeprefix("demo_")))


def _sizes(trajectory: Trajectory) -> dict[str, int]:
    sizes = {f"obs/{name}": values.shape[1] for name, values in sorted(trajectory.observations.items())}
    return {"actions": trajectory.actions.shape[1], **sizes}


def _read_demo(path: Path, demo: h5py.Group, observations: Sequence[str] | None) -> Trajectory:
    where = f"{path}: {demo.name.lstrip('/')}"
    for field_name in ("obs", "actions", "rewards"):
        if not holds(path, demo, field_name):
            there = ", ".join(sorted(names_in(path, demo)))
            raise DatasetError(f"{where} has no '{field_name}'; there are {there:.300}")
    rewards = values_of(path, array_in(path, demo, "rewards"))
    actions = values_of(path, array_in(path, demo, "actions")).astype(np.float32)
    stride = attribute(path, demo, "stride")
    if stride is not None and not (type(stride) is int and 1 <= stride <= _LONGEST_STRIDE):
        raise DatasetError(f"{where}: attribute stride is {stride!r:.80}; accepted: 1 to {_LONGEST_STRIDE}")
    own, success = None, bool((rewards > 0).any())
    if holds(path, demo, "masks"):
        own = StepRewards(rewards.astype(np.float32), values_of(path, array_in(path, demo, "masks")).astype(np.float32))
        success = bool(attribute(path, demo, "success"))
    trajectory = Trajectory(
        observations=_observations(path, group_in(path, demo, "obs"), where, observations),
        actions=actions,
        success=success,
        decisions=_decisions(path, demo),
        stride=stride or 1,
        rewards=own,
    )
    _check(where, trajectory, rewards)
    return trajectory


def _observations(
    path: Path, seen: h5py.Group, where: str, observations: Sequence[str] | None
) -> dict[str, np.ndarray]:
    there = names_in(path, seen)
    stored = {key: theirs if theirs in there else key for key, theirs in _LIBERO_NAMES.items()}
    if observations is None:
        ours = {theirs: key for key, theirs in stored.items()}
        observations = [ours.get(key, key) for key in there if array_in(path, seen, key, by_row=True).ndim == 2]
    for key in observations:
        if stored.get(key, key) not in there:
            raise DatasetError(f"{where} has no 'obs/{key}'; there are {', '.join(sorted(there)):.300}")
    return {key: _observation(key, values_of(path, array_in(path, seen, stored.get(key, key)))) for key in observations}


def _decisions(path: Path, demo: h5py.Group) -> dict[str, StoredRows]:
    if not holds(path, demo, "decisions"):
        return {}
    group = group_in(path, demo, "decisions")
    arrays = {name: array_in(path, group, name, by_row=True) for name in names_in(path, group)}
    return {name: StoredRows(path, array.name, len(array)) for name, array in arrays.items()}


def _check(where: str, trajectory: Trajectory, rewards: np.ndarray) -> None:
    """Raise DatasetError where rows do not belong together: shifted by one, they would train in silence."""
    arrays = {"actions": trajectory.actions, "rewards": rewards}
    arrays |= {} if trajectory.rewards is None else {"masks": trajectory.rewards.masks}
    arrays |= {f"obs/{name}": values for name, values in trajectory.observations.items()}
    steps = len(trajectory.actions)
    if not steps:
        raise DatasetError(f"{where} holds no step")
    for name, rows in trajectory.decisions.items():
        if len(rows) != len(trajectory.decision_steps):
            raise DatasetError(
                f"{where}/decisions/{name} has {len(rows)} rows; accepted: {len(trajectory.decision_steps)}, one for "
                "each decision"
            )
    for name, values in arrays.items():
        if values.ndim != (1 if name in ("rewards", "masks") else 2):
            raise DatasetError(f"{where}/{name} has the shape {values.shape}; accepted: a row for each step")
        if len(values) != steps:
            raise DatasetError(f"{where}/{name} has {len(values)} rows for {steps} actions; accepted: a row for each")
        if not np.isfinite(values).all():
            raise DatasetError(f"{where}/{name} holds NaN or infinity")
    if (largest := float(np.abs(trajectory.actions).max(initial=0.0))) > _LARGEST_ACTION:
        raise DatasetError(
            f"{where}/actions has entries up to {largest:.4g}; accepted: -1 to 1, changes of the pose as robosuite's "
            "controllers take them"
        )


def _observation(key: str, values: np.ndarray) -> np.ndarray:
    if key == "robot0_eef_quat" and values.ndim == 2 and values.shape[1] == 3 and np.isfinite(values).all():
        values = Rotation.from_rotvec(values).as_quat()
    return values.astype(np.float32)


def chunks_of(actions: np.ndarray, horizon: int) -> np.ndarray:
    """(T, D) to the chunk that starts at each step, (T, H, D); past the end the last action repeats."""
    steps = np.arange(len(actions))[:, None] + np.arange(horizon)
    return actions[np.minimum(steps, len(actions) - 1)]
