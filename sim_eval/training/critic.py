"""Training and scoring of critics on rollouts of the frozen policy, and on demonstrations where there are any."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from critics.ensemble import FEATURES, CriticConfig, EnsembleCritic
from critics.objectives import OBJECTIVES, Objective
from critics.outcome import OUTCOME, OutcomeConfig, OutcomeCritic
from critics.replay import Replay, build_replay
from policies.chunk_policy import ChunkPolicy
from policies.policy import Denoiser, FrozenPolicy
from sim_eval.analysis.statistics import EARLY, roc_area
from sim_eval.foundation.errors import RunError
from sim_eval.models.build import offers_features
from sim_eval.models.checkpoints import save_checkpoint
from sim_eval.rollout.inference import decision_blocks, stacked
from sim_eval.samplers.sampler import Models
from sim_eval.training.draws import policy_draws, q_spread
from sim_eval.training.fit import fit
from sim_eval.training.trajectories import Trajectory, chunks_of
from sim_eval.training.workspace import Workspace, random_rows, seeded_weights

HELD_OUT = 0.15  # share of the rollouts that a critic is scored on and never trained on
SPREAD_STATES = 512  # in which the spread of Q is measured


@dataclass(frozen=True)
class CriticRecipe:
    """How a critic is trained: one of `OBJECTIVES`, on the simulator's "state" or on the policy's "features"."""

    method: str
    inputs: str
    steps: int
    batch: int


def train_critic(
    workspace: Workspace,
    models: Models,
    recipe: CriticRecipe,
    names: Sequence[str],
    demos: Sequence[Trajectory],
    rollouts: Sequence[Trajectory],
    read: Sequence[Tensor],
    data: Mapping[str, str],
) -> tuple[dict[str, float | None], Sequence[Trajectory]]:
    """Train one critic of the frozen policy, save it under each of `names`; returns its scores, and the held-out
    rollouts that they are over.

    `read`: the `critic_inputs` of the demonstrations, then of the rollouts. `data`: file names to hashes, for the card.
    """
    policy = models.policy
    split = max(1, int(HELD_OUT * len(rollouts)))
    held_out, seen = rollouts[:split], rollouts[split:]
    end = len(demos) + split
    train, test = [*read[: len(demos)], *read[end:]], read[len(demos) : end]
    with seeded_weights(workspace.seed):
        sizes = _sizes(recipe.inputs, seen[0], train)
        critic = new_critic(recipe.method, sizes, policy)
        mean, deviation = normalisation(policy, critic.observations, train)
        critic.observation_mean.copy_(mean)
        critic.observation_std.copy_(deviation)
        replay = _replay(models, critic, [*demos, *seen], train)
        objective = OBJECTIVES[recipe.method](critic, replay)
    generator = torch.Generator().manual_seed(workspace.seed)
    name = f"{workspace.task} {recipe.method} critic"
    figures = fit_objective(objective, len(replay), recipe.steps, recipe.batch, generator, name)
    critic.scale.copy_(q_spread(critic, policy_draws(models, critic, seen, SPREAD_STATES, generator)))
    scores = score(critic, _replay(models, critic, held_out, test))
    card = workspace.card(
        "critic",
        data,
        **valued_policy(models),
        training={
            "steps": recipe.steps,
            "batch": recipe.batch,
            "rollouts": len(seen),
            "held_out_rollouts": len(held_out),
        },
        held_out={**scores, **figures},
    )
    for name in names:
        save_checkpoint(workspace.folder, name, critic, card)
    return scores, held_out


def new_critic(method: str, sizes: dict[str, int], policy: FrozenPolicy, **options: Any) -> EnsembleCritic:
    """A critic for this policy's chunks, of the kind that `method` trains; weights from torch's global generator.

    `sizes`: length of each input. `options`: further fields of its configuration.
    """
    shared: tuple[str, dict[str, int], int, int] = (method, sizes, policy.action_dim, policy.horizon)
    if method == OUTCOME:
        return OutcomeCritic(OutcomeConfig(*shared, execute=policy.execute, **options))
    return EnsembleCritic(CriticConfig(*shared, **options))


def fit_objective(
    objective: Objective, rows: int, steps: int, batch: int, generator: torch.Generator, name: str
) -> dict[str, float | None]:
    """Fit by `steps` mini-batches of `batch` from a replay of `rows`; returns the objective's figures."""
    fit(
        objective.module,
        lambda: objective.loss(random_rows(rows, batch, generator), generator),
        steps,
        learning_rate=objective.learning_rate,
        weight_decay=objective.weight_decay,
        name=name,
        after_step=objective.after_step,
    )
    return objective.finish()


def critic_inputs(models: Models, inputs: str, trajectories: Sequence[Trajectory]) -> list[Tensor]:
    """The critic's inputs of each trajectory, (R, n): "state" at every control step, or "features" at every decision.

    Features are computed in blocks of rows: pictures are read from the disk as they are encoded. Raises RunError for
    features that the policy does not offer.
    """
    if inputs == "state":
        return [state_rows(trajectory) for trajectory in trajectories]
    policy = models.policy
    if not isinstance(policy, Denoiser) or not offers_features(policy):
        raise RunError("critic.inputs is features, and the policy offers none; accepted: critic.inputs=state")
    return [_features(policy, trajectory) for trajectory in tqdm(trajectories, desc="features", disable=None)]


@torch.no_grad()
def _features(policy: Denoiser, trajectory: Trajectory) -> Tensor:
    """The policy's features at every decision, (R, C) float32. Raises RunError if it returns None."""
    found = []
    count = len(trajectory.decision_steps)
    for rows in decision_blocks(range(count), policy.row_block):  # as at evaluation, to round alike
        features = policy.features(policy.encode(stacked([trajectory.decision(row) for row in rows])))
        if features is None:
            raise RunError("critic.inputs is features, and the policy's are None; accepted: critic.inputs=state")
        found.append(features.float().cpu())
    return torch.cat(found)[:count]


def state_rows(trajectory: Trajectory) -> Tensor:
    """The observations of every control step, joined in their order, (T, n)."""
    return torch.from_numpy(np.concatenate(list(trajectory.observations.values()), axis=1))


def _sizes(inputs: str, trajectory: Trajectory, read: Sequence[Tensor]) -> dict[str, int]:
    if inputs == "features":
        return {FEATURES: read[0].shape[1]}
    return {name: values.shape[1] for name, values in trajectory.observations.items()}


def normalisation(policy: FrozenPolicy, observations: Sequence[str], read: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Mean and deviation (n,) of a critic's inputs: the data's, or the small policy's if it reads the same vectors."""
    if isinstance(policy, ChunkPolicy) and list(policy.observation_sizes) == list(observations):
        return policy.observation_mean.cpu(), policy.observation_std.cpu()
    rows = torch.cat(list(read))
    return rows.mean(0), rows.std(0).clamp_min(1e-3)


def _replay(
    models: Models, critic: EnsembleCritic, trajectories: Sequence[Trajectory], read: Sequence[Tensor]
) -> Replay:
    policy = models.policy
    episodes = []
    for trajectory, rows in zip(trajectories, read, strict=True):
        episodes.append((critic.normalise(rows), chunk_rows(policy, trajectory), trajectory.success))
    return build_replay(episodes, trajectories[0].decision_steps.step if critic.uses_features else 1)


def chunk_rows(policy: FrozenPolicy, trajectory: Trajectory) -> Tensor:
    """The normalised chunk that starts at each control step, (T, H, D)."""
    return policy.normalise(chunks_of(trajectory.actions, policy.horizon)).cpu()


def valued_policy(models: Models) -> dict[str, Any]:
    """The entries of a critic's card on the policy whose chunks it values."""
    mean, deviation = models.policy.normalisation()
    return {
        "action_mean": mean.tolist(),
        "action_std": deviation.tolist(),
        "policy_sha256": models.fingerprints["policy"],
    }


def score(critic: EnsembleCritic, replay: Replay) -> dict[str, float | None]:
    """Area under the ROC curve for eventual success: over all steps, and over each episode's first 40 steps.

    After the grasp the outcome is easy to predict; critics differ before it.
    """
    with torch.no_grad():
        parts = zip(replay.chunks.split(4096), replay.observations.split(4096), strict=True)
        q = torch.cat([critic.q(chunks, observations) for chunks, observations in parts]).numpy()
    success, early = replay.success.numpy() > 0, replay.step.numpy() < EARLY
    return {
        "auc": roc_area(q, success),
        f"auc_first_{EARLY}": roc_area(q[early], success[early]),
    }
