"""The frozen policy as it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from sim_eval.samplers.denoise import denoise, initial_noise
from sim_eval.samplers.sampler import Models, at_least_one


@dataclass(frozen=True)
class Unsteered:
    """One draw from the frozen policy, `steps` denoising steps."""

    steps: int = 10

    needs: ClassVar[frozenset[str]] = frozenset()

    def __post_init__(self) -> None:
        at_least_one(self, "steps")

    def __call__(
        self, models: Models, observation: Mapping[str, np.ndarray], generators: Sequence[torch.Generator]
    ) -> Tensor:
        denoiser = models.denoiser
        context = denoiser.encode(observation)
        return denoise(denoiser, initial_noise(denoiser, generators), context, self.steps)
