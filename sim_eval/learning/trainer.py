"""A critic that is updated as its replay grows."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from critics.ensemble import EnsembleCritic
from critics.objectives import OBJECTIVES
from critics.replay import build_replay
from sim_eval.training.workspace import random_rows, seeded_weights

LEARNING_RATE, WEIGHT_DECAY = 3e-4, 1e-2

#: An episode of the replay: raw observations (T, n), normalised chunks (T, H, D), success.
Played = tuple[Tensor, Tensor, bool]


class CriticTrainer:
    """Optimises `critic` by an objective of `critics.objectives`; its state can be saved between two updates.

    `seed` determines weights and batches of `batch` rows. `first`: the episodes that the replay starts with.
    """

    def __init__(self, critic: EnsembleCritic, first: Sequence[Played], seed: int, batch: int) -> None:
        self.critic, self._batch = critic, batch
        self._episodes = self._normalised(first)
        with seeded_weights(seed):
            self._objective = OBJECTIVES[critic.config.method](critic, build_replay(self._episodes))
        trained = self._objective.module.parameters()
        self._optimiser = torch.optim.AdamW(trained, lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
        self._generator = torch.Generator().manual_seed(seed)

    def add(self, episodes: Sequence[Played]) -> None:
        """Add episodes to the replay."""
        self._episodes += self._normalised(episodes)
        self._objective.replay = build_replay(self._episodes)

    def update(self, count: int, shown_as: str | None = None) -> None:
        """Take `count` optimiser steps on the replay.

        `shown_as`: name of a progress bar, if there is to be one. Raises FloatingPointError if the loss is not finite.
        """
        objective, loss = self._objective, torch.zeros(())
        for _ in tqdm(range(count), desc=shown_as, disable=None if shown_as else True):
            rows = random_rows(len(objective.replay), self._batch, self._generator)
            loss = objective.loss(rows, self._generator)
            self._optimiser.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(objective.module.parameters(), 1.0)
            self._optimiser.step()
            objective.after_step()
        if not torch.isfinite(loss):
            raise FloatingPointError(f"the critic's loss is {loss.item()}")

    def frozen(self) -> EnsembleCritic:
        """A copy of the critic that later updates leave alone."""
        return copy.deepcopy(self.critic).requires_grad_(False).eval()

    def state(self) -> dict[str, Any]:
        """Everything that updates change, except the replay."""
        modules = {name: module.state_dict() for name, module in self._modules().items()}
        return {"modules": modules, "optimiser": self._optimiser.state_dict(), "generator": self._generator.get_state()}

    def load(self, state: Mapping[str, Any]) -> None:
        """Return to what `state` gave."""
        for name, module in self._modules().items():
            module.load_state_dict(state["modules"][name])
        self._optimiser.load_state_dict(state["optimiser"])
        self._generator.set_state(state["generator"])

    def _modules(self) -> dict[str, nn.Module]:
        """The objective's networks: the critic, and its target or value network."""
        return {name: value for name, value in vars(self._objective).items() if isinstance(value, nn.Module)}

    def _normalised(self, episodes: Sequence[Played]) -> list[Played]:
        return [(self.critic.normalise(observations), chunks, success) for observations, chunks, success in episodes]
