"""QPILOTS-U: the critic's gradient at one point, the posterior mean of the clean action."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from policies.policy import Denoiser, Observations
from sim_eval.samplers.candidates import keep_better
from sim_eval.samplers.denoise import denoise, initial_noise
from sim_eval.samplers.pullbacks import PullbackOnto, clean_with_pullback
from sim_eval.samplers.sampler import (
    Models,
    at_least_one,
    encode_for_critic,
    non_negative,
    q_gradient,
    required_critic,
    required_denoiser,
    true_or_false,
    within_bounds,
)
from sim_eval.samplers.scale import check_scale, drift_matched, exact


@dataclass(frozen=True)
class QPilotsU:
    """grad log h_t(x) estimated as strength * grad_x Q(clean(x, t)) (Ruan et al. 2026, arXiv 2606.14801).

    With `jacobian` the gradient is backpropagated through the posterior mean, one backward pass of the policy per step;
    otherwise the Jacobian d clean / d x is replaced by the identity. Exact for a Gaussian policy and a linear critic,
    else biased, because expectation and exponential are exchanged. strength 0 is unsteered.

    The paper steers with `scale` matched, strengths from 0.1 to 0.5, and `clip`, which asks for Q at actions within
    -1 and 1 and passes the gradient straight through.

    With `keep_best` the steered chunk is returned only where its Q, without `clip`, is above that of the unsteered
    chunk from the same noise, else the unsteered one ("keep best" of Q-VGM, arXiv 2606.08015). It costs `steps` more
    passes of the policy and two of the critic.
    """

    strength: float
    scale: str = "exact"  # or "matched", see `scale.drift_matched`
    jacobian: bool = True
    clip: bool = False
    keep_best: bool = False
    steps: int = 10

    needs: ClassVar[frozenset[str]] = frozenset({"denoiser", "critic"})

    def __post_init__(self) -> None:
        at_least_one(self, "steps")
        non_negative(self, "strength")
        true_or_false(self, "jacobian", "clip", "keep_best")
        check_scale(self.scale)

    def __call__(self, models: Models, observation: Observations, generators: Sequence[torch.Generator]) -> Tensor:
        denoiser, critic = required_denoiser(models), required_critic(models)
        context = denoiser.encode(observation)
        encoded = encode_for_critic(models, observation, context)
        exactly = self.scale == "exact"

        def guide(x: Tensor, t: float) -> tuple[Tensor, Tensor]:
            clean, pullback = self._clean(denoiser, x, t, context)
            of_clean = q_gradient(critic, within_bounds(denoiser, clean) if self.clip else clean, encoded)
            gradient = pullback(of_clean, 0.0)
            return clean, self.strength * gradient if exactly else gradient

        scale = exact if exactly else drift_matched(self.strength)
        noise = initial_noise(denoiser, generators)
        steered = denoise(denoiser, noise, context, self.steps, guide, scale)
        if not self.keep_best:
            return steered
        return keep_better(critic, encoded, steered, denoise(denoiser, noise, context, self.steps))

    def _clean(self, denoiser: Denoiser, x: Tensor, t: float, context: Any) -> tuple[Tensor, PullbackOnto]:
        """The posterior mean and its pullback, the identity without `jacobian`."""
        if self.jacobian:
            return clean_with_pullback(denoiser, x, t, context)
        with torch.no_grad():
            return denoiser.clean(x, t, context), lambda gradient, onto: onto + gradient
