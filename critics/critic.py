"""What a critic promises: Q(s, chunk) in units of its own spread."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from torch import Tensor


class Critic(Protocol):
    """Values whole action chunks, in the policy's normalised action space.

    Q is divided by the critic's stored scale, the spread of Q over policy samples within one state, which brings the
    steering strengths of all tasks to one scale.
    """

    def encode(self, observation: Mapping[str, np.ndarray], copies: int = 1) -> Any:
        """Once a chunk: (B, n) arrays to features of B * copies rows, each row's copies adjacent."""
        ...

    def q(self, actions: Tensor, features: Any) -> Tensor:
        """(B, H, D) to (B,), differentiable in the actions."""
        ...
