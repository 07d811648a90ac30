"""The interface of a critic: Q(s, chunk), in units of its own spread."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from torch import Tensor


class Critic(ABC):
    """Values whole action chunks, in the policy's normalised action space.

    observations: the vectors that it reads, by robosuite's names. They may be simulator state that the policy does
        not see.
    observation_sizes: their lengths, checked against the task; any may be left out.
    uses_features: whether it also reads the policy's features.

    Divide Q by its spread over policy samples within one state, so that one scale of steering strengths suits all
    tasks.
    """

    observations: tuple[str, ...] = ()
    observation_sizes: Mapping[str, int] = MappingProxyType({})
    uses_features: bool = False

    @abstractmethod
    def encode(self, observation: Mapping[str, Any], features: Tensor | None) -> Tensor:
        """Arrays (B, n) of the latest control step to what `q` reads, (B, m). Called once per decision.

        `features`: the policy's, (B, C), if `uses_features`, else None.
        """

    @abstractmethod
    def q(self, actions: Tensor, encoded: Tensor) -> Tensor:
        """Q (B,) of normalised chunks (B, H, D), differentiable in them. `encoded`: what `encode` returned, (B, m)."""
