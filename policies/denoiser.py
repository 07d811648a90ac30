"""What a frozen policy promises: the `Denoiser` and, for variant M of QPILOTS, the `Posterior`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from policies.schedule import Schedule


class Denoiser(Protocol):
    """A frozen policy, seen as the posterior mean of its clean action chunk.

    Actions are normalised inside; `unnormalise` takes a chunk back to the task's units.
    """

    @property
    def schedule(self) -> Schedule: ...

    @property
    def device(self) -> torch.device: ...

    @property
    def horizon(self) -> int:
        """H, actions a chunk."""
        ...

    @property
    def execute(self) -> int:
        """h <= H, actions executed before replanning."""
        ...

    @property
    def action_dim(self) -> int:
        """D."""
        ...

    @property
    def observation_sizes(self) -> Mapping[str, int]:
        """The observations that it reads, and the length of each."""
        ...

    def encode(self, observation: Mapping[str, np.ndarray], copies: int = 1) -> Any:
        """Once a chunk: (B, n) arrays to a context of B * copies rows, each row's copies adjacent."""
        ...

    def clean(self, x: Tensor, t: float | Tensor, context: Any) -> Tensor:
        """E[a given x_t = x]: (B, H, D) to (B, H, D), differentiable in x. `t` is a number or (B, 1, 1)."""
        ...

    def unnormalise(self, actions: Tensor) -> np.ndarray:
        """Normalised (B, H, D) to the task's actions, float32, clipped to [-1, 1]."""
        ...


class Posterior(Protocol):
    """Differentiable one-step draws of the clean action given a noisy one."""

    def draw(self, z: Tensor, x: Tensor, t: float, clean: Tensor, context: Any) -> Tensor:
        """z (K, B, H, D) standard normal, x (B, H, D): samples of a given x_t = x, (K, B, H, D).

        `clean` is the denoiser's posterior mean at x: a net may build on it, and is differentiable through it too.
        """
        ...
