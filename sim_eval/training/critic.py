"""Training and scoring of critics on rollouts of the frozen policy, and on demonstrations where there are any."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from critics.backup import RETURN_DISCOUNT, Backup, range_of_returns
from critics.bootstrapping import Objective
from critics.ensemble import FEATURES, CriticConfig, EnsembleCritic
from critics.objectives import OBJECTIVES
from critics.outcome import OutcomeConfig, OutcomeCritic
from critics.replay import Played, Replay, Rewards, build_replay
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
from sim_eval.training.names import BOOTSTRAPPING, OF_STATES
from sim_eval.training.trajectories import Trajectory, chunks_of
from sim_eval.training.workspace import Workspace, fit_generator, random_rows, seeded_weights, trained_on

HELD_OUT = 0.15  # share of the rollouts that a critic is scored on and never trained on
SPREAD_STATES = 512  # in which the spread of Q is measured


@dataclass(frozen=True)
class CriticRecipe:
    """How a critic is trained: one of `OBJECTIVES`, on the simulator's "state" or on the policy's "features".

    `size`: fields of `CriticConfig` other than its defaults: heads, width, depth. `reward_range`: the task's, None
    without rewards of its own.
    """

    method: str
    inputs: str
    steps: int
    batch: int
    size: Mapping[str, int]
    backup: Backup
    reward_range: tuple[float, float] | None


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
        values = values_of(recipe.method, recipe.reward_range, recipe.backup)
        critic = new_critic(recipe.method, sizes, policy, **recipe.size, **values.range)
        mean, deviation = normalisation(policy, critic.observations, train)
        critic.observation_mean.copy_(mean)
        critic.observation_std.copy_(deviation)
        replay = _replay(models, critic, [*demos, *seen], train, values.returns)
        objective = OBJECTIVES[recipe.method](critic.to(workspace.device), replay, values.backup)
    generator = torch.Generator().manual_seed(workspace.seed)
    name = f"{workspace.task} {recipe.method} critic"
    drawn_from = fit_generator(generator, workspace.device)
    figures = fit_objective(objective, replay.learnable, recipe.steps, recipe.batch, drawn_from, name)
    critic.cpu()
    critic.scale.copy_(q_spread(critic, policy_draws(models, critic, seen, SPREAD_STATES, generator)))
    scores = score(critic, _replay(models, critic, held_out, test, values.returns))
    card = workspace.card(
        "critic",
        data,
        **valued_policy(models),
        training={
            "steps": recipe.steps,
            "batch": recipe.batch,
            "rollouts": len(seen),
            "held_out_rollouts": len(held_out),
            **trained_on(workspace.device),
        },
        held_out={**scores, **figures},
    )
    for name in names:
        save_checkpoint(workspace.folder, name, critic, card)
    return scores, held_out


@dataclass(frozen=True)
class Values:
    """What a critic predicts: success, or with `returns` the return of the task's own rewards in `range`."""

    returns: bool
    range: Mapping[str, float]
    backup: Backup


def values_of(method: str, reward_range: tuple[float, float] | None, backup: Backup) -> Values:
    """What a critic that `method` trains predicts of a task with these rewards; None: of success alone.

    Raises RunError for returns without a discount below 1, whose range is unbounded.
    """
    if reward_range is None or method not in BOOTSTRAPPING:
        return Values(False, {}, backup)
    discount = RETURN_DISCOUNT if backup.discount is None else backup.discount
    if discount >= 1:
        raise RunError(f"discount is {discount}, and the task has rewards of its own; accepted: below 1")
    low, high = range_of_returns(reward_range, discount)
    return Values(True, {"low": low, "high": high}, replace(backup, discount=discount))


def new_critic(method: str, sizes: dict[str, int], policy: FrozenPolicy, **options: Any) -> EnsembleCritic:
    """A critic for this policy's chunks, of the kind that `method` trains; weights from torch's global generator.

    `sizes`: length of each input. `options`: further fields of its configuration.
    """
    shared: tuple[str, dict[str, int], int, int] = (method, sizes, policy.action_dim, policy.horizon)
    if method in OF_STATES:
        return OutcomeCritic(OutcomeConfig(*shared, execute=policy.execute, **options))
    return EnsembleCritic(CriticConfig(*shared, execute=policy.execute, **options))


def fit_objective(
    objective: Objective, rows: Tensor, steps: int, batch: int, generator: torch.Generator, name: str
) -> dict[str, float | None]:
    """Fit by `steps` mini-batches of `batch` of the replay's `rows` (M,); returns the objective's figures.

    `generator`: of the objective's device.
    """
    rows = rows.to(generator.device)
    fit(
        objective.module,
        lambda: objective.loss(rows[random_rows(len(rows), batch, generator)], generator),
        steps,
        learning_rate=objective.learning_rate,
        weight_decay=objective.weight_decay,
        name=name,
        after_step=objective.after_step,
        generator=generator,
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
    models: Models, critic: EnsembleCritic, trajectories: Sequence[Trajectory], read: Sequence[Tensor], returns: bool
) -> Replay:
    episodes = [
        played(models.policy, trajectory, critic.normalise(rows), returns)
        for trajectory, rows in zip(trajectories, read, strict=True)
    ]
    return build_replay(episodes, trajectories[0].decision_steps.step if critic.uses_features else 1)


def played(policy: FrozenPolicy, trajectory: Trajectory, observations: Tensor, returns: bool) -> Played:
    """An episode as critics learn from it: of its rewards with `returns`, else of its success.

    Raises RunError if it holds no rewards.
    """
    rewards = None
    if returns:
        if trajectory.rewards is None:
            raise RunError("some episodes hold no rewards, and the task has its own; accepted: episodes of this task")
        rewards = Rewards(*map(torch.from_numpy, trajectory.rewards))
    return Played(observations, chunk_rows(policy, trajectory), trajectory.success, rewards)


def chunk_rows(policy: FrozenPolicy, trajectory: Trajectory) -> Tensor:
    """What is executed of the normalised chunk that starts at each control step, (T, h, D)."""
    return policy.normalise(chunks_of(trajectory.actions, policy.execute)).cpu()


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
