"""The suite's own policies: a `ChunkNetwork` denoises chunks for an embedding of the observation."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from policies.family import Family
from policies.network import ChunkNetwork
from policies.policy import Denoiser


class ClonedPolicy(nn.Module, Denoiser):
    """A behaviour-cloned policy whose context is the embedding (B, C) of the observation.

    A subclass sets `family`, `network` and the buffers `action_mean` and `action_std`, and encodes observations.
    """

    family: Family
    network: ChunkNetwork
    action_mean: Tensor
    action_std: Tensor

    @property
    def device(self) -> torch.device:
        return self.action_mean.device

    def normalisation(self) -> tuple[Tensor, Tensor]:
        return self.action_mean, self.action_std

    def repeat(self, context: Tensor, copies: int) -> Tensor:
        return context.repeat_interleave(copies, dim=0)

    def features(self, context: Tensor) -> Tensor:
        return context

    def predict(self, x: Tensor, t: float | Tensor, embedding: Tensor) -> Tensor:
        """The raw network output, (B, H, D): velocity or v. `t` is a number or (B, 1, 1)."""
        return self.network((x,), t, embedding)

    def clean(self, x: Tensor, t: float | Tensor, context: Tensor) -> Tensor:
        return self.family.clean(x, self.predict(x, t, context), self.schedule.alpha(t), self.schedule.sigma(t))

    @torch.no_grad()
    def clean_with_pullback(
        self, x: Tensor, t: float, context: Tensor
    ) -> tuple[Tensor, Callable[[Tensor, Tensor | float], Tensor]]:
        """`clean`, and what maps a gradient in it to that in x, added to a second argument; all (B, H, D)."""
        prediction, network_pullback = self.network.with_pullback((x,), t, context)
        alpha, sigma = self.schedule.alpha(t), self.schedule.sigma(t)

        def pullback(gradient: Tensor, onto: Tensor | float) -> Tensor:
            direct, through = self.family.pullback(gradient, alpha, sigma)
            return onto + direct + network_pullback(through)[0]  # in autograd's order

        return self.family.clean(x, prediction, alpha, sigma), pullback
