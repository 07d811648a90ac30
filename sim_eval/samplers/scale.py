"""How far the critic's gradient moves the posterior mean: exact tilting, drift matching, or a constant weight."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from policies.schedule import Schedule, move

#: Maps the schedule, x, the posterior mean and the gradient, all (B, H, D), and the times t and u of a step to what is
#: added to the posterior mean, (B, H, D).
Scale = Callable[[Schedule, Tensor, Tensor, Tensor, float, float], Tensor]

#: The accepted values of a sampler's field `scale`.
SCALES = ("exact", "matched")

_TINY = 1e-8


def exact(schedule: Schedule, x: Tensor, clean: Tensor, gradient: Tensor, t: float, u: float) -> Tensor:
    """(sigma^2 / alpha) grad_x log h_t(x), which samples the policy tilted by h_1. `gradient`: grad_x log h_t(x)."""
    return schedule.sigma(t) ** 2 / schedule.alpha(t) * gradient


def drift_matched(strength: float) -> Scale:
    """Steer along the gradient, `strength` times as far as the policy moves x in the same step.

    On the linear path this is v + strength |v| / |g| g, norms over the whole chunk (Ruan et al. 2026, arXiv
    2606.14801). Only the gradient's direction counts, not the scale of Q, and the result is no tilted policy. The
    policy's step is that of its schedule, also where it overrides `Denoiser.step`.
    """

    def shift(schedule: Schedule, x: Tensor, clean: Tensor, gradient: Tensor, t: float, u: float) -> Tensor:
        step = move(schedule, x, clean, t, u) - x
        length = strength * _norm(step) / (_norm(gradient) + _TINY)
        return length * gradient / _carried(schedule, t, u)

    return shift


def constant(schedule: Schedule, x: Tensor, clean: Tensor, gradient: Tensor, t: float, u: float) -> Tensor:
    """Add the gradient to the velocity with the same weight at every step: x moves by (u - t) times the gradient."""
    return (u - t) * gradient / _carried(schedule, t, u)


def check_scale(scale: str) -> None:
    """Raise a ValueError if `scale` is not one of SCALES."""
    if scale not in SCALES:
        raise ValueError(f"scale={scale!r}: accepted is {' or '.join(SCALES)}")


def _carried(schedule: Schedule, t: float, u: float) -> Tensor:
    """How far the step from t to u moves x for a unit of the posterior mean."""
    return schedule.alpha(u) - schedule.sigma(u) * schedule.alpha(t) / schedule.sigma(t)


def _norm(chunks: Tensor) -> Tensor:
    """Of each whole chunk: (B, H, D) to (B, 1, 1)."""
    return torch.linalg.vector_norm(chunks, dim=(1, 2), keepdim=True)
