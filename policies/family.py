"""The two families of frozen policies: what their networks predict, and the posterior mean that follows from it.

| symbol | here |
|---|---|
| a | clean action chunk (B, H, D) |
| eps | standard normal noise (B, H, D) |
| x_t = alpha(t) a + sigma(t) eps | noisy chunk |
| v | flow: velocity a - eps; diffusion: alpha eps - sigma a (Salimans and Ho 2022, arXiv 2202.00512) |
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from policies.schedule import CosineVP, LinearPath, Schedule


@dataclass(frozen=True)
class Family:
    """A noise schedule, what the network predicts, and how the clean chunk follows from the prediction.

    `target(a, eps, alpha, sigma)` gives v, which the network learns; `clean(x, v, alpha, sigma)` recovers a.
    `pullback(gradient, alpha, sigma)` maps a gradient in a to those in x and in v.
    """

    name: str
    schedule: Schedule
    target: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
    clean: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
    pullback: Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]

    def __reduce__(self) -> tuple[Callable[[str], Family], tuple[str]]:
        """By name: its functions have none by which they could be found in another process."""
        return family_named, (self.name,)


#: Diffusion predicts v, not eps: the clean action is then well defined at t = 0, where alpha is 0.
FAMILIES: dict[str, Family] = {
    "flow": Family(
        "flow",
        LinearPath(),
        target=lambda a, eps, alpha, sigma: a - eps,
        clean=lambda x, v, alpha, sigma: x + sigma * v,
        pullback=lambda gradient, alpha, sigma: (gradient, gradient * sigma),
    ),
    "diffusion": Family(
        "diffusion",
        CosineVP(),
        target=lambda a, eps, alpha, sigma: alpha * eps - sigma * a,
        clean=lambda x, v, alpha, sigma: alpha * x - sigma * v,
        pullback=lambda gradient, alpha, sigma: (gradient * alpha, -gradient * sigma),
    ),
}


def family_named(name: str) -> Family:
    return FAMILIES[name]
