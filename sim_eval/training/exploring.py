"""Steering at random strengths, so that the critic learns from steering of every strength."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from critics.critic import Critic
from policies.policy import Observations
from sim_eval.samplers.sampler import Models, Sampler, required_critic


@dataclass(frozen=True)
class Exploring:
    """`sampler` at a share, drawn for each decision uniformly from 0 to `most`, of its own strength.

    On the exact scale strength and Q count by their product alone, so each row's Q is multiplied by its share.
    """

    sampler: Sampler
    most: float

    needs: ClassVar[frozenset[str]] = frozenset({"critic"})

    def __call__(self, models: Models, observation: Observations, generators: Sequence[torch.Generator]) -> Tensor:
        shares = self.most * torch.stack([torch.rand(1, generator=generator) for generator in generators])  # (B, 1)
        return self.sampler(replace(models, critic=_Shared(required_critic(models), shares)), observation, generators)


class _Shared(Critic):
    """Another critic's Q, times each row's share, which travels with what the critic encodes."""

    def __init__(self, inner: Critic, shares: Tensor) -> None:
        self._inner, self._shares = inner, shares
        self.observations, self.uses_features = inner.observations, inner.uses_features

    def encode(self, observation: Mapping[str, Any], features: Tensor | None) -> Tensor:
        encoded = self._inner.encode(observation, features)
        return torch.cat([encoded, self._shares.to(encoded)], dim=1)

    def q(self, actions: Tensor, encoded: Tensor) -> Tensor:
        return self._inner.q(actions, encoded[:, :-1]) * encoded[:, -1]
