"""What the training stages share: where a task's files are, and how mini-batches are drawn.

Each stage reads what the one before it SAVED, so that a critic values, and a posterior net distils, the very weights
that are evaluated.
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

from sim_eval.files import sha256
from sim_eval.rollout.environment import MakeTask
from sim_eval.samplers import Models, Unsteered
from sim_eval.training.trajectories import Trajectory


@dataclass(frozen=True)
class Workshop:
    """What is trained for, where its training reads and writes, and the seed that all of it follows from."""

    task: str
    make_task: MakeTask
    data: Path
    checkpoints: Path
    seed: int

    @property
    def demos(self) -> Path:
        return self.data / self.task / "demos.hdf5"

    @property
    def rollouts(self) -> Path:
        return self.data / self.task / "rollouts.hdf5"

    def card(self, kind: str, data: Sequence[Path], **facts: Any) -> dict[str, Any]:
        """What a checkpoint's card says of its origin: data files by their hashes, seed, command, and the `facts`."""
        return {
            "kind": kind,
            "task": self.task,
            "seed": self.seed,
            "data_sha256": {path.name: sha256(path) for path in data},
            "command": shlex.join(["sim-eval-train", *sys.argv[1:]]),
            **facts,
        }


@contextmanager
def seeded_weights(seed: int) -> Iterator[None]:
    """Seed torch's global generator, the only one that weight initialisation knows, and give it back as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def random_rows(count: int, batch: int, generator: torch.Generator) -> Tensor:
    """`batch` row numbers (batch,) int64 in [0, count), drawn with replacement."""
    return torch.randint(count, (batch,), generator=generator)


def sample_policy(models: Models, observation: Mapping[str, np.ndarray], generator: torch.Generator) -> Tensor:
    """One unsteered chunk (B, H, D) a row, all from one generator: in training no row is reproduced by itself."""
    rows = len(next(iter(observation.values())))
    return Unsteered()(models, observation, [generator] * rows)


def visited_states(
    trajectories: Sequence[Trajectory], names: Sequence[str], count: int, generator: torch.Generator
) -> dict[str, np.ndarray]:
    """`count` observations drawn uniformly from all steps, with replacement: name to (count, n)."""
    total = sum(len(t.actions) for t in trajectories)
    rows = random_rows(total, count, generator).numpy()
    return {name: np.concatenate([t.observations[name] for t in trajectories])[rows] for name in names}
