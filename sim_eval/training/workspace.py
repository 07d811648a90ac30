"""What the training stages share: where a task's files are, and how states and chunks are drawn.

Each stage reads the files that the stage before has saved, so that critics and posterior nets are trained for exactly
the weights that are evaluated.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from policies.policy import Denoiser, Observations, Policy
from sim_eval.files import sha256
from sim_eval.rollout.environment import MakeTask
from sim_eval.rollout.inference import stacked
from sim_eval.samplers.denoise import draw_unsteered
from sim_eval.training.trajectories import Trajectory

#: Rows that the frozen policy encodes at once: pictures of more would fill the memory.
_ROWS = 512


@dataclass(frozen=True)
class Workspace:
    """The task, the folders that training reads and writes, and the seed that determines everything."""

    task: str
    make_task: MakeTask
    data: Path
    checkpoints: Path
    seed: int

    @property
    def demos(self) -> Path:
        return self.data / self.task / "demos.hdf5"

    def rollouts(self, policy: str) -> Path:
        """Where the rollouts of the policy of this label are."""
        return self.data / self.task / f"rollouts_{policy}.hdf5"

    def card(self, kind: str, data: Mapping[str, str], **facts: Any) -> dict[str, Any]:
        """What a checkpoint's card says of its origin: `data`, files to hashes, seed, command, and the `facts`."""
        return {
            "kind": kind,
            "task": self.task,
            **origin(self.seed, data),
            **facts,
        }


def origin(seed: int, data: Mapping[str, str]) -> dict[str, Any]:
    """What a card says of a checkpoint's origin. `data`: file names to hashes."""
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


def random_rows(count: int, batch: int, generator: torch.Generator) -> Tensor:
    """`batch` row numbers (batch,) int64 in [0, count), drawn with replacement."""
    return torch.randint(count, (batch,), generator=generator)


def sample_policy(
    policy: Policy | Denoiser, observation: Observations, generator: torch.Generator, copies: int = 1
) -> Tensor:
    """`copies` unsteered chunks (B * copies, H, D) a row, all from one generator: training reproduces no row alone."""
    rows = len(next(iter(observation.values())))
    parts = [slice(start, start + _ROWS) for start in range(0, rows, _ROWS)]
    chunks = []
    for part in parts:
        batch = {name: values[part] for name, values in observation.items()}
        generators = [generator] * len(next(iter(batch.values())))
        chunks.append(draw_unsteered(policy, batch, generators, 10, copies)[0])
    return torch.cat(chunks)


def visited_states(
    trajectories: Sequence[Trajectory], count: int, generator: torch.Generator
) -> tuple[Observations, Observations]:
    """`count` control steps at which the policy can decide, drawn uniformly, with replacement.

    Returns what the policy sees there and the simulator's state, name to (count, ...) each.
    """
    lengths = np.array([len(trajectory.decision_steps) for trajectory in trajectories])
    rows = random_rows(int(lengths.sum()), count, generator).numpy()
    owners = np.searchsorted(lengths.cumsum(), rows, side="right")
    visits = [
        (trajectories[owner], row)
        for owner, row in zip(owners, rows - (lengths.cumsum() - lengths)[owners], strict=True)
    ]
    seen = stacked([trajectory.decision(row) for trajectory, row in visits])
    state = stacked([trajectory.state(row) for trajectory, row in visits])
    return seen, state
