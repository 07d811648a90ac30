"""How a critic is trained: Monte-Carlo success classification, discounted or not, SARSA, temporal differences of
another policy than the data's, implicit Q-learning, outcomes.

All predict a share of the critic's range of returns as log-odds, under cross-entropy: a probability, where the reward
is 1 for success and else 0. Returns lie in a known range, and classification losses fit them better than squared error
(Farebrother et al. 2024, arXiv 2403.03950). `MonteCarlo` does not discount. The others treat a chunk as one action and
discount: the reward of its H steps, plus gamma^H times the value at its end.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from critics.backup import OWN, Backup
from critics.ensemble import EnsembleCritic
from critics.network import EnsembleMLP
from critics.outcome import OUTCOME, Outcome
from critics.replay import Replay

#: Standard deviation of the noise on chunks, in normalised units: it makes the critic smooth where steering moves them.
ACTION_NOISE = 0.05
TARGET_RATE = 0.005
LEARNING_RATE, WEIGHT_DECAY = 5e-4, 1e-2


#: Chunks (B, K, H, D) that another policy than the data's draws at the replay's rows (B,), given the target critic.
NextChunks = Callable[[Tensor, EnsembleCritic, torch.Generator], Tensor]


class Objective(Protocol):
    """A training loss over a replay, with the state that it keeps (target networks, value functions).

    It is built from a critic on any device and a replay on the CPU, and keeps all of it on the critic's device. There
    `loss` and `after_step` do not make the host wait, except that `Outcome` reads an error every 100 updates. `loss`,
    and `after_step` of a `Bootstrapping`, may be captured as a CUDA graph: they read what changes from tensors.
    """

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
    return chunks + ACTION_NOISE * torch.randn(chunks.shape, generator=generator, device=chunks.device)


def heads_errors(logits: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy of every head (..., E, B) against one target probability (..., B): (..., E, B)."""
    return F.binary_cross_entropy_with_logits(logits, target.unsqueeze(-2).expand_as(logits), reduction="none")


def update_target(target: nn.Module, trained: nn.Module) -> None:
    """Polyak averaging: move the target's parameters towards the trained ones by the fraction `TARGET_RATE`."""
    torch._foreach_lerp_(list(target.parameters()), [fast.detach() for fast in trained.parameters()], TARGET_RATE)


class MonteCarlo:
    """Did the episode succeed? No discount, no bootstrapping: the value of the policies that generated the data."""

    learning_rate, weight_decay = LEARNING_RATE, WEIGHT_DECAY

    def __init__(self, critic: EnsembleCritic, replay: Replay, backup: Backup = OWN) -> None:
        self.module, self.replay = critic, replay.to(critic.device)

    def loss(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        chunks = noisy(self.replay.chunks[rows], generator)
        logits = self.module.logits(chunks, self.replay.observations[rows])
        return self.replay.mean(heads_errors(logits, self.target_share(rows)), rows)

    def target_share(self, rows: Tensor) -> Tensor:
        """What the critic is to predict for the replay's `rows`, (B,) in [0, 1]."""
        return self.replay.success[rows]

    def after_step(self) -> None:
        pass

    def finish(self) -> dict[str, float | None]:
        return {}


class Bootstrapping(ABC):
    """What the objectives share that use a slowly moving copy of the critic, `target`.

    With a `StackedCritic` and a `TasksReplay`, values and returns are (tasks, B) for rows (B,), and each task's critic
    learns what it would learn alone from these rows.
    """

    learning_rate, weight_decay = LEARNING_RATE, WEIGHT_DECAY
    DISCOUNT = 0.995

    def __init__(self, critic: EnsembleCritic, replay: Replay, backup: Backup = OWN) -> None:
        self.critic, self.replay, self.backup = critic, replay.to(critic.device), backup
        self.discount = self.DISCOUNT if backup.discount is None else backup.discount
        self.target = copy.deepcopy(critic).requires_grad_(False)

    @property
    def module(self) -> nn.Module:
        return self.critic

    @abstractmethod
    def loss(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        """As of an `Objective`; of several tasks one each, (tasks,)."""

    def see(self, replay: Replay) -> None:
        """Learn from this replay, which is on the CPU, from now on."""
        self.replay = replay.to(self.critic.device)

    def value(self, rows: Tensor) -> Tensor:
        """The target's value (..., B) of the replay's chunks in `rows`."""
        logits = self.target.logits(self.replay.chunks[rows], self.replay.observations[rows])
        return self.backup.join(self.target.returns(logits.sigmoid()))

    def q_loss(self, rows: Tensor, returns: Tensor, generator: torch.Generator) -> Tensor:
        """The loss of every head against the same returns (..., B), as `loss`."""
        chunks = noisy(self.replay.chunks[rows], generator)
        logits = self.critic.logits(chunks, self.replay.observations[rows])
        return self.replay.mean(heads_errors(logits, self.critic.shares(returns)), rows)

    def after_step(self) -> None:
        update_target(self.target, self.critic)

    def finish(self) -> dict[str, float | None]:
        return {}


class MonteCarloReturn(Bootstrapping):
    """What did the episode return? Discounted; of success: how soon. Only a time limit is bootstrapped past.

    Whether an episode succeeds says little of a single chunk of a policy that fails and tries again; how long success
    took says more.
    """

    DISCOUNT = 0.99

    def __init__(self, critic: EnsembleCritic, replay: Replay, backup: Backup = OWN) -> None:
        super().__init__(critic, replay, backup)
        self._to_go = replay.to_go(self.discount, critic.device)

    def see(self, replay: Replay) -> None:
        super().see(replay)
        self._to_go = replay.to_go(self.discount, self.critic.device)

    def loss(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        received, factor, ahead = self._to_go(rows)
        if factor is not None:
            with torch.no_grad():
                received = received + factor * self.value(ahead)
        return self.q_loss(rows, received, generator)


class Sarsa(Bootstrapping):
    """Bootstraps on the chunk that the data executed next: Q(s, a) <- r + gamma^H Q'(s', a')."""

    def next_value(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        """The value (..., B) of the states in `rows`."""
        return self.value(rows)

    def loss(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        following, horizon = self.replay.next_index[rows], self.replay.chunks.shape[1]
        with torch.no_grad():
            ahead = self.replay.goes_on(rows) * self.next_value(following.clamp_min(0), generator)
            target = self.replay.chunk_return(rows, self.discount) + self.discount**horizon * ahead
        return self.q_loss(rows, target, generator)


class TemporalDifference(Sarsa):
    """Bootstraps on chunks that a given policy draws: Q(s, a) <- r + gamma^H Q'(s', a'), a' not from the data.

    next_chunks: K draws at a row. best: the best of them is executed, as by `best_of_n`; else the mean of their values
    counts, which is the value of the policy that draws.
    """

    DISCOUNT = 0.99

    def __init__(
        self, critic: EnsembleCritic, replay: Replay, next_chunks: NextChunks, best: bool, backup: Backup = OWN
    ) -> None:
        super().__init__(critic, replay, backup)
        self._next_chunks, self._best = next_chunks, best

    def next_value(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        chunks = self._next_chunks(rows, self.target, generator)
        draws = chunks.shape[1]
        observations = self.replay.observations[rows].repeat_interleave(draws, dim=0)
        logits = self.target.logits(chunks.flatten(0, 1), observations)
        values = self.backup.join(self.target.returns(logits.sigmoid())).unflatten(-1, (-1, draws))
        return values.amax(-1) if self._best else values.mean(-1)


class ImplicitQ(Bootstrapping):
    """Implicit Q-learning (Kostrikov et al. 2022, arXiv 2110.06169).

    Bootstraps on an expectile of Q over the data's chunks, so that values follow the better actions tried, and unseen
    actions are never queried. The expectile is taken of the minimum over the target's heads.
    """

    EXPECTILE = 0.8

    def __init__(self, critic: EnsembleCritic, replay: Replay, backup: Backup = OWN) -> None:
        super().__init__(critic, replay, backup)
        network = EnsembleMLP(1, replay.observations.shape[1], critic.config.width, depth=3)
        self.state_value = critic.beside(network).to(critic.device)
        self._both = nn.ModuleList([critic, self.state_value])

    @property
    def module(self) -> nn.Module:
        return self._both

    def loss(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        replay, horizon = self.replay, self.replay.chunks.shape[1]
        observations = replay.observations[rows]
        following = replay.next_index[rows]
        with torch.no_grad():
            share = self.state_value(replay.observations[following.clamp_min(0)])[..., 0, :].sigmoid()
            ahead = self.critic.returns(share) * replay.goes_on(rows)
            q_target = replay.chunk_return(rows, self.discount) + self.discount**horizon * ahead
            q_slow = self.target.logits(replay.chunks[rows], observations).sigmoid().amin(-2)
        v = self.state_value(observations)[..., 0, :].sigmoid()
        weight = torch.where(q_slow > v, self.EXPECTILE, 1 - self.EXPECTILE)
        v_loss = replay.mean(weight * (q_slow - v) ** 2, rows)
        q_loss = self.q_loss(rows, q_target, generator)
        return q_loss + 10 * v_loss  # squared errors of shares are ten times smaller than cross-entropies


OBJECTIVES: dict[str, Callable[[EnsembleCritic, Replay, Backup], Objective]] = {
    "monte_carlo": MonteCarlo,
    "monte_carlo_return": MonteCarloReturn,
    "sarsa": Sarsa,
    "iql": ImplicitQ,
    OUTCOME: Outcome,
}
