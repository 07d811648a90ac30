"""Closed-form models for the point mass, cheap enough to run hundreds of episodes in a second."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from policies.schedule import LinearPath, Schedule
from sim_eval.samplers.sampler import Models


@dataclass
class ToyDenoiser:
    """A Gaussian policy, mean -position, through a random network whose rounding depends on the batch below 4
    rows."""

    schedule: Schedule = field(default_factory=LinearPath)
    horizon: int = 4
    execute: int = 3
    action_dim: int = 2
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    observation_sizes: Mapping[str, int] = field(default_factory=lambda: {"position": 2})

    def __post_init__(self) -> None:
        weight = torch.randn(256, 8, generator=torch.Generator().manual_seed(0))
        self._weight = weight

    def encode(self, observation: Mapping[str, np.ndarray], copies: int = 1) -> Tensor:
        return torch.from_numpy(observation["position"]).repeat_interleave(copies, 0)

    def clean(self, x: Tensor, t: float | Tensor, context: Any) -> Tensor:
        mean = -context[:, None, :].expand_as(x)
        wobble = torch.sin(x.flatten(1).repeat(1, 32) @ self._weight)
        return mean + 0.5 * wobble.view_as(x) + 0.5 * (x - mean) * t

    def unnormalise(self, actions: Tensor) -> np.ndarray:
        return np.clip(actions.numpy(), -1, 1).astype(np.float32)


@dataclass
class ToyCritic:
    """Q = minus the distance to the origin after the chunk's first action; NaN right of `nan_above`."""

    nan_above: float = 9.0

    def encode(self, observation: Mapping[str, np.ndarray], copies: int = 1) -> Tensor:
        return torch.from_numpy(observation["position"]).repeat_interleave(copies, 0)

    def q(self, actions: Tensor, features: Any) -> Tensor:
        q = -torch.linalg.norm(features + 0.1 * actions[:, 0], dim=1)
        return torch.where(features[:, 0] > self.nan_above, torch.nan, q)


@dataclass(frozen=True)
class ToySampler:
    """A few Euler steps, keeping the better of `n` draws by the critic; NaN in episodes that start with noise
    > `bad`."""

    needs: ClassVar[frozenset[str]] = frozenset({"critic"})
    n: int = 1
    bad: float = 9.0

    def __call__(
        self, models: Models, observation: Mapping[str, np.ndarray], generators: Sequence[torch.Generator]
    ) -> Tensor:
        policy = models.denoiser
        size = (self.n, policy.horizon, policy.action_dim)
        x = torch.cat([torch.randn(size, generator=generator) for generator in generators])
        x = torch.where(x[:, :1, :1] > self.bad, torch.nan, x)
        context = policy.encode(observation, self.n)
        for step in range(4):
            x = x + (policy.clean(x, step / 4, context) - x) / (4 - step)
        if self.n == 1:
            return x
        assert models.critic is not None
        q = models.critic.q(x, models.critic.encode(observation, self.n)).view(-1, self.n)
        return x.view(-1, *size)[torch.arange(len(q)), q.argmax(1)]
