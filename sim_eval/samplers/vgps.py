"""V-GPS: one of N draws, at random, the likelier the higher its Q."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from policies.from_host import to_device
from policies.policy import Observations
from sim_eval.samplers.candidates import draw_candidates
from sim_eval.samplers.sampler import Models, at_least_one, non_negative


@dataclass(frozen=True)
class VGPS:
    """Draws `n` unsteered chunks and returns one with probability softmax(strength Q) (Nakamoto et al. 2024, arXiv
    2410.13816).

    Samples the tilted policy as `n` grows; strength 0 is one of `n` draws, an infinite one `best_of_n`.
    """

    strength: float
    n: int = 8
    steps: int = 10

    needs: ClassVar[frozenset[str]] = frozenset({"critic"})

    def __post_init__(self) -> None:
        at_least_one(self, "n", "steps")
        non_negative(self, "strength")

    def __call__(self, models: Models, observation: Observations, generators: Sequence[torch.Generator]) -> Tensor:
        candidates, q = draw_candidates(models, observation, generators, self.n, self.steps)  # (B, N, H, D), (B, N)
        uniform = to_device(torch.stack([torch.rand(self.n, generator=g) for g in generators]), q.device).to(q.dtype)
        gumbel = -torch.log(-torch.log(uniform.clamp(1e-7, 1 - 1e-7)))  # its maximum is a draw of the softmax
        return candidates[torch.arange(len(q), device=q.device), (self.strength * q + gumbel).argmax(dim=1)]
