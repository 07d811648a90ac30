"""What a critic promises: Q(s, chunk) in units of its own spread."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from torch import Tensor


class Critic(ABC):
    """Values whole action chunks, in the policy's normalised action space.

    observations: the vectors that it reads, by robosuite's names. In simulation these may be the simulator's own
    state, whatever the policy sees. observation_sizes: their lengths, checked against the task; it may leave any out.
    uses_features: whether it reads the policy's own features too.

    Q should be in units of its spread over policy samples within one state, which brings the steering strengths of all
    tasks to one scale.
    """

    observations: tuple[str, ...] = ()
    observation_sizes: Mapping[str, int] = MappingProxyType({})
    uses_features: bool = False

    @abstractmethod
    def encode(self, observation: Mapping[str, Any], features: Tensor | None) -> Tensor:
        """Once a decision: arrays (B, n) of the latest control step to what `q` reads, (B, m).

        `features`: the policy's own (B, C) where `uses_features`, else None.
        """

    @abstractmethod
    def q(self, actions: Tensor, encoded: Tensor) -> Tensor:
        """Normalised chunks (B, H, D) and what `encode` gave, (B, m), to (B,); differentiable in the actions."""
