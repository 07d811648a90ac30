"""Functions of the models with their pullbacks, which map a gradient in the result to one in the argument.

A model may offer its own: `clean_with_pullback`, `q_with_pullback`, `draw_with_pullback`. Autograd gives those of all
others, user models among them. Small networks take as much time in autograd as in their arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from critics.critic import Critic
from policies.policy import Denoiser, Posterior

Pullback = Callable[[Tensor], Tensor]
#: Its second argument is added to the gradient: the sum is rounded as autograd's.
PullbackOnto = Callable[[Tensor, Tensor | float], Tensor]
PullbackToTwo = Callable[[Tensor], tuple[Tensor, Tensor]]


def clean_with_pullback(denoiser: Denoiser, x: Tensor, t: float, context: Any) -> tuple[Tensor, PullbackOnto]:
    """The denoiser's `clean`, and the pullback to x; all (B, H, D)."""
    if offers_pullback(denoiser, "clean"):
        own: tuple[Tensor, PullbackOnto] = denoiser.clean_with_pullback(x, t, context)  # type: ignore[attr-defined]
        return own
    return clean_by_autograd(denoiser, x, t, context)


def q_with_pullback(critic: Critic, actions: Tensor, encoded: Tensor) -> tuple[Tensor, Pullback]:
    """The critic's `q`, (B,), and the pullback to the actions, (B, H, D)."""
    if offers_pullback(critic, "q"):
        own: tuple[Tensor, Pullback] = critic.q_with_pullback(actions, encoded)  # type: ignore[attr-defined]
        return own
    return by_autograd(lambda actions: critic.q(actions, encoded), actions)


def draw_with_pullback(
    posterior: Posterior, z: Tensor, x: Tensor, t: float, clean: Tensor, context: Any
) -> tuple[Tensor, PullbackToTwo]:
    """The posterior's `draw`, (K, B, H, D), and the pullback to x and to `clean`, both (B, H, D)."""
    if offers_pullback(posterior, "draw"):
        own: tuple[Tensor, PullbackToTwo] = posterior.draw_with_pullback(z, x, t, clean, context)  # type: ignore[attr-defined]
        return own
    return draw_by_autograd(posterior, z, x, t, clean, context)


def offers_pullback(model: object, function: str) -> bool:
    """Whether the model has a pullback of its own, and no subclass has overridden the `function` without it."""
    for kind in type(model).__mro__:
        if f"{function}_with_pullback" in vars(kind):
            return True
        if function in vars(kind):
            return False
    return False


def by_autograd(function: Callable[[Tensor], Tensor], point: Tensor) -> tuple[Tensor, Pullback]:
    """The function's value at the point, and its pullback."""
    with torch.enable_grad():
        point = point.detach().requires_grad_()
        value = function(point)
    return value.detach(), lambda gradient: torch.autograd.grad(value, point, gradient)[0]


def clean_by_autograd(denoiser: Denoiser, x: Tensor, t: float, context: Any) -> tuple[Tensor, PullbackOnto]:
    """As `clean_with_pullback`, of any denoiser."""
    clean, pullback = by_autograd(lambda x: denoiser.clean(x, t, context), x)
    return clean, lambda gradient, onto: onto + pullback(gradient)


def draw_by_autograd(
    posterior: Posterior, z: Tensor, x: Tensor, t: float, clean: Tensor, context: Any
) -> tuple[Tensor, PullbackToTwo]:
    """As `draw_with_pullback`, of any posterior; one that does not read `clean` has the gradient 0 in it."""
    with torch.enable_grad():
        x, clean = x.detach().requires_grad_(), clean.detach().requires_grad_()
        draws = posterior.draw(z, x, t, clean, context)

    def pullback(gradient: Tensor) -> tuple[Tensor, Tensor]:
        of_x, of_clean = torch.autograd.grad(draws, (x, clean), gradient, materialize_grads=True)
        return of_x, of_clean

    return draws.detach(), pullback
