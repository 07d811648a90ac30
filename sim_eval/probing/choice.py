"""The two arms of the early argmax test: an unsteered episode, and the same one with one decision left to the critic.

A decision is known by the seed of its generator, which belongs to one decision of one episode alone.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from policies.policy import Observations
from sim_eval.rollout.keys import noise_generator
from sim_eval.samplers.candidates import draw_candidates
from sim_eval.samplers.denoise import draw_unsteered
from sim_eval.samplers.sampler import Models
from tasks.task import EpisodeKey


def decision_seed(key: EpisodeKey, decision: int) -> int:
    """The seed of the decision's generator."""
    return noise_generator(key.noise_seed, decision).initial_seed()


@dataclass(frozen=True, eq=False)
class Recording:
    """Unsteered; keeps every chunk (H, D), normalised, by its decision's seed."""

    steps: int
    chunks: dict[int, Tensor] = field(default_factory=dict)

    needs: ClassVar[frozenset[str]] = frozenset()

    def __call__(self, models: Models, observation: Observations, generators: Sequence[torch.Generator]) -> Tensor:
        chunks, _ = draw_unsteered(models.policy, observation, generators, self.steps)
        for generator, chunk in zip(generators, chunks, strict=True):
            # The first is the one that is executed: a decision whose latency is measured is drawn twice.
            self.chunks.setdefault(generator.initial_seed(), chunk.detach())
        return chunks


@dataclass(frozen=True, eq=False)
class ArgmaxOnce:
    """Executes `recorded` chunks; at `chosen` decisions the draw with the highest Q of `n`; elsewhere it is unsteered.

    `recorded` and `chosen` go by the decisions' seeds. The first of the `n` draws is the chunk that `Recording` drew in
    the same state with the same generator.
    """

    recorded: Mapping[int, Tensor]
    chosen: Collection[int]
    n: int
    steps: int

    needs: ClassVar[frozenset[str]] = frozenset({"critic"})

    def __call__(self, models: Models, observation: Observations, generators: Sequence[torch.Generator]) -> Tensor:
        seeds = [generator.initial_seed() for generator in generators]
        chosen = torch.tensor([seed in self.chosen for seed in seeds])
        n = self.n if chosen.any() else 1
        candidates, q = draw_candidates(models, observation, generators, n, self.steps)  # (B, n, H, D), (B, n)
        picked = torch.where(chosen.to(q.device), q.argmax(dim=1), 0)
        drawn = candidates[torch.arange(len(seeds)), picked]
        return torch.stack([self.recorded.get(seed, chunk) for seed, chunk in zip(seeds, drawn, strict=True)])
