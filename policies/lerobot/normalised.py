"""The base of all LeRobot policies: their request, and the way from normalised chunks to actions."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from policies.lerobot.features import ObservationMap
from policies.lerobot.processors import Processors
from policies.policy import FrozenPolicy


class LeRobotActions(FrozenPolicy):
    """Normalised chunks are in the units of the checkpoint's network."""

    policy: nn.Module

    def __init__(self, processors: Processors, observations: ObservationMap, config: Any) -> None:
        self._processors, self._observations = processors, observations
        self.request = observations.request
        self.observation_sizes = observations.observation_sizes
        self.action_dim = config.action_feature.shape[0]

    @property
    def device(self) -> torch.device:
        return next(self.policy.parameters()).device

    def normalisation(self) -> tuple[Tensor, Tensor]:
        return self._processors.shift, self._processors.scale

    def unnormalise(self, actions: Tensor) -> np.ndarray:
        """The checkpoint's own post-processor, then the simulator's limits, [-1, 1]."""
        return self._processors.actions(actions).clamp(-1.0, 1.0).float().cpu().numpy()
