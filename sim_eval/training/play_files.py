"""Play in OGBench's own layout, as `sim-eval data` writes it and as OGBench publishes it.

observations (N, n)   actions (N, D)   terminals (N,): True in the last row of an episode, whose action leads nowhere
qpos (N, m)           button_states (N, buttons), where there are buttons: for the rewards of a task
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from sim_eval.config.tasks import TaskChoice
from sim_eval.training.hdf5_file import DatasetError
from sim_eval.training.trajectories import StepRewards, Trajectory
from tasks.naming import OGBENCH
from tasks.ogbench_rewards import REWARDED_BY, Relabeller

#: What numpy raises for a damaged NPZ file.
DAMAGED_NPZ = (ValueError, EOFError, BadZipFile, zlib.error)

#: The observation that the files hold.
STATE = "state"

_LARGEST_ACTION = 1.001  # actions are in [-1, 1], but for rounding


def read_play(path: Path, task: TaskChoice | None = None) -> list[Trajectory]:
    """The episodes of a file, with the rewards of `task`, one of OGBench's; without one, with none.

    An episode goes on after the goal; it counts as a success if it reaches it. Raises DatasetError for a file that
    cannot be read, lacks an array, or holds NaN or rows that do not belong together, and TaskError if OGBench cannot be
    imported.
    """
    if task is not None and task.name != OGBENCH:
        raise DatasetError(f"{path} holds OGBench's play, and task is {task.name}; accepted: task={OGBENCH}")
    arrays = _arrays(path, rewarded=task is not None)
    if task is None:
        return _episodes(arrays, None)
    with closing(TaskRewards([task])) as rewards:
        found = rewards.of_play(path, arrays)
    return _episodes(arrays, StepRewards(*(values[0] for values in found)))


def read_shared_play(path: Path, rewards: TaskRewards) -> list[Trajectory]:
    """As `read_play`, with the rewards of several tasks: (tasks, T) for an episode of T steps."""
    arrays = _arrays(path, rewarded=True)
    return _episodes(arrays, rewards.of_play(path, arrays))


class TaskRewards:
    """The rewards of some tasks of one domain of OGBench; holds their environments until `close`.

    Raises TaskError if OGBench cannot be imported.
    """

    def __init__(self, tasks: Sequence[TaskChoice]) -> None:
        self._domain = tasks[0].options["env"]
        self._relabellers = [
            Relabeller(self._domain, task.options["index"], task.options.get("sparse", False)) for task in tasks
        ]

    def of_play(self, path: Path, arrays: Mapping[str, np.ndarray]) -> StepRewards:
        """Of the rows of a file of play, (tasks, N). Raises DatasetError if they are of another domain."""
        try:
            return self._of(arrays)
        except (IndexError, ValueError, KeyError) as error:  # numpy's, for other sizes
            raise DatasetError(f"{path} does not fit the domain {self._domain}: {error}") from None

    def shared(self, played: Sequence[Trajectory], own: int) -> list[Trajectory]:
        """Episodes of task number `own`, which hold its rewards (T,), with those of all tasks, (tasks, T).

        Those of the other tasks follow from the observations `REWARDED_BY`: there the episode's end does not end the
        return, be it a time limit or the goal of task `own`.
        """
        there = {
            name: [each.observations[name] for each in played] for name in REWARDED_BY if name in played[0].observations
        }
        found = self._of({name: np.concatenate(rows) for name, rows in there.items()})
        ends = np.cumsum([len(each.actions) for each in played])
        shared = []
        for each, last in zip(played, ends, strict=True):
            assert each.rewards is not None
            rewards, masks = (values[:, last - len(each.actions) : last].copy() for values in found)
            rewards[own], masks[own] = each.rewards
            shared.append(replace(each, rewards=StepRewards(rewards, masks)))
        return shared

    def _of(self, arrays: Mapping[str, np.ndarray]) -> StepRewards:
        qpos, buttons = arrays["qpos"], arrays.get("button_states")
        of_tasks = [relabeller(qpos, buttons) for relabeller in self._relabellers]
        return StepRewards(*map(np.stack, zip(*of_tasks, strict=True)))

    def close(self) -> None:
        for relabeller in self._relabellers:
            relabeller.close()


def _episodes(arrays: Mapping[str, np.ndarray], rewards: StepRewards | None) -> list[Trajectory]:
    """The episodes of a file, with the rewards (..., N) of its rows."""
    ends = np.flatnonzero(arrays["terminals"])
    trajectories = []
    for first, last in zip([0, *(ends[:-1] + 1)], ends, strict=True):
        rows = slice(first, last)  # without the last, whose action leads nowhere
        own = None if rewards is None else StepRewards(*(values[..., rows] for values in rewards))
        success = own is not None and not own.masks.all()
        trajectories.append(
            Trajectory({STATE: arrays["observations"][rows]}, arrays["actions"][rows], success, rewards=own)
        )
    return trajectories


def _arrays(path: Path, rewarded: bool) -> dict[str, np.ndarray]:
    """The checked arrays."""
    needed = ["observations", "actions", "terminals", *(["qpos"] if rewarded else [])]
    if not path.is_file():
        raise DatasetError(f"{path}: no such file; OGBench's play is expected, which sim-eval data makes")
    try:
        with np.load(path, allow_pickle=False) as file:
            if lacking := [name for name in needed if name not in file]:
                raise DatasetError(f"{path} lacks {', '.join(lacking)}; OGBench's layout is {', '.join(needed)}")
            names = [*needed, *(["button_states"] if rewarded and "button_states" in file else [])]
            arrays = {name: file[name] for name in names}
    except (OSError, *DAMAGED_NPZ) as error:
        raise DatasetError(f"{path}: not a readable NPZ file ({error})") from None
    rows = len(arrays["terminals"]) if arrays["terminals"].ndim else 0
    for name, values in arrays.items():
        if values.ndim != (1 if name == "terminals" else 2) or len(values) != rows or values.dtype.kind not in "biuf":
            raise DatasetError(f"{path}: {name} has the shape {values.shape}; accepted: numbers, a row for each step")
        if not np.isfinite(values).all():
            raise DatasetError(f"{path}: {name} holds NaN or infinity")
    arrays["observations"] = arrays["observations"].astype(np.float32, copy=False)
    arrays["actions"] = arrays["actions"].astype(np.float32, copy=False)
    ends = np.flatnonzero(arrays["terminals"])
    if not len(ends) or ends[-1] != rows - 1 or (np.diff(ends, prepend=-1) < 2).any():
        raise DatasetError(f"{path}: terminals does not end each episode, of two rows or more, and the file")
    if (largest := float(np.abs(arrays["actions"]).max())) > _LARGEST_ACTION:
        raise DatasetError(f"{path}: actions has entries up to {largest:.4g}; accepted: -1 to 1")
    return arrays
