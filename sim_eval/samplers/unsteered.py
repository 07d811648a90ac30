"""The frozen policy as it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from policies.policy import Observations
from sim_eval.samplers.denoise import draw_unsteered
from sim_eval.samplers.sampler import Models, at_least_one


@dataclass(frozen=True)
class Unsteered:
    """One draw from the frozen policy. `steps`: denoising steps of a `Denoiser`; a `Policy` ignores it."""

    steps: int = 10

    needs: ClassVar[frozenset[str]] = frozenset()

    def __post_init__(self) -> None:
        at_least_one(self, "steps")

    def __call__(self, models: Models, observation: Observations, generators: Sequence[torch.Generator]) -> Tensor:
        chunks, _ = draw_unsteered(models.policy, observation, generators, self.steps)
        return chunks
