"""The frozen policy's draws at every control step that a critic learns from beside data: made once, kept in files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from critics.growing_replay import GrowingRows
from critics.replay import Replay
from policies.policy import Denoiser, Policy
from sim_eval.foundation.files import written
from sim_eval.training.draws import draws_everywhere
from sim_eval.training.online_fit import fit_seed
from sim_eval.training.trajectories import Trajectory

#: The part of a fit's seed that the draws have, as in `fit_seed`.
_DRAWS = 3


@dataclass
class KeptDraws:
    """`copies` draws of the policy at every step of all rounds, on the critic's `device`.

    path: the file of a round's. seed: the run's.
    """

    policy: Policy | Denoiser
    copies: int
    seed: int
    device: torch.device
    path: Callable[[int], Path]
    _rows: GrowingRows = field(default_factory=GrowingRows)
    _drawn: Tensor = field(default_factory=lambda: torch.zeros(0))  # (steps, K, h, D), all of `_rows`
    #: The control steps before each episode, and before the next: (episodes + 1,).
    _starts: Tensor = field(default_factory=lambda: torch.zeros(1, dtype=torch.long))

    def add(self, number: int, trajectories: Sequence[Trajectory]) -> None:
        """Draw at every step of round `number`, or read what an earlier run drew there."""
        lengths = torch.tensor([len(trajectory.actions) for trajectory in trajectories])
        starts = self._starts.to(self.device)
        self._starts = torch.cat([starts, starts[-1] + lengths.cumsum(0).to(self.device)])
        path = self.path(number)
        if not path.is_file():
            generator = torch.Generator().manual_seed(fit_seed(self.seed, number, _DRAWS))
            name = f"draws of round {number}"
            drawn = draws_everywhere(self.policy, trajectories, self.copies, generator, name)
            with written(path) as part:
                np.save(part, drawn.numpy())
        self._drawn = self._rows.append(torch.from_numpy(np.load(path)).to(self.device))

    def at(self, replay: Replay, rows: Tensor) -> Tensor:
        """The draws at the replay's rows (B,): (B, K, h, D)."""
        return self._drawn[self._starts[replay.episode[rows]] + replay.step[rows]].float()
