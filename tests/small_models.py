"""Untrained, small, real models: what the samplers see in an evaluation, in milliseconds."""

from __future__ import annotations

import numpy as np
import torch

from critics.actor import ActorConfig, ChunkActor
from critics.ensemble import CriticConfig, EnsembleCritic
from policies.chunk_policy import ChunkPolicy, PolicyConfig
from policies.posterior_net import PosteriorConfig, PosteriorNet
from sim_eval.samplers import Models

SIZES = {"robot0_eef_pos": 3, "object": 5}


def small_models(family: str, seed: int = 0) -> Models:
    """A policy of `family`, a critic, a posterior net and actors with random weights, frozen."""
    torch.manual_seed(seed)
    policy = ChunkPolicy(PolicyConfig(family, SIZES, action_dim=7, width=32, depth=2))
    critic = EnsembleCritic(CriticConfig("monte_carlo", SIZES, action_dim=7, horizon=8, width=24, depth=2))
    net = PosteriorNet(PosteriorConfig(32, action_dim=7, horizon=8, width=24, depth=2), policy)
    actors = small_actors(sum(SIZES.values()), policy.horizon, policy.action_dim)
    for module in (policy, critic, net, *actors.values()):
        for parameter in module.parameters():  # zero-initialised outputs would hide every gradient
            if not parameter.any():
                parameter.data.normal_(std=0.3)
        module.requires_grad_(False).eval()
    return Models(policy, critic, net, actors)


def small_actors(inputs: int, horizon: int, action_dim: int) -> dict[str, ChunkActor]:
    """An untrained actor for each need, beside a critic that reads `inputs` numbers."""
    conditions = {"noise_actor": inputs, "edit_actor": inputs + horizon * action_dim}
    return {
        need: ChunkActor(ActorConfig(condition, action_dim, horizon, bound=0.5)).requires_grad_(False)
        for need, condition in conditions.items()
    }


def random_observation(rows: int, seed: int = 1) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {name: rng.standard_normal((rows, size)).astype(np.float32) for name, size in SIZES.items()}


def row_generators(rows: int, start: int = 0) -> list[torch.Generator]:
    """One generator a row, seeded with the row's number."""
    return [torch.Generator().manual_seed(start + row) for row in range(rows)]


def beside_others(observation: dict[str, np.ndarray], kept: int) -> dict[str, np.ndarray]:
    """The first `kept` rows, with other rows in the place of the rest."""
    rows = len(next(iter(observation.values())))
    others = random_observation(rows, seed=2)
    return {name: np.concatenate([values[:kept], others[name][kept:]]) for name, values in observation.items()}
