"""Training and scoring of critics on demonstrations and rollouts of the frozen policy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from critics.ensemble import CriticConfig, EnsembleCritic
from critics.objectives import OBJECTIVES
from critics.replay import Replay, build_replay
from policies.policy import ChunkPolicy, flatten_observation
from sim_eval.analysis.statistics import roc_area
from sim_eval.checkpoints import load_policy, save_checkpoint
from sim_eval.samplers.sampler import Models, required_critic
from sim_eval.training.fit import fit
from sim_eval.training.trajectories import Trajectory, chunks_of
from sim_eval.training.workspace import Workshop, random_rows, sample_policy, seeded_weights, visited_states

HELD_OUT = 0.15  # share of the rollouts that a critic is scored on and never trained on
EARLY = 40  # control steps


def _episodes(policy: ChunkPolicy, trajectories: Sequence[Trajectory], critic: EnsembleCritic) -> Replay:
    def one(t: Trajectory) -> tuple[Tensor, Tensor, bool]:
        observations = critic.normalise(torch.from_numpy(flatten_observation(t.observations, critic.observation_sizes)))
        return observations, policy.normalise(chunks_of(t.actions, policy.horizon)), t.success

    return build_replay([one(t) for t in trajectories])


def train_critic(
    shop: Workshop,
    policy_name: str,
    method: str,
    names: Sequence[str],
    demos: Sequence[Trajectory],
    rollouts: Sequence[Trajectory],
    steps: int,
    batch: int,
) -> dict[str, float | None]:
    """One critic by one of `OBJECTIVES`, saved under each of `names`; returns its scores on held-out rollouts."""
    policy = load_policy(shop.task, policy_name, shop.checkpoints)
    split = max(1, int(HELD_OUT * len(rollouts)))
    held_out, seen = rollouts[:split], rollouts[split:]
    with seeded_weights(shop.seed):
        critic = EnsembleCritic(CriticConfig(method, policy.observation_sizes, policy.action_dim, policy.horizon))
        critic.observation_mean.copy_(policy.observation_mean)
        critic.observation_std.copy_(policy.observation_std)
        replay = _episodes(policy, [*demos, *seen], critic)
        objective = OBJECTIVES[method](critic, replay)
    generator = torch.Generator().manual_seed(shop.seed)
    fit(
        objective.module,
        lambda: objective.loss(random_rows(len(replay), batch, generator), generator),
        steps,
        learning_rate=5e-4,
        weight_decay=1e-2,
        name=f"{shop.task} {method} critic",
        after_step=objective.after_step,
    )
    critic.scale.copy_(q_spread(Models(policy, critic), seen, generator))
    scores = score(critic, _episodes(policy, held_out, critic))
    card = shop.card(
        "critic",
        [shop.demos, shop.rollouts],
        action_mean=policy.action_mean.tolist(),
        action_std=policy.action_std.tolist(),
        training={"steps": steps, "batch": batch, "rollouts": len(seen), "held_out_rollouts": len(held_out)},
        held_out=scores,
    )
    for name in names:
        save_checkpoint(shop.checkpoints / shop.task, name, critic, card)
    return scores


def q_spread(models: Models, trajectories: Sequence[Trajectory], generator: torch.Generator) -> Tensor:
    """The mean over 512 visited states of the standard deviation of Q over 8 policy samples in that state."""
    states, draws = 512, 8
    visited = visited_states(trajectories, list(models.denoiser.observation_sizes), states, generator)
    observation = {name: np.repeat(values, draws, axis=0) for name, values in visited.items()}
    critic = required_critic(models)
    with torch.no_grad():
        q = critic.q(sample_policy(models, observation, generator), critic.encode(observation))
    return q.view(states, draws).std(dim=1).mean()


def score(critic: EnsembleCritic, replay: Replay) -> dict[str, float | None]:
    """Area under the ROC curve for eventual success: over all steps, and over each episode's first 40 alone.

    After the grasp the outcome is easy to tell; critics differ before it.
    """
    with torch.no_grad():
        parts = zip(replay.chunks.split(4096), replay.observations.split(4096), strict=True)
        q = torch.cat([critic.q(chunks, observations) for chunks, observations in parts]).numpy()
    success, early = replay.success.numpy() > 0, replay.step.numpy() < EARLY
    return {
        "auc": roc_area(q, success),
        f"auc_first_{EARLY}": roc_area(q[early], success[early]),
    }
