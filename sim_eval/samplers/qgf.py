"""Q-guided flow: the critic's gradient at the posterior mean, added to the velocity with a constant weight."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from policies.policy import Observations
from sim_eval.samplers.denoise import denoise, initial_noise
from sim_eval.samplers.sampler import (
    Models,
    at_least_one,
    encode_for_critic,
    non_negative,
    q_gradient,
    required_critic,
    required_denoiser,
)
from sim_eval.samplers.scale import constant


@dataclass(frozen=True)
class QGF:
    """v + strength * grad Q(a) at a = clean(x, t) (QGF, arXiv 2606.11087).

    The Jacobian d clean / d x is the identity, so the policy is never differentiated: `qpilots_u` without `jacobian`
    has the same gradient and the weight of exact tilting, which falls with t. strength 0 is unsteered.
    """

    strength: float
    steps: int = 10

    needs: ClassVar[frozenset[str]] = frozenset({"denoiser", "critic"})

    def __post_init__(self) -> None:
        at_least_one(self, "steps")
        non_negative(self, "strength")

    def __call__(self, models: Models, observation: Observations, generators: Sequence[torch.Generator]) -> Tensor:
        denoiser, critic = required_denoiser(models), required_critic(models)
        context = denoiser.encode(observation)
        encoded = encode_for_critic(models, observation, context)

        def guide(x: Tensor, t: float) -> tuple[Tensor, Tensor]:
            with torch.no_grad():
                clean = denoiser.clean(x, t, context)
            return clean, self.strength * q_gradient(critic, clean, encoded)

        return denoise(denoiser, initial_noise(denoiser, generators), context, self.steps, guide, constant)
