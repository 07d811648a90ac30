"""Actors that learn beside the critic, one kind for each sampler that needs one.

Both learn as in SAC (Haarnoja et al. 2018, arXiv 1801.01290): as high a value as possible at a given entropy.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from critics.actor import ActorConfig, ChunkActor
from critics.ensemble import EnsembleCritic
from critics.network import EnsembleMLP
from sim_eval.training.draws import PolicyDraws

#: Largest absolute entry of the noise that is drawn, in standard deviations, and of an edit, in normalised units.
NOISE_BOUND, EDIT_BOUND = 1.5, 0.3
#: The entropy that an actor is held at, in nats per entry of a chunk: a deviation of about a tenth of the bound.
ENTROPY = -1.0


class ActorLearner(nn.Module, ABC):
    """An actor, the temperature of its entropy, and what else it needs to learn. `need`: the sampler's name for it."""

    need: str

    def __init__(self, actor: ChunkActor) -> None:
        super().__init__()
        self.actor = actor
        self.log_temperature = nn.Parameter(torch.tensor(-2.0))

    @abstractmethod
    def loss(self, critic: EnsembleCritic, draws: PolicyDraws, generator: torch.Generator) -> Tensor:
        """The loss, a scalar, on a mini-batch of the policy's draws. The critic's own gradients are not used."""
        ...

    def regularised(self, value: Tensor, log_density: Tensor) -> Tensor:
        """The actor's loss for draws of this value and log-density, both (B,), and the temperature's."""
        temperature, entropy = self.log_temperature.exp(), -log_density
        target = ENTROPY * self.actor.config.horizon * self.actor.config.action_dim
        actor = (temperature.detach() * log_density - value).mean()
        return actor + temperature * (entropy.detach() - target).mean()


class NoiseActor(ActorLearner):
    """DSRL with noise aliasing (Wagenmaker et al. 2025, arXiv 2506.15799, algorithm 1).

    A second critic learns the value of a noise, Q(s, policy's chunk from that noise), so that the actor's gradient need
    not go through the denoising.
    """

    need = "noise_actor"

    def __init__(self, inputs: int, horizon: int, action_dim: int) -> None:
        super().__init__(ChunkActor(ActorConfig(inputs, action_dim, horizon, NOISE_BOUND)))
        self.value = EnsembleMLP(1, inputs + horizon * action_dim, width=256, depth=2)

    def loss(self, critic: EnsembleCritic, draws: PolicyDraws, generator: torch.Generator) -> Tensor:
        with torch.no_grad():
            target = critic.q(draws.chunks, draws.encoded)
        distilled = F.mse_loss(self._value(draws.encoded, draws.noise), target)
        z = torch.randn(draws.noise.shape, generator=generator, device=draws.noise.device)
        noise, log_density = self.actor.draw(draws.encoded, z)
        return distilled + self.regularised(
            _linearised(lambda noise: self._value(draws.encoded, noise), noise), log_density
        )

    def _value(self, encoded: Tensor, noise: Tensor) -> Tensor:
        """(B,)"""
        return self.value(torch.cat([encoded, noise.flatten(1)], dim=1))[0]


class EditActor(ActorLearner):
    """EXPO's edit policy, which moves the policy's chunks towards high Q (Dong et al. 2025, arXiv 2507.07986)."""

    need = "edit_actor"

    def __init__(self, inputs: int, horizon: int, action_dim: int) -> None:
        super().__init__(ChunkActor(ActorConfig(inputs + horizon * action_dim, action_dim, horizon, EDIT_BOUND)))

    def loss(self, critic: EnsembleCritic, draws: PolicyDraws, generator: torch.Generator) -> Tensor:
        z = torch.randn(draws.chunks.shape, generator=generator, device=draws.chunks.device)
        edits, log_density = self.actor.draw(torch.cat([draws.encoded, draws.chunks.flatten(1)], dim=1), z)
        value = _linearised(lambda edits: critic.q(draws.chunks + edits, draws.encoded), edits)
        return self.regularised(value, log_density)


def _linearised(value: Callable[[Tensor], Tensor], points: Tensor) -> Tensor:
    """A term (B,) with the gradient of `value` (B,) in the points (B, H, D), and none in the weights behind it."""
    leaf = points.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(value(leaf).sum(), leaf)
    return (gradient * points).flatten(1).sum(1)


ACTOR_LEARNERS: dict[str, type[NoiseActor] | type[EditActor]] = {kind.need: kind for kind in (NoiseActor, EditActor)}
