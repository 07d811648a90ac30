"""The ensemble critic: Q(s, a_{1:H}) on normalised chunks, the log-odds of eventual success."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from critics.network import EnsembleMLP


@dataclass(frozen=True)
class CriticConfig:
    """What rebuilds the critic; `method` says how it was trained."""

    method: str
    observation_sizes: Mapping[str, int]
    action_dim: int
    horizon: int
    heads: int = 4
    width: int = 192
    depth: int = 3


class EnsembleCritic(nn.Module):
    """Log-odds of success in units of `scale`, the spread of the log-odds over policy samples within one state."""

    observation_mean: Tensor
    observation_std: Tensor
    scale: Tensor

    def __init__(self, config: CriticConfig) -> None:
        super().__init__()
        self.config = config
        self.observation_sizes = dict(config.observation_sizes)
        n = sum(self.observation_sizes.values())
        self.network = EnsembleMLP(config.heads, n + config.horizon * config.action_dim, config.width, config.depth)
        self.register_buffer("observation_mean", torch.zeros(n))
        self.register_buffer("observation_std", torch.ones(n))
        self.register_buffer("scale", torch.ones(()))

    def normalise(self, observations: Tensor) -> Tensor:
        """Raw observation vectors (B, n) to normalised ones."""
        return (observations - self.observation_mean) / self.observation_std

    @torch.no_grad()
    def encode(self, observation: Mapping[str, np.ndarray], copies: int = 1) -> Tensor:
        flat = np.concatenate([np.asarray(observation[k], np.float32) for k in self.observation_sizes], axis=1)
        features = self.normalise(torch.from_numpy(flat).to(self.scale.device))
        return features.repeat_interleave(copies, dim=0)

    def logits(self, actions: Tensor, features: Tensor) -> Tensor:
        """Every head's log-odds of success, (E, B), from normalised chunks (B, H, D) and features (B, n)."""
        return self.network(torch.cat([features, actions.flatten(1)], dim=1))

    def q(self, actions: Tensor, features: Tensor) -> Tensor:
        """The heads' mean log-odds in units of `scale`: (B, H, D) to (B,), differentiable in the actions."""
        return self.logits(actions, features).mean(0) / self.scale
