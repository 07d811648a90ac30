"""Behaviour cloning of the base policies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from policies.behaviour_cloning import behaviour_cloning_loss, fit_normalisation
from policies.chunk_policy import ChunkPolicy, PolicyConfig, flatten_observation
from sim_eval.models.checkpoints import save_checkpoint
from sim_eval.training.fit import fit
from sim_eval.training.trajectories import Trajectory, chunks_of
from sim_eval.training.workspace import Workspace, file_hashes, random_rows, seeded_weights, trained_on


@dataclass(frozen=True)
class Cloning:
    """`size`: fields of `PolicyConfig` other than its defaults. `steps`: of the optimiser. `batch`: rows."""

    size: Mapping[str, int]
    steps: int
    batch: int


def train_policy(
    workspace: Workspace, family: str, cloning: Cloning, trajectories: Sequence[Trajectory], data: Path
) -> None:
    """Train a policy by behaviour cloning on all chunks of all demonstrations, good or bad, and save it.

    `data`: the file that the demonstrations are from.
    """
    first = trajectories[0]
    sizes = {name: values.shape[1] for name, values in first.observations.items()}
    with seeded_weights(workspace.seed):
        policy = ChunkPolicy(PolicyConfig(family, sizes, action_dim=first.actions.shape[1], **cloning.size))
    raw = torch.from_numpy(np.concatenate([flatten_observation(t.observations, sizes) for t in trajectories]))
    fit_normalisation(policy, raw, torch.from_numpy(np.concatenate([t.actions for t in trajectories])))
    observations = (raw - policy.observation_mean) / policy.observation_std
    chunks = policy.normalise(np.concatenate([chunks_of(t.actions, policy.horizon) for t in trajectories]))
    observations, chunks = observations.to(workspace.device), chunks.to(workspace.device)
    policy.to(workspace.device)
    generator = torch.Generator(workspace.device).manual_seed(workspace.seed)

    def loss() -> Tensor:
        rows = random_rows(len(chunks), cloning.batch, generator)
        embedding = policy.network.embed(observations[rows])
        return behaviour_cloning_loss(policy, embedding, chunks[rows], generator)

    history = fit(policy, loss, cloning.steps, name=f"{workspace.cloned_for} {family} policy", generator=generator)
    facts = {
        "steps": cloning.steps,
        "batch": cloning.batch,
        "last_logged_loss": history[-1],
        "demonstrations": len(trajectories),
        **trained_on(workspace.device),
    }
    card = workspace.card("policy", file_hashes([data]), schedule=type(policy.schedule).__name__, training=facts)
    card["task"] = workspace.cloned_for
    save_checkpoint(workspace.checkpoints / workspace.cloned_for, workspace.named(family), policy, card)
