"""A policy in closed form: a 2-D Gaussian mixture whose posterior mean, and whose tilted target, are known."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from policies.observation import ObservationRequest
from policies.policy import Denoiser, Observations
from policies.schedule import LinearPath, Schedule


@dataclass
class MixtureDenoiser(Denoiser):
    """p(a) = sum_i weight_i N(mean_i, std_i^2 I) over chunks (H = 1, D = 2), the same in every state."""

    means: Tensor  # (M, D)
    stds: Tensor  # (M,)
    weights: Tensor  # (M,)
    schedule: Schedule = field(default_factory=LinearPath)
    horizon: int = 1
    execute: int = 1
    action_dim: int = 2
    request: ObservationRequest = field(default_factory=lambda: ObservationRequest(("state",)))

    def encode(self, observation: Observations) -> Tensor:
        return torch.as_tensor(observation["state"])

    def repeat(self, context: Tensor, copies: int) -> Tensor:
        return context.repeat_interleave(copies, dim=0)

    def features(self, context: Tensor) -> Tensor:
        return context

    def clean(self, x: Tensor, t: float | Tensor, context: Tensor) -> Tensor:
        alpha, sigma = (
            torch.as_tensor(f(t)).to(x).reshape(-1, 1, 1) for f in (self.schedule.alpha, self.schedule.sigma)
        )
        means, prior = self.means.to(x), self.stds.to(x)[:, None] ** 2  # (M, D), (M, 1)
        variance = alpha**2 * prior + sigma**2  # (B or 1, M, 1) of x within each component
        offset = x - alpha * means  # (B, M, D)
        log_weight = self.weights.to(x).log()[:, None] - self.action_dim / 2 * variance.log()
        log_weight = log_weight - (offset**2).sum(-1, keepdim=True) / (2 * variance)
        component = means + alpha * prior / variance * offset  # (B, M, D)
        return (log_weight.softmax(1) * component).sum(1, keepdim=True)

    def unnormalise(self, actions: Tensor) -> np.ndarray:
        return actions.numpy().astype(np.float32)

    def draws(self, n: int, generator: torch.Generator) -> Tensor:
        i = torch.multinomial(self.weights, n, replacement=True, generator=generator)
        eps = torch.randn((n, self.action_dim), generator=generator, dtype=self.means.dtype)
        return self.means[i] + self.stds[i, None] * eps
