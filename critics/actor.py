"""A learned actor over chunks: it draws the policy's initial noise (DSRL), or edits a chunk of the policy (EXPO)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_LEAST_LOG_STD, _MOST_LOG_STD = -5.0, 1.0


@dataclass(frozen=True)
class ActorConfig:
    """What the actor is rebuilt from. inputs: length of its condition; bound: largest absolute entry that it draws."""

    inputs: int
    action_dim: int
    horizon: int
    bound: float
    width: int = 256


class ChunkActor(nn.Module):
    """A Gaussian over chunks (H, D), squashed into (-bound, bound): SAC (Haarnoja et al. 2018, arXiv 1801.01290)."""

    def __init__(self, config: ActorConfig) -> None:
        super().__init__()
        self.config = config
        width, entries = config.width, config.horizon * config.action_dim
        self.network = nn.Sequential(
            nn.Linear(config.inputs, width), nn.LayerNorm(width), nn.GELU(),
            nn.Linear(width, width), nn.LayerNorm(width), nn.GELU(),
        )  # fmt: skip
        self.mean, self.log_std = nn.Linear(width, entries), nn.Linear(width, entries)

    def draw(self, condition: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        """The draw (B, H, D) that standard normal `z` (B, H, D) becomes under `condition` (B, n), and its log-density.

        The log-density (B,) is that of the draw divided by `bound`. Both are differentiable.
        """
        hidden = self.network(condition)
        low, high = _LEAST_LOG_STD, _MOST_LOG_STD
        log_std = low + 0.5 * (high - low) * (torch.tanh(self.log_std(hidden)) + 1)
        flat = z.flatten(1)
        before = self.mean(hidden) + log_std.exp() * flat
        log_normal = -0.5 * flat**2 - log_std - 0.5 * math.log(2 * math.pi)
        log_slope = 2 * (math.log(2) - before - F.softplus(-2 * before))  # of tanh, without cancellation
        return self.config.bound * torch.tanh(before).view_as(z), (log_normal - log_slope).sum(1)
