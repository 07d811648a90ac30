"""The fits after each round of episodes: the critic, two critics on halves of the data, and the actors."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from critics.ensemble import EnsembleCritic
from critics.objectives import OBJECTIVES
from critics.replay import Played, Replay, build_replay
from policies.policy import FrozenPolicy
from sim_eval.training.actors import ActorLearner
from sim_eval.training.critic import Values, fit_objective, new_critic, normalisation, played, state_rows
from sim_eval.training.draws import DRAWS, PolicyDraws, q_spread
from sim_eval.training.replayed import Captures, Replayed, Update, clipped_gradients, cuda_graphs
from sim_eval.training.trajectories import Trajectory
from sim_eval.training.workspace import random_rows, seeded_weights

_ACTOR_RATE = 5e-4


@dataclass(frozen=True)
class CriticFit:
    """How a critic is fitted to all episodes so far, anew each time or from the weights of the fit before.

    sizes: length of each vector that it reads. mean, deviation: (n,), their normalisation, on the CPU. size: fields of
    its configuration. updates: optimiser steps of a fit. rows: of a mini-batch. device: of critic and replay.
    """

    method: str
    sizes: Mapping[str, int]
    mean: Tensor
    deviation: Tensor
    size: Mapping[str, Any]
    values: Values
    updates: int
    rows: int
    anew: bool
    device: torch.device

    def new(self, policy: FrozenPolicy, seed: int) -> EnsembleCritic:
        """A critic with random weights."""
        with seeded_weights(seed):
            critic = new_critic(self.method, dict(self.sizes), policy, **self.size, **self.values.range)
        critic.observation_mean.copy_(self.mean)
        critic.observation_std.copy_(self.deviation)
        return critic.to(self.device)

    def measured(self, policy: FrozenPolicy, trajectories: Sequence[Trajectory]) -> CriticFit:
        """The same with the normalisation of these episodes."""
        rows = [state_rows(trajectory) for trajectory in trajectories]
        mean, deviation = normalisation(policy, tuple(self.sizes), rows)
        return replace(self, mean=mean, deviation=deviation)

    def replay(self, episodes: Sequence[Played]) -> Replay:
        """What a critic learns from these episodes, normalised, on the CPU."""
        return build_replay(
            [episode._replace(observations=(episode.observations - self.mean) / self.deviation) for episode in episodes]
        )

    def __call__(
        self, policy: FrozenPolicy, replay: Replay, before: EnsembleCritic | None, seed: int, name: str
    ) -> tuple[EnsembleCritic, dict[str, float | None]]:
        """The critic fitted to this replay, frozen, and its figures. `before`: the fit before, if there is one."""
        critic = self.new(policy, seed) if self.anew or before is None else copy.deepcopy(before)
        return self.fitted(critic, replay, seed, name)

    def fitted(
        self, critic: EnsembleCritic, replay: Replay, seed: int, name: str
    ) -> tuple[EnsembleCritic, dict[str, float | None]]:
        """This critic fitted to the replay, frozen, and its figures."""
        critic.requires_grad_(True).train()
        with seeded_weights(seed):
            objective = OBJECTIVES[self.method](critic, replay, self.values.backup)
        generator = torch.Generator(self.device).manual_seed(seed)
        figures = fit_objective(objective, replay.learnable, self.updates, self.rows, generator, name)
        return critic, figures


@dataclass(frozen=True)
class TwinFit:
    """A critic that is to be fitted to a half of the episodes; pickles."""

    fitting: CriticFit
    critic: EnsembleCritic
    replay: Replay
    seed: int
    name: str

    def __call__(self) -> EnsembleCritic:
        return self.fitting.fitted(self.critic, self.replay, self.seed, self.name)[0]


def fit_seed(seed: int, number: int, part: int = 0) -> int:
    """The seed of fit `number` of a run. `part`: 0 for the critic that steers, others for those beside it."""
    return int(np.random.SeedSequence([seed, number, part]).generate_state(1, np.uint32)[0])


def episodes_of(policy: FrozenPolicy, trajectories: Sequence[Trajectory], returns: bool = False) -> list[Played]:
    """The data that a critic of this policy's chunks is fitted to, an entry for each episode; `returns` as `played`.

    Raises RunError as `played`. Observations are raw.
    """
    return [played(policy, episode, state_rows(episode), returns) for episode in trajectories]


def twin_fits(
    fitting: CriticFit, policy: FrozenPolicy, replay: Replay, seed: int, number: int
) -> tuple[TwinFit, TwinFit]:
    """Fits of two critics with fresh weights, one to the even, one to the odd of at least two episodes.

    They share no episode, so what they agree on is no chance of the data. `seed`, `number`: as in `fit_seed`.
    """
    seeds = [fit_seed(seed, number, 1 + half) for half in (0, 1)]
    first, second = (
        TwinFit(fitting, fitting.new(policy, seeds[half]), replay.half(half), seeds[half], f"twin {half + 1}")
        for half in (0, 1)
    )
    return first, second


def set_scale(critic: EnsembleCritic, draws: PolicyDraws) -> None:
    """Put Q in units of its mean spread over the policy's draws in a state, whatever its units were."""
    critic.scale.mul_(q_spread(critic, draws).clamp_min(1e-6))


def fit_actors(
    actors: Mapping[str, ActorLearner],
    critic: EnsembleCritic,
    draws: PolicyDraws,
    updates: int,
    rows: int,
    seed: int,
    captures: Captures = cuda_graphs,
) -> None:
    """Go on training the actors, now against this critic, on the policy's draws; all are on the critic's device."""
    generator = torch.Generator(critic.device).manual_seed(seed)
    for need, actor in actors.items():
        update = Replayed(_actor_update(actor, critic, draws, rows, generator), captures(generator))
        for _ in tqdm(range(updates), desc=need, disable=None):
            update()
        actor.zero_grad()  # they may hold a graph's memory


def _actor_update(
    actor: ActorLearner, critic: EnsembleCritic, draws: PolicyDraws, rows: int, generator: torch.Generator
) -> Update:
    parameters, on_cuda = list(actor.parameters()), critic.device.type == "cuda"
    optimiser = torch.optim.AdamW(parameters, lr=_ACTOR_RATE, weight_decay=0.0, fused=True, capturable=on_cuda)

    def update() -> Tensor:
        batch = draws[random_rows(len(draws), rows, generator)]
        loss = clipped_gradients(actor.loss(critic, batch, generator), parameters)
        optimiser.step()
        return loss

    return update


@torch.no_grad()
def agreement(critic: EnsembleCritic, twin: EnsembleCritic, draws: PolicyDraws) -> float:
    """The mean over states of `within_states`, over the policy's draws.

    Of critics on disjoint episodes it says how much they know of chunks, beyond what is chance in the data.
    """
    q, other = (judge.q(draws.chunks, draws.encoded).view(-1, DRAWS) for judge in (critic, twin))
    return float(within_states(q, other).mean())


def within_states(q: Tensor, other: Tensor) -> Tensor:
    """The correlation, -1 to 1, of two critics' Q (S, N) over the N draws in each state: (S,). 0 if one is constant."""
    q, other = (values - values.mean(1, keepdim=True) for values in (q, other))
    norms = (q.square().sum(1) * other.square().sum(1)).sqrt()
    return (q * other).sum(1) / norms.clamp_min(1e-12)
