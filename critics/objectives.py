"""How a critic is trained: Monte-Carlo success classification, discounted or not, SARSA, implicit Q-learning, outcomes.

All predict a probability of success as log-odds, under cross-entropy: values of a sparse 0/1 reward lie in
[0, 1], and classification losses fit them better than squared error (Farebrother et al. 2024, arXiv 2403.03950).
Monte-Carlo does not discount. SARSA and implicit Q-learning treat a chunk as one action and discount: the reward of its
H steps, plus gamma^H times the value at its end.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from critics.ensemble import EnsembleCritic
from critics.network import EnsembleMLP
from critics.outcome import OUTCOME, Outcome
from critics.replay import Replay

#: Standard deviation of the noise on chunks, in normalised units: it makes the critic smooth where steering moves them.
ACTION_NOISE = 0.05
TARGET_RATE = 0.005
DISCOUNT = 0.995
LEARNING_RATE, WEIGHT_DECAY = 5e-4, 1e-2


class Objective(Protocol):
    """A training loss over a replay, with the state that it keeps (target networks, value functions)."""

    learning_rate: float
    weight_decay: float

    @property
    def module(self) -> nn.Module:
        """Everything that the optimiser trains."""
        ...

    def loss(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        """The loss, a scalar, on the replay's `rows` (B,)."""
        ...

    def after_step(self) -> None:
        """Called once after each optimiser step."""
        ...

    def finish(self) -> dict[str, float | None]:
        """Called once after the last step and the averaging of weights; figures for the critic's card."""
        ...


def noisy(chunks: Tensor, generator: torch.Generator) -> Tensor:
    """Chunks (B, H, D), each entry moved by noise of `ACTION_NOISE`."""
    return chunks + ACTION_NOISE * torch.randn(chunks.shape, generator=generator)


def heads_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy of every head (E, B) against one target probability (B,)."""
    return F.binary_cross_entropy_with_logits(logits, target.expand_as(logits))


def update_target(target: nn.Module, trained: nn.Module) -> None:
    """Polyak averaging: move the target's parameters towards the trained ones by the fraction `TARGET_RATE`."""
    for slow, fast in zip(target.parameters(), trained.parameters(), strict=True):
        slow.lerp_(fast.detach(), TARGET_RATE)


def chunk_reward(replay: Replay, rows: Tensor, horizon: int) -> Tensor:
    """Discounted reward (B,) within each chunk: gamma^(steps to success - 1) if the episode succeeds in it, else 0."""
    last = replay.steps_left[rows] <= horizon
    return last * replay.success[rows] * DISCOUNT ** (replay.steps_left[rows] - 1)


class MonteCarlo:
    """Did the episode succeed? No discount, no bootstrapping: the value of the policies that generated the data."""

    learning_rate, weight_decay = LEARNING_RATE, WEIGHT_DECAY

    def __init__(self, critic: EnsembleCritic, replay: Replay) -> None:
        self.module, self.replay = critic, replay

    def loss(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        chunks = noisy(self.replay.chunks[rows], generator)
        return heads_loss(self.module.logits(chunks, self.replay.observations[rows]), self.target(rows))

    def target(self, rows: Tensor) -> Tensor:
        """What the critic is to predict for the replay's `rows`, (B,) in [0, 1]."""
        return self.replay.success[rows]

    def after_step(self) -> None:
        pass

    def finish(self) -> dict[str, float | None]:
        return {}


class MonteCarloReturn(MonteCarlo):
    """How soon did the episode succeed? The discounted return, which no bootstrapping carries.

    Whether an episode succeeds says little of a single chunk of a policy that fails and tries again; how long success
    took says more.
    """

    DISCOUNT = 0.99

    def target(self, rows: Tensor) -> Tensor:
        return self.replay.success[rows] * self.DISCOUNT ** (self.replay.steps_left[rows] - 1)


class Sarsa:
    """Bootstraps on the chunk that the data executed next: Q(s, a) <- r + gamma^H Q'(s', a')."""

    learning_rate, weight_decay = LEARNING_RATE, WEIGHT_DECAY

    def __init__(self, critic: EnsembleCritic, replay: Replay) -> None:
        self.module, self.replay = critic, replay
        self.target = copy.deepcopy(critic).requires_grad_(False)

    def next_value(self, rows: Tensor) -> Tensor:
        """The bootstrap value (B,) at the end of each row's chunk, 0 past the episode's end."""
        following = self.replay.next_index[rows]
        ahead = following.clamp_min(0)
        logits = self.target.logits(self.replay.chunks[ahead], self.replay.observations[ahead])
        return (following >= 0) * logits.sigmoid().mean(0)

    def loss(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        horizon = self.replay.chunks.shape[1]
        with torch.no_grad():
            target = chunk_reward(self.replay, rows, horizon) + DISCOUNT**horizon * self.next_value(rows)
        chunks = noisy(self.replay.chunks[rows], generator)
        return heads_loss(self.module.logits(chunks, self.replay.observations[rows]), target)

    def after_step(self) -> None:
        update_target(self.target, self.module)

    def finish(self) -> dict[str, float | None]:
        return {}


class ImplicitQ:
    """Implicit Q-learning (Kostrikov et al. 2022, arXiv 2110.06169).

    Bootstraps on an expectile of Q over the data's chunks, so that values follow the better actions tried, and unseen
    actions are never queried. The expectile is taken of the minimum over the target's heads.
    """

    learning_rate, weight_decay = LEARNING_RATE, WEIGHT_DECAY
    EXPECTILE = 0.8

    def __init__(self, critic: EnsembleCritic, replay: Replay) -> None:
        self.critic, self.replay = critic, replay
        self.value = EnsembleMLP(1, replay.observations.shape[1], critic.config.width, depth=3)
        self.module = nn.ModuleList([critic, self.value])
        self.target = copy.deepcopy(critic).requires_grad_(False)

    def loss(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        replay, horizon = self.replay, self.replay.chunks.shape[1]
        observations = replay.observations[rows]
        following = replay.next_index[rows]
        with torch.no_grad():
            ahead = self.value(replay.observations[following.clamp_min(0)])[0].sigmoid() * (following >= 0)
            q_target = chunk_reward(replay, rows, horizon) + DISCOUNT**horizon * ahead
            q_slow = self.target.logits(replay.chunks[rows], observations).sigmoid().amin(0)
        v = self.value(observations)[0].sigmoid()
        weight = torch.where(q_slow > v, self.EXPECTILE, 1 - self.EXPECTILE)
        v_loss = (weight * (q_slow - v) ** 2).mean()
        q_loss = heads_loss(self.critic.logits(noisy(replay.chunks[rows], generator), observations), q_target)
        return q_loss + 10 * v_loss  # squared errors of probabilities are ten times smaller than cross-entropies

    def after_step(self) -> None:
        update_target(self.target, self.critic)

    def finish(self) -> dict[str, float | None]:
        return {}


OBJECTIVES: dict[str, Callable[[EnsembleCritic, Replay], Objective]] = {
    "monte_carlo": MonteCarlo,
    "monte_carlo_return": MonteCarloReturn,
    "sarsa": Sarsa,
    "iql": ImplicitQ,
    OUTCOME: Outcome,
}
