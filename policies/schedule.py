"""Noise schedules: how a clean action chunk and Gaussian noise mix, x_t = alpha(t) a + sigma(t) eps.

One time convention for the whole suite: t runs from 0 (noise) to 1 (clean action).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


class Schedule(Protocol):
    """alpha(t), sigma(t) for t in [0, 1]; alpha(0) = 0, sigma(1) = 0."""

    def alpha(self, t: float | Tensor) -> Tensor: ...

    def sigma(self, t: float | Tensor) -> Tensor: ...

    def time(self, ratio: Tensor) -> Tensor:
        """The t at which alpha(t) / sigma(t) = ratio, ratio in [0, inf)."""
        ...


@dataclass(frozen=True)
class LinearPath:
    """Flow matching's straight path: alpha = t, sigma = 1 - t (Lipman et al. 2023, arXiv 2210.02747)."""

    def alpha(self, t: float | Tensor) -> Tensor:
        return torch.as_tensor(t)

    def sigma(self, t: float | Tensor) -> Tensor:
        return 1.0 - torch.as_tensor(t)

    def time(self, ratio: Tensor) -> Tensor:
        return ratio / (1.0 + ratio)


@dataclass(frozen=True)
class CosineVP:
    """Variance-preserving diffusion, alpha = sin(pi t / 2), sigma = cos(pi t / 2).

    The cosine schedule of Nichol and Dhariwal 2021 (arXiv 2102.09672) without its offset, in this suite's
    time direction.
    """

    def alpha(self, t: float | Tensor) -> Tensor:
        return torch.sin(torch.as_tensor(t) * (math.pi / 2))

    def sigma(self, t: float | Tensor) -> Tensor:
        return torch.cos(torch.as_tensor(t) * (math.pi / 2))

    def time(self, ratio: Tensor) -> Tensor:
        return torch.atan(ratio) * (2 / math.pi)


def move(schedule: Schedule, x: Tensor, clean: Tensor, t: float, u: float) -> Tensor:
    """The deterministic step from t to u, the same for both families: DDIM, which on the linear path is Euler's step.

    x_u = alpha(u) clean + sigma(u) noise, noise = (x - alpha(t) clean) / sigma(t)  (Song et al. 2021, arXiv
    2010.02502, eq. 12 with eta = 0). `x`, `clean`: (B, H, D); 0 <= t < 1. Returns (B, H, D).
    """
    noise = (x - schedule.alpha(t) * clean) / schedule.sigma(t)
    return schedule.alpha(u) * clean + schedule.sigma(u) * noise
