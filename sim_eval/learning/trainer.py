"""A critic that is updated as its replay grows."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from critics.actor import ChunkActor
from critics.ensemble import EnsembleCritic
from critics.objectives import OBJECTIVES
from critics.replay import build_replay
from sim_eval.learning.actors import ActorLearner
from sim_eval.training.draws import PolicyDraws, joined
from sim_eval.training.fit import update_average
from sim_eval.training.workspace import random_rows, seeded_weights

LEARNING_RATE, WEIGHT_DECAY = 5e-4, 1e-2

#: An episode of the replay: raw observations (T, n), normalised chunks (T, H, D), success.
Played = tuple[Tensor, Tensor, bool]


class CriticTrainer:
    """Optimises `critic` by an objective of `critics.objectives`; its state can be saved between two updates.

    What steers, and what actors learn from, is an exponential moving average of the weights: a single update moves the
    gradient of Q too much. `seed` determines weights and batches of `batch` rows. `first`: the episodes that the
    replay starts with. `actors` learn from the critic, a step for each of its own, on `draws` of the policy.
    """

    def __init__(
        self,
        critic: EnsembleCritic,
        first: Sequence[Played],
        seed: int,
        batch: int,
        actors: Mapping[str, ActorLearner],
        draws: PolicyDraws,
    ) -> None:
        self.critic, self.actors, self._batch, self._draws = critic, actors, batch, draws
        self._average, self._updates = copy.deepcopy(critic).requires_grad_(False), 0
        self._episodes, self._grown = self._normalised(first), False
        with seeded_weights(seed):
            self._objective = OBJECTIVES[critic.config.method](critic, build_replay(self._episodes))
        self._optimiser = _optimiser(self._objective.module.parameters(), WEIGHT_DECAY)
        self._actor_optimisers = {need: _optimiser(actor.parameters(), 0.0) for need, actor in actors.items()}
        self._generator = torch.Generator().manual_seed(seed)

    def add(self, episodes: Sequence[Played], draws: PolicyDraws | None) -> None:
        """Add episodes to the replay, and the policy's draws in their states to those that actors learn from."""
        self._episodes += self._normalised(episodes)
        self._grown = True
        self._draws = self._draws if draws is None else joined([self._draws, draws])

    def update(self, count: int, shown_as: str | None = None) -> None:
        """Take `count` optimiser steps on the replay.

        `shown_as`: name of a progress bar, if there is to be one. Raises FloatingPointError if the loss is not finite.
        """
        objective, loss = self._objective, torch.zeros(())
        if self._grown:  # once for all that was added since
            objective.replay, self._grown = build_replay(self._episodes), False
        for _ in tqdm(range(count), desc=shown_as, disable=None if shown_as else True):
            rows = random_rows(len(objective.replay), self._batch, self._generator)
            loss = objective.loss(rows, self._generator)
            self._optimiser.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(objective.module.parameters(), 1.0)
            self._optimiser.step()
            objective.after_step()
            update_average(list(self._average.parameters()), list(self.critic.parameters()), self._updates)
            self._updates += 1
            for need, actor in self.actors.items():
                self._update_actor(actor, self._actor_optimisers[need])
        if not torch.isfinite(loss):
            raise FloatingPointError(f"the critic's loss is {loss.item()}")

    def _update_actor(self, actor: ActorLearner, optimiser: torch.optim.Optimizer) -> None:
        rows = random_rows(len(self._draws), self._batch, self._generator)
        optimiser.zero_grad(set_to_none=True)
        actor.loss(self._average, self._draws[rows], self._generator).backward()
        nn.utils.clip_grad_norm_(actor.parameters(), 1.0)
        optimiser.step()

    def frozen(self) -> EnsembleCritic:
        """A copy of the averaged critic that later updates leave alone."""
        return copy.deepcopy(self._average).eval()

    def frozen_actors(self) -> dict[str, ChunkActor]:
        """Copies of the actors, as `frozen`."""
        return {need: copy.deepcopy(actor.actor).requires_grad_(False).eval() for need, actor in self.actors.items()}

    def state(self) -> dict[str, Any]:
        """Everything that updates change, except the replay."""
        return {
            "modules": {name: module.state_dict() for name, module in self._modules().items()},
            "optimisers": {name: optimiser.state_dict() for name, optimiser in self._optimisers().items()},
            "generator": self._generator.get_state(),
            "updates": self._updates,
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Return to what `state` gave."""
        for name, module in self._modules().items():
            module.load_state_dict(state["modules"][name])
        for name, optimiser in self._optimisers().items():
            optimiser.load_state_dict(state["optimisers"][name])
        self._generator.set_state(state["generator"])
        self._updates = state["updates"]

    def _modules(self) -> dict[str, nn.Module]:
        """The objective's networks: the critic, and its target or value network; the average; then the actors'."""
        networks = {name: value for name, value in vars(self._objective).items() if isinstance(value, nn.Module)}
        return {**networks, "average": self._average, **self.actors}

    def _optimisers(self) -> dict[str, torch.optim.Optimizer]:
        return {"critic": self._optimiser, **self._actor_optimisers}

    def _normalised(self, episodes: Sequence[Played]) -> list[Played]:
        return [(self.critic.normalise(observations), chunks, success) for observations, chunks, success in episodes]


def _optimiser(parameters: Iterable[nn.Parameter], weight_decay: float) -> torch.optim.Optimizer:
    return torch.optim.AdamW(parameters, lr=LEARNING_RATE, weight_decay=weight_decay, fused=True)
