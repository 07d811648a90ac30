"""Row counters around the models: a sampler's cost is the rows it evaluates, not the calls it makes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from critics.critic import Critic
from policies.denoiser import Denoiser, Posterior
from sim_eval.samplers.sampler import Models


class NonFiniteQError(Exception):
    """The critic answered a finite action chunk with NaN or infinity; `row` of `rows` was the first."""

    def __init__(self, row: int, rows: int) -> None:
        super().__init__(row, rows)
        self.row, self.rows = row, rows


@dataclass
class Rows:
    """Rows evaluated since the last `clear`."""

    policy: int = 0
    critic: int = 0
    posterior: int = 0

    def clear(self) -> None:
        self.policy = self.critic = self.posterior = 0


@dataclass
class CountedDenoiser:
    """A denoiser that counts the rows through `clean`."""

    inner: Denoiser
    rows: Rows

    def __post_init__(self) -> None:
        self.schedule = self.inner.schedule
        self.horizon, self.execute = self.inner.horizon, self.inner.execute
        self.action_dim, self.device = self.inner.action_dim, self.inner.device
        self.observation_sizes = self.inner.observation_sizes

    def encode(self, observation: Mapping[str, np.ndarray], copies: int = 1) -> Any:
        return self.inner.encode(observation, copies)

    def clean(self, x: Tensor, t: float | Tensor, context: Any) -> Tensor:
        self.rows.policy += x.shape[0]
        return self.inner.clean(x, t, context)

    def unnormalise(self, actions: Tensor) -> np.ndarray:
        return self.inner.unnormalise(actions)


@dataclass
class CountedCritic:
    """A critic that counts the rows through `q` and refuses to pass on NaN and infinity."""

    inner: Critic
    rows: Rows

    def encode(self, observation: Mapping[str, np.ndarray], copies: int = 1) -> Any:
        return self.inner.encode(observation, copies)

    def q(self, actions: Tensor, features: Any) -> Tensor:
        self.rows.critic += actions.shape[0]
        q = self.inner.q(actions, features)
        bad = ~torch.isfinite(q.detach())
        if bad.any() and torch.isfinite(actions.detach()).all():
            raise NonFiniteQError(int(bad.nonzero()[0, 0]), actions.shape[0])
        return q


@dataclass
class CountedPosterior:
    """A posterior net that counts the rows through `draw`, K * B a call."""

    inner: Posterior
    rows: Rows

    def draw(self, z: Tensor, x: Tensor, t: float, clean: Tensor, context: Any) -> Tensor:
        self.rows.posterior += z.shape[0] * z.shape[1]
        return self.inner.draw(z, x, t, clean, context)


@dataclass
class Counter:
    """Counted models and their counts."""

    models: Models
    rows: Rows = field(default_factory=Rows)

    def __post_init__(self) -> None:
        inner = self.models
        self.counted = Models(
            CountedDenoiser(inner.denoiser, self.rows),
            CountedCritic(inner.critic, self.rows) if inner.critic is not None else None,
            CountedPosterior(inner.posterior, self.rows) if inner.posterior is not None else None,
        )
