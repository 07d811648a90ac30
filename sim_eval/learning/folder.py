"""The folder of a `sim-eval-learn`. After any interruption the same command goes on in it, to the same result.

options.json        options and hashes of the models; the command that goes on must have the same
replay/N.hdf5       episodes of round N; 00000 holds the frozen policy's
state.pt            the learner after the last finished round; written last, so replay files of later rounds are ignored
curve.json          every evaluation: environment steps, successes by episode, mean Q
critic.*            the critic of the last evaluation, for `critic=FOLDER`
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from sim_eval.errors import RunError
from sim_eval.files import replacing, write_text
from sim_eval.learning.curves import CURVE, OPTIONS
from sim_eval.runs.run_folder import lock, make_folder
from sim_eval.training.trajectories import Trajectory, read_hdf5, write_hdf5

_STATE = "state.pt"


@dataclass(frozen=True)
class Evaluation:
    """The learned critic's sampler on the eval block.

    steps: environment steps that the critic has learned from, beside the frozen policy's. outcomes: success by episode.
    """

    steps: int
    outcomes: tuple[bool, ...]
    mean_q: float


@dataclass
class Progress:
    """Where the learner is. steps: environment steps of `rounds` finished, steered rounds; latest: of the last one."""

    rounds: int = 0
    steps: int = 0
    latest: int = 0
    trainer: dict[str, Any] = field(default_factory=dict)
    curve: list[Evaluation] = field(default_factory=list)


@dataclass(frozen=True)
class LearnFolder:
    """An open, locked folder."""

    path: Path

    def write_replay(self, number: int, trajectories: Sequence[Trajectory], task: str) -> None:
        """Keep the episodes of a round, 0 for the frozen policy's. Raises OSError."""
        write_hdf5(self._replay(number), trajectories, {"env_name": task, "type": 1, "env_kwargs": {}})

    def read_replay(self, number: int, observations: Sequence[str]) -> list[Trajectory]:
        """The episodes of a round, with the vectors named. Raises DatasetError."""
        return read_hdf5(self._replay(number), observations)

    def has_replay(self, number: int) -> bool:
        return self._replay(number).is_file()

    def write_progress(self, progress: Progress) -> None:
        """Keep where the learner is, and the curve. Raises OSError."""
        with replacing(self.path / _STATE) as part:
            torch.save(asdict(progress), part)
        curve = [asdict(point) for point in progress.curve]
        write_text(self.path / CURVE, json.dumps(curve, indent=1) + "\n")

    def read_progress(self) -> Progress | None:
        """Where an earlier run was; None if it has not finished anything. Raises RunError for a damaged file."""
        path = self.path / _STATE
        if not path.exists():
            return None
        try:
            stored = torch.load(path, weights_only=True)
        except (RuntimeError, EOFError, ValueError) as error:
            raise RunError(f"{path} cannot be read: {error}; accepted: another output") from None
        curve = [Evaluation(**{**point, "outcomes": tuple(point["outcomes"])}) for point in stored["curve"]]
        return Progress(**{**stored, "curve": curve})

    def _replay(self, number: int) -> Path:
        return self.path / "replay" / f"{number:05d}.hdf5"


@contextmanager
def open_folder(path: Path, options: Mapping[str, Any]) -> Iterator[LearnFolder]:
    """Create or resume the folder, and lock it. Raises RunError if it is in use or was made with other options."""
    make_folder(path, OPTIONS)
    with lock(path):
        stored, asked = path / OPTIONS, json.loads(json.dumps(options))
        if stored.exists():
            there = json.loads(stored.read_text())
            differing = [
                f"{name} is {there.get(name)} there, {asked.get(name)} asked"
                for name in sorted(there.keys() | asked.keys())
                if there.get(name) != asked.get(name)
            ]
            if differing:
                raise RunError(f"output={path} was made otherwise: {'; '.join(differing)}; accepted: another output")
        write_text(stored, json.dumps(asked, indent=1) + "\n")
        yield LearnFolder(path)
