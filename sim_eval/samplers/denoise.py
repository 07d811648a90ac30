"""The denoising loop that every sampler shares: a sampler adds only its estimate of grad_x log h_t(x)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from policies.from_host import to_device
from policies.policy import Denoiser, Observations, Policy
from sim_eval.samplers.scale import Scale, exact

#: Maps x (B, H, D) and t to the posterior mean and the steering gradient, for exact tilting grad_x log h_t(x), both
#: (B, H, D).
Guide = Callable[[Tensor, float], tuple[Tensor, Tensor]]


def denoise(
    denoiser: Denoiser, x: Tensor, context: Any, steps: int, guide: Guide | None = None, scale: Scale = exact
) -> Tensor:
    """Noise x (B, H, D) at t = 0 to a clean chunk (B, H, D) at t = 1, in `steps` steps of the denoiser's time grid.

    With h_t(x) = E[exp(strength Q(a)) given x_t = x], steering moves the posterior mean by
    (sigma^2 / alpha) grad_x log h_t(x), which samples the policy tilted by exp(strength Q); another `scale` moves it
    differently. At t = 0, x is independent of the action, so grad log h is 0 and the first step is never steered. The
    denoiser's own clamp acts after steering.
    """
    for t, u in pairwise(denoiser.times(steps)):
        if guide is None or t == 0.0:
            with torch.no_grad():
                clean = denoiser.clean(x, t, context)
        else:
            clean, gradient = guide(x, t)
            clean = clean + scale(denoiser.schedule, x, clean, gradient, t, u)
        x = denoiser.step(x, denoiser.project(clean), t, u, context)
    return x


def initial_noise(denoiser: Denoiser, generators: Sequence[torch.Generator], copies: int = 1) -> Tensor:
    """Standard normal (B * copies, H, D): `copies` draws from each row's generator, adjacent.

    Copies are drawn one by one, so that the first equals what the generator gives for copies = 1.
    """
    shape = (denoiser.horizon, denoiser.action_dim)
    noise = [torch.randn(shape, generator=g) for g in generators for _ in range(copies)]
    return to_device(torch.stack(noise), denoiser.device)


def draw_unsteered(
    policy: Policy | Denoiser,
    observation: Observations,
    generators: Sequence[torch.Generator],
    steps: int,
    copies: int = 1,
) -> tuple[Tensor, Any]:
    """`copies` chunks of the frozen policy per row, (B * copies, H, D), and the denoiser's context of B rows.

    A `Policy` samples in its own way: it ignores `steps`, and its context is None.
    """
    if not isinstance(policy, Denoiser):
        return policy.sample(observation, generators, copies), None
    context = policy.encode(observation)
    noise = initial_noise(policy, generators, copies)
    return denoise(policy, noise, policy.repeat(context, copies), steps), context
