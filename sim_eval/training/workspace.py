"""The files of a task, and the draws of states and chunks, which all training stages share.

Each stage reads the files that the stage before has saved, so that critics and posterior nets are trained for exactly
the weights that are evaluated.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from policies.observation import ObservationRequest
from sim_eval.foundation.files import sha256
from sim_eval.rollout.environment import MakeTask
from sim_eval.training.trajectories import Trajectory
from tasks.naming import domain_of
from tasks.task import TaskSpec

#: Rows that the frozen policy encodes at once; fewer if it observes pictures, which would fill the memory.
_ROWS, _PICTURE_ROWS = 512, 32


@dataclass(frozen=True)
class Workspace:
    """The task, the folders that training reads and writes, the device of the fits, and the seed of everything.

    `variant`: of the task's recipe; checkpoints and demonstrations have it in their names. `task_options`: those that
    `make_task` was made of.
    """

    task: str
    make_task: MakeTask
    data: Path
    checkpoints: Path
    seed: int
    device: torch.device
    variant: str | None = None
    task_options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def demos(self) -> Path:
        return self.data / self.task / f"{self.named('demos')}.hdf5"

    @property
    def folder(self) -> Path:
        """Where the task's checkpoints are written."""
        return self.checkpoints / self.task

    @property
    def cloned_for(self) -> str:
        """The name that policies which are cloned here are for: the task's, or that of its domain, whose tasks share
        them.
        """
        return domain_of(self.task) or self.task

    def read_spec(self) -> TaskSpec:
        """The task's spec; builds the task."""
        with closing(self.make_task()) as probe:
            return probe.spec

    def named(self, name: str) -> str:
        """The name of a file or a policy of this variant: "flow" or "flow_weak"."""
        return name if self.variant is None else f"{name}_{self.variant}"

    def rollouts(self, policy: str) -> Path:
        """Where the rollouts of the policy of this label are."""
        return self.data / self.task / f"rollouts_{policy}.hdf5"

    def card(self, kind: str, data: Mapping[str, str], **facts: Any) -> dict[str, Any]:
        """The origin of a checkpoint, for its card: `data`, files to hashes, seed, command, and the `facts`."""
        return {
            "kind": kind,
            "task": self.task,
            **origin(self.seed, data),
            **facts,
        }


def origin(seed: int, data: Mapping[str, str]) -> dict[str, Any]:
    """The origin of a checkpoint, for its card. `data`: file names to hashes."""
    command = shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])
    return {"seed": seed, "data_sha256": dict(data), "command": command}


def file_hashes(paths: Sequence[Path]) -> dict[str, str]:
    """SHA-256 of each file, by its name."""
    return {path.name: sha256(path) for path in paths}


@contextmanager
def seeded_weights(seed: int) -> Iterator[None]:
    """Seed torch's global generator, the only one that weight initialisation uses, and restore it afterwards."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def fit_generator(generator: torch.Generator, device: torch.device) -> torch.Generator:
    """What a fit on this device draws from: this generator of the CPU, or one of the device with the same seed."""
    return generator if device.type == "cpu" else torch.Generator(device).manual_seed(generator.initial_seed())


def trained_on(device: torch.device) -> dict[str, str]:
    """The entry of a card on the device of a fit; none for the CPU."""
    return {} if device.type == "cpu" else {"device": device.type}


def random_rows(count: int, batch: int, generator: torch.Generator) -> Tensor:
    """`batch` row numbers (batch,) int64 in [0, count), drawn with replacement, on the generator's device."""
    return torch.randint(count, (batch,), generator=generator, device=generator.device)


def row_blocks(count: int, request: ObservationRequest) -> list[range]:
    """The rows 0 to `count` - 1 in the blocks that a policy with this request encodes at once."""
    size = _PICTURE_ROWS if request.images else _ROWS
    return [range(start, min(start + size, count)) for start in range(0, count, size)]


def visited_rows(
    trajectories: Sequence[Trajectory], count: int, generator: torch.Generator
) -> list[tuple[Trajectory, int]]:
    """`count` control steps at which the policy can decide, drawn uniformly, with replacement.

    Each is a trajectory and a row of its `decision_steps`; nothing of it is read yet.
    """
    lengths = np.array([len(trajectory.decision_steps) for trajectory in trajectories])
    rows = random_rows(int(lengths.sum()), count, generator).numpy()
    owners = np.searchsorted(lengths.cumsum(), rows, side="right")
    within = rows - (lengths.cumsum() - lengths)[owners]
    return [(trajectories[owner], int(row)) for owner, row in zip(owners, within, strict=True)]
