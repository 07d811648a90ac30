"""Best of N: rejection by the critic, no gradient."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from policies.policy import Observations
from sim_eval.samplers.candidates import draw_candidates
from sim_eval.samplers.sampler import Models, at_least_one


@dataclass(frozen=True)
class BestOfN:
    """Draws `n` unsteered chunks and returns the one with the highest Q. n = 1 is unsteered."""

    n: int = 8
    steps: int = 10

    needs: ClassVar[frozenset[str]] = frozenset({"critic"})

    def __post_init__(self) -> None:
        at_least_one(self, "n", "steps")

    def __call__(self, models: Models, observation: Observations, generators: Sequence[torch.Generator]) -> Tensor:
        candidates, q = draw_candidates(models, observation, generators, self.n, self.steps)  # (B, N, H, D), (B, N)
        return candidates[torch.arange(len(q), device=q.device), q.argmax(dim=1)]
