"""Best of N: rejection by the critic, no gradient."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from sim_eval.samplers.denoise import denoise, initial_noise
from sim_eval.samplers.sampler import Models, at_least_one, required_critic


@dataclass(frozen=True)
class BestOfN:
    """`n` unsteered draws, of which the one with the highest Q is executed. n = 1 is unsteered."""

    n: int = 8
    steps: int = 10

    needs: ClassVar[frozenset[str]] = frozenset({"critic"})

    def __post_init__(self) -> None:
        at_least_one(self, "n", "steps")

    def __call__(
        self, models: Models, observation: Mapping[str, np.ndarray], generators: Sequence[torch.Generator]
    ) -> Tensor:
        denoiser, critic = models.denoiser, required_critic(models)
        context = denoiser.encode(observation, copies=self.n)
        noise = initial_noise(denoiser, generators, copies=self.n)  # (B * N, H, D)
        chunks = denoise(denoiser, noise, context, self.steps)
        with torch.no_grad():
            q = critic.q(chunks, critic.encode(observation, copies=self.n)).view(-1, self.n)  # (B, N)
        candidates = chunks.view(len(q), self.n, *chunks.shape[1:])  # (B, N, H, D)
        return candidates[torch.arange(len(q)), q.argmax(dim=1)]
