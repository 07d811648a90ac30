"""The denoising loop that every sampler shares: a sampler adds only its estimate of grad_x log h_t(x)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from policies.denoiser import Denoiser
from policies.schedule import move

#: x (B, H, D) and t to the posterior mean and the steering gradient grad_x log h_t(x), both (B, H, D).
Guide = Callable[[Tensor, float], tuple[Tensor, Tensor]]


def denoise(denoiser: Denoiser, x: Tensor, context: Any, steps: int, guide: Guide | None = None) -> Tensor:
    """Noise x (B, H, D) at t = 0 to a clean action chunk at t = 1 in `steps` equal steps.

    With h_t(x) = E[exp(strength Q(a)) given x_t = x], steering moves the posterior mean by
    (sigma^2 / alpha) grad_x log h_t(x), which samples the policy tilted by exp(strength Q). At t = 0, x is
    independent of the action, so grad log h is 0 and the first step is never steered.
    """
    schedule = denoiser.schedule
    times = np.linspace(0.0, 1.0, steps + 1).tolist()
    for t, u in pairwise(times):
        if guide is None or t == 0.0:
            with torch.no_grad():
                clean = denoiser.clean(x, t, context)
        else:
            clean, gradient = guide(x, t)
            clean = clean + schedule.sigma(t) ** 2 / schedule.alpha(t) * gradient
        x = move(schedule, x, clean, t, u)
    return x


def initial_noise(denoiser: Denoiser, generators: Sequence[torch.Generator], copies: int = 1) -> Tensor:
    """Standard normal (B * copies, H, D): `copies` draws from each row's generator, adjacent.

    Copies are drawn one by one, so that the first equals what the generator gives for copies = 1.
    """
    shape = (denoiser.horizon, denoiser.action_dim)
    noise = [torch.randn(shape, generator=g) for g in generators for _ in range(copies)]
    return torch.stack(noise).to(denoiser.device)
