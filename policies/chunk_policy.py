"""The small frozen policies that the suite ships: a `Denoiser` over a trained `ChunkNetwork`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from policies.cloned_policy import ClonedPolicy
from policies.family import FAMILIES
from policies.network import ChunkNetwork
from policies.observation import ObservationRequest
from policies.policy import Observations


@dataclass(frozen=True)
class PolicyConfig:
    """The configuration that the policy is rebuilt from. Raises ValueError for an unknown family.

    `family`: "flow" or "diffusion". `observation_sizes`: length of each observation vector, in input order.
    """

    family: str
    observation_sizes: dict[str, int]
    action_dim: int
    horizon: int = 8
    execute: int = 8
    width: int = 320
    depth: int = 4

    def __post_init__(self) -> None:
        if self.family not in FAMILIES:
            raise ValueError(f"family={self.family!r}: accepted are {', '.join(FAMILIES)}")


def flatten_observation(observation: Mapping[str, np.ndarray], sizes: Mapping[str, int]) -> np.ndarray:
    """Concatenate the arrays (B, n) that `sizes` names, in its order: (B, sum of n), float32."""
    return np.concatenate([np.asarray(observation[name], np.float32) for name in sizes], axis=1)


class ChunkPolicy(ClonedPolicy):
    """A behaviour-cloned policy over action chunks. Its normalisation is stored with the weights, as buffers."""

    observation_mean: Tensor
    observation_std: Tensor

    def __init__(self, config: PolicyConfig) -> None:
        super().__init__()
        self.config = config
        self.family = FAMILIES[config.family]
        self.schedule = self.family.schedule
        self.horizon, self.execute, self.action_dim = config.horizon, config.execute, config.action_dim
        self.observation_sizes = dict(config.observation_sizes)
        self.request = ObservationRequest(tuple(self.observation_sizes))
        n = sum(self.observation_sizes.values())
        self.network = ChunkNetwork(n, config.horizon, config.action_dim, config.width, config.depth)
        self.register_buffer("observation_mean", torch.zeros(n))
        self.register_buffer("observation_std", torch.ones(n))
        self.register_buffer("action_mean", torch.zeros(config.action_dim))
        self.register_buffer("action_std", torch.ones(config.action_dim))

    @torch.no_grad()
    def encode(self, observation: Observations) -> Tensor:
        flat = torch.from_numpy(flatten_observation(observation, self.observation_sizes)).to(self.device)
        return self.network.embed((flat - self.observation_mean) / self.observation_std)
