"""Best of N: rejection by the critic, no gradient."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from policies.policy import Observations
from sim_eval.samplers.denoise import draw_unsteered
from sim_eval.samplers.sampler import Models, at_least_one, encode_for_critic, required_critic


@dataclass(frozen=True)
class BestOfN:
    """Draws `n` unsteered chunks and returns the one with the highest Q. n = 1 is unsteered."""

    n: int = 8
    steps: int = 10

    needs: ClassVar[frozenset[str]] = frozenset({"critic"})

    def __post_init__(self) -> None:
        at_least_one(self, "n", "steps")

    def __call__(self, models: Models, observation: Observations, generators: Sequence[torch.Generator]) -> Tensor:
        critic = required_critic(models)
        chunks, context = draw_unsteered(models.policy, observation, generators, self.steps, copies=self.n)
        encoded = encode_for_critic(models, observation, context).repeat_interleave(self.n, dim=0)
        with torch.no_grad():
            q = critic.q(chunks, encoded).view(-1, self.n)  # (B, N)
        candidates = chunks.view(len(q), self.n, *chunks.shape[1:])  # (B, N, H, D)
        return candidates[torch.arange(len(q)), q.argmax(dim=1)]
