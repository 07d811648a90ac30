"""The network of the small policies: a residual MLP over the flattened chunk, conditioned on time and observation."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

FREQUENCIES = 16


def time_features(t: Tensor) -> Tensor:
    """t (B,) in [0, 1] to sines and cosines (B, 2 * FREQUENCIES), periods from 4 down to about 0.02."""
    frequencies = torch.exp(torch.linspace(math.log(math.pi / 2), math.log(300.0), FREQUENCIES)).to(t)
    angle = t[:, None] * frequencies
    return torch.cat([angle.sin(), angle.cos()], dim=1)


class Block(nn.Module):
    """Pre-norm residual layer of width `width`."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.linear = nn.Linear(width, width)

    def forward(self, h: Tensor) -> Tensor:
        return h + F.gelu(self.linear(self.norm(h)), approximate="tanh")


class ChunkNetwork(nn.Module):
    """Maps (inputs, t, observation embedding) to a chunk.

    `embed` runs once per chunk, the trunk once per denoising step. `inputs`: how many (B, H, D) tensors the trunk
    reads, 1 for a policy (x), 2 for a posterior net (z and x).
    """

    def __init__(
        self, observation_dim: int, horizon: int, action_dim: int, width: int, depth: int, inputs: int = 1
    ) -> None:
        super().__init__()
        self.shape = (horizon, action_dim)
        chunk = horizon * action_dim
        self.observation = nn.Sequential(
            nn.Linear(observation_dim, width), nn.GELU(approximate="tanh"), nn.Linear(width, width)
        )
        self.inputs = nn.Linear(inputs * chunk + 2 * FREQUENCIES, width)
        self.blocks = nn.Sequential(*(Block(width) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        self.output = nn.Linear(width, chunk)
        nn.init.zeros_(self.output.weight)

    def embed(self, observation: Tensor) -> Tensor:
        """Normalised observations (B, n) to their embeddings (B, width)."""
        return self.observation(observation)

    def forward(self, inputs: tuple[Tensor, ...], t: Tensor, embedding: Tensor) -> Tensor:
        """`inputs` (B, H, D) each, `t` (B,) in [0, 1], `embedding` (B, width) to (B, H, D)."""
        flat = [x.flatten(1) for x in inputs]
        h = self.inputs(torch.cat([*flat, time_features(t)], dim=1)) + embedding
        return self.output(self.norm(self.blocks(h))).unflatten(1, self.shape)
