"""QPILOTS-M: the critic's gradient over differentiable draws of the posterior of the clean action."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from sim_eval.samplers.denoise import denoise, initial_noise
from sim_eval.samplers.sampler import Models, at_least_one, non_negative, required_critic, required_posterior


@dataclass(frozen=True)
class QPilotsM:
    """grad log h_t(x) estimated as grad_x log mean_k exp(strength Q(X(z_k; x, t))), k = 1..`draws`.

    X is the learned posterior net, z_k standard normal and fresh each step (Ruan et al. 2026, arXiv 2606.14801).
    Consistent as `draws` grows: with an exact X it samples the tilted policy. strength 0 is unsteered.
    """

    strength: float
    draws: int = 8
    steps: int = 10

    needs: ClassVar[frozenset[str]] = frozenset({"critic", "posterior"})

    def __post_init__(self) -> None:
        at_least_one(self, "draws", "steps")
        non_negative(self, "strength")

    def __call__(
        self, models: Models, observation: Mapping[str, np.ndarray], generators: Sequence[torch.Generator]
    ) -> Tensor:
        denoiser, critic, posterior = models.denoiser, required_critic(models), required_posterior(models)
        context, features = denoiser.encode(observation), critic.encode(observation, copies=self.draws)
        shape = (self.draws, denoiser.horizon, denoiser.action_dim)

        def guide(x: Tensor, t: float) -> tuple[Tensor, Tensor]:
            z = torch.stack([torch.randn(shape, generator=g) for g in generators], dim=1).to(x)  # (K, B, H, D)
            with torch.enable_grad():
                x = x.detach().requires_grad_()
                clean = denoiser.clean(x, t, context)
                draws = posterior.draw(z, x, t, clean, context).transpose(0, 1)  # (B, K, H, D)
                q = critic.q(draws.flatten(0, 1), features).view(-1, self.draws)  # (B, K)
                log_h = (self.strength * q).logsumexp(dim=1) - math.log(self.draws)
                (gradient,) = torch.autograd.grad(log_h.sum(), x)
            return clean.detach(), gradient

        return denoise(denoiser, initial_noise(denoiser, generators), context, self.steps, guide)
