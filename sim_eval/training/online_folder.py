"""The folder of a `sim-eval learn`. After any interruption the same command goes on in it, to the same result.

When it has ended, the same command writes missing and damaged files of its critic again.

options.json        options, hashes of the models, the simulator's versions; the command that goes on must have the same
replay/N.hdf5       episodes of round N; 00000 holds the frozen policy's
draws/N.npy         the frozen policy's draws at every step of round N, 00000 the data's; with method=td alone
critic.*            the critic of the last evaluation, for `critic=FOLDER`; also the actors', of samplers that have one
strengths.yaml      the strength that was chosen for this critic, if one was; evaluations with `critic=FOLDER` use it
curve.json          every evaluation: environment steps, successes by episode, mean Q, figures of the critic
state.pt            the learner after the last fit or evaluation; written last, so that what other files hold beyond it
                    is made again, with the same result; but for rounds in replay, which are read

The folder of tasks that learn together holds such a folder for each, and beside them:

together.json       the names of the tasks
draws/N.npy         the frozen policy's draws at every step of round N of all tasks, which share them
state.pt            the rounds that are learned from, and the training of all critics
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from pickle import UnpicklingError
from typing import Any
from zipfile import is_zipfile

import torch

from sim_eval.analysis.curves import CURVE, OPTIONS, TOGETHER
from sim_eval.foundation.errors import RunError
from sim_eval.foundation.fields import read_json
from sim_eval.foundation.files import write_text, written
from sim_eval.runs import run_folder
from sim_eval.training.trajectories import Trajectory, read_hdf5, write_hdf5

_STATE = "state.pt"
_REPLAY = "replay"
_DRAWS = "draws"


@dataclass(frozen=True)
class Evaluation:
    """The learned critic's sampler on the eval block.

    steps: steered environment steps played before, from all of which the critic has learned. outcomes: success by
        episode. strength: the sampler's, None if it has none. critic: the objective's figures, and `twin_agreement`.
        unsteered: success of the frozen policy's own draws in the same episodes, in the first evaluation alone; None in
        the others, and where `unsteered` is the sampler.
    """

    steps: int
    outcomes: tuple[bool, ...]
    mean_q: float
    strength: float | None
    critic: Mapping[str, float | None]
    unsteered: tuple[bool, ...] | None = None

    @classmethod
    def of(cls, stored: Mapping[str, Any]) -> Evaluation:
        """As `stored` has it. Raises TypeError and KeyError for another mapping."""
        lists = {name: tuple(stored[name]) for name in ("outcomes", "unsteered") if stored.get(name) is not None}
        return cls(**{**stored, **lists})

    def stored(self) -> dict[str, Any]:
        """The entry of curve.json."""
        return {name: value for name, value in asdict(self).items() if name != "unsteered" or value is not None}


@dataclass
class LearnerState:
    """Where the learner is. steps: environment steps of `rounds` finished, steered rounds.

    weights: of the latest fit, by the name of the network. figures: the objective's, of that fit. strength: after how
    many `steps` one was chosen, and which; None if none was.
    """

    rounds: int = 0
    steps: int = 0
    weights: dict[str, Any] = field(default_factory=dict)
    figures: Mapping[str, float | None] = field(default_factory=dict)
    strength: tuple[int, float] | None = None
    curve: list[Evaluation] = field(default_factory=list)


@dataclass(frozen=True)
class LearnFolder:
    """An open, locked folder."""

    path: Path

    def begin(self) -> None:
        """Keep the folder from now on, whatever ends the run; one without any round is removed."""
        (self.path / _REPLAY).mkdir(exist_ok=True)

    def write_replay(self, number: int, trajectories: Sequence[Trajectory], task: str) -> None:
        """Keep the episodes of a round, 0 for the frozen policy's. Raises RunError if they cannot be written."""
        write_hdf5(self._replay(number), trajectories, task)

    def read_replay(self, number: int, observations: Sequence[str]) -> list[Trajectory]:
        """The episodes of a round, with the vectors named. Raises DatasetError."""
        return read_hdf5(self._replay(number), observations)

    def draws(self, number: int) -> Path:
        """The file of the policy's draws in the states of a round."""
        return self.path / _DRAWS / f"{number:05d}.npy"

    def has_replay(self, number: int) -> bool:
        return self._replay(number).is_file()

    def write_state(self, state: LearnerState) -> None:
        """Keep the curve, then where the learner is. Raises RunError if they cannot be written."""
        self.write_curve(state.curve)
        content = io.BytesIO()
        torch.save(asdict(state), content)  # on a full disk torch's own writer raises errors of other kinds
        with written(self.path / _STATE) as part:
            part.write_bytes(content.getbuffer())

    def write_curve(self, curve: Sequence[Evaluation]) -> None:
        """Keep every evaluation. Raises RunError if it cannot be written."""
        write_text(self.path / CURVE, json.dumps([point.stored() for point in curve], indent=1) + "\n")

    def read_state(self) -> LearnerState | None:
        """Where an earlier run was; None if it has not finished anything. Raises RunError for a damaged file."""
        path = self.path / _STATE
        if not path.exists():
            return None
        if not is_zipfile(path):  # as torch writes it; of other files the reader's errors are of every kind
            raise RunError(f"{path} is damaged or another program's; accepted: another output")
        try:
            stored = torch.load(path, map_location="cpu", weights_only=True)
            curve = [Evaluation.of(point) for point in stored["curve"]]
            return LearnerState(**{**stored, "curve": curve})
        except (RuntimeError, KeyError, TypeError, ValueError, AttributeError, EOFError, UnpicklingError) as error:
            told = str(error).partition("\n")[0]
            raise RunError(f"{path} is damaged or another program's ({told}); accepted: another output") from None

    def _replay(self, number: int) -> Path:
        return self.path / _REPLAY / f"{number:05d}.hdf5"


class SharedFolder(LearnFolder):
    """What tasks that learn together share. Their curves are in folders of their own."""

    def write_curve(self, curve: Sequence[Evaluation]) -> None:
        """There is none."""


@contextmanager
def open_folder(path: Path, options: Mapping[str, Any]) -> Iterator[LearnFolder]:
    """Create or resume the folder, and lock it.

    `options`: plain values; those of "simulator", which folders of earlier versions lack, are taken for theirs. Raises
    RunError if the folder is in use, was made with other options or is damaged.
    """
    with run_folder.open_folder(path, OPTIONS, _REPLAY):
        _keep_options(path, OPTIONS, options)
        yield LearnFolder(path)


@contextmanager
def open_shared(path: Path, tasks: Sequence[str]) -> Iterator[SharedFolder]:
    """Create or resume the folder of tasks that learn together, and lock it; raises RunError as `open_folder`.

    It is removed if the block ends before there is a folder for the first task.
    """
    with run_folder.open_folder(path, TOGETHER, tasks[0]):
        _keep_options(path, TOGETHER, {"tasks": list(tasks)})
        yield SharedFolder(path)


def _keep_options(path: Path, file: str, options: Mapping[str, Any]) -> None:
    """Write the options into this `file` of the folder. Raises RunError if it holds others."""
    stored, asked = path / file, json.loads(json.dumps(options))
    if stored.exists():
        there = {"simulator": asked.get("simulator"), **read_json(stored, dict[str, Any])}
        differing = [
            f"{name} is {there.get(name)} there, {asked.get(name)} asked"
            for name in sorted(there.keys() | asked.keys())
            if there.get(name) != asked.get(name)
        ]
        if differing:
            raise RunError(f"output={path} was made otherwise: {'; '.join(differing)}; accepted: another output")
    write_text(stored, json.dumps(asked, indent=1) + "\n")
