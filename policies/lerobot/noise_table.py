"""A discrete diffusion schedule in this suite's continuous time."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class NoiseTable:
    """The schedule of a policy trained on T noise levels: level k, T - 1 the noisiest, is at t = (T - 1 - k) / T.

    abar: (T,) float64, the table of products of alphas; alpha = sqrt(abar). Between levels the angle
    atan(alpha / sigma) is interpolated. t = 1 is the clean action. At t = 0 alpha is small, not 0, as in training.
    """

    abar: Tensor

    @property
    def levels(self) -> int:
        return len(self.abar)

    def alpha(self, t: float | Tensor) -> Tensor:
        return torch.sin(self._angle(t)).float()

    def sigma(self, t: float | Tensor) -> Tensor:
        return torch.cos(self._angle(t)).float()

    def time(self, ratio: Tensor) -> Tensor:
        grid, angles = self._table(ratio.device)
        return _interpolated(torch.atan(ratio.double()), angles, grid).to(ratio.dtype)

    def level(self, t: float) -> float:
        """The noise level at time t, -1 for the clean action; whole where t is at a level."""
        level = self.levels - 1 - t * self.levels
        return round(level) if abs(level - round(level)) < 1e-6 else level

    def time_of(self, level: int) -> float:
        """The time of a noise level, exactly 1 for -1."""
        return (self.levels - 1 - level) / self.levels

    def _angle(self, t: float | Tensor) -> Tensor:
        times = torch.as_tensor(t, dtype=torch.float64)
        return _interpolated(times, *self._table(times.device))

    def _table(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Times 0 to 1, and the angles at them, rising to pi / 2; (T + 1,) each."""
        angles = torch.atan2(self.abar.sqrt(), (1 - self.abar).sqrt()).flip(0)
        angles = torch.cat([angles, torch.tensor([math.pi / 2], dtype=torch.float64)])
        return torch.linspace(0, 1, self.levels + 1, dtype=torch.float64, device=device), angles.to(device)


def _interpolated(at: Tensor, points: Tensor, values: Tensor) -> Tensor:
    """Linear interpolation of `values` over rising `points`, constant beyond their ends."""
    at = at.clamp(points[0], points[-1])
    right = torch.searchsorted(points, at.contiguous()).clamp(1, len(points) - 1)
    share = (at - points[right - 1]) / (points[right] - points[right - 1])
    return values[right - 1] + share * (values[right] - values[right - 1])
