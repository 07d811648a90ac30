"""DSRL: a learned actor draws the initial noise, and the frozen policy denoises it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from policies.policy import Observations
from sim_eval.samplers.denoise import denoise, initial_noise
from sim_eval.samplers.sampler import Models, at_least_one, encode_for_critic, required_actor, required_denoiser


@dataclass(frozen=True)
class DSRL:
    """Denoises noise of `noise_actor` instead of standard normal noise (Wagenmaker et al. 2025, arXiv 2506.15799).

    No gradient and no Q at evaluation: the actor learned from both, see `sim_eval.training.actors`.
    """

    steps: int = 10

    needs: ClassVar[frozenset[str]] = frozenset({"denoiser", "critic", "noise_actor"})

    def __post_init__(self) -> None:
        at_least_one(self, "steps")

    @torch.no_grad()
    def __call__(self, models: Models, observation: Observations, generators: Sequence[torch.Generator]) -> Tensor:
        denoiser, actor = required_denoiser(models), required_actor(models, "noise_actor")
        context = denoiser.encode(observation)
        encoded = encode_for_critic(models, observation, context)
        noise, _ = actor.draw(encoded, initial_noise(denoiser, generators))
        return denoise(denoiser, noise, context, self.steps)
