"""Training of the one-step posterior net from the frozen policy alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from policies.policy import Denoiser
from policies.posterior_flow import posterior_flow
from policies.posterior_net import PosteriorConfig, PosteriorNet, PosteriorTargets, distillation_loss, draw_targets
from sim_eval.checkpoints import save_checkpoint
from sim_eval.rollout.inference import stacked
from sim_eval.samplers.denoise import draw_unsteered
from sim_eval.training.fit import fit
from sim_eval.training.trajectories import Trajectory
from sim_eval.training.workspace import Workspace, random_rows, row_blocks, seeded_weights, visited_rows

#: Steps of the posterior flow that teaches the net.
FLOW_STEPS = 10
#: Visited states in which the trained net is compared with the policy.
COMPARED_STATES = 64


@dataclass(frozen=True)
class PosteriorRecipe:
    """How a posterior net is trained: on `samples` chunks of the policy, in `steps` batches of `batch` rows."""

    samples: int
    steps: int
    batch: int


def train_posterior(
    workspace: Workspace,
    label: str,
    policy: Denoiser,
    fingerprint: str,
    recipe: PosteriorRecipe,
    states: Sequence[Trajectory],
    data: Mapping[str, str],
) -> dict[str, dict[str, float]]:
    """Distil the frozen policy's posterior flow into one step, on chunks that it draws in the visited `states`.

    Returns the net's `agreement` with the policy, which its card holds. `data`: for the card, file names to hashes.
    Raises ValueError for a policy without features.
    """
    generator = torch.Generator().manual_seed(workspace.seed)
    targets = _targets(policy, states, recipe.samples, generator)
    config = PosteriorConfig(targets.features.shape[1], policy.action_dim, policy.horizon)
    with seeded_weights(workspace.seed):
        net = PosteriorNet(config, policy).to(policy.device)

    def loss() -> Tensor:
        return distillation_loss(net, targets[random_rows(len(targets.t), recipe.batch, generator)])

    history = fit(net, loss, recipe.steps, name=f"{workspace.task} {label} posterior")
    agreed = agreement(net, policy, *_policy_samples(policy, states, COMPARED_STATES, generator), generator)
    card = workspace.card(
        "posterior",
        data,
        policy_sha256=fingerprint,
        training={
            "steps": recipe.steps,
            "batch": recipe.batch,
            "samples": recipe.samples,
            "last_logged_loss": history[-1],
        },
        **agreed,
    )
    save_checkpoint(workspace.checkpoints / workspace.task, f"posterior_{label}", net, card)
    return agreed


def _policy_samples(
    policy: Denoiser, states: Sequence[Trajectory], count: int, generator: torch.Generator
) -> tuple[Any, Tensor]:
    """`count` visited states as the policy's context of so many rows, and the chunk that it draws in each."""
    seen = stacked([trajectory.decision(row) for trajectory, row in visited_rows(states, count, generator)])
    chunks, context = draw_unsteered(policy, seen, [generator] * count, 10)
    return context, chunks


def _targets(
    policy: Denoiser, states: Sequence[Trajectory], count: int, generator: torch.Generator
) -> PosteriorTargets:
    """Rows to learn from, drawn once: GROUP for each of `count` chunks of the policy."""
    parts = []
    for rows in tqdm(row_blocks(count, policy.request), desc="posterior flow", disable=None):
        context, chunks = _policy_samples(policy, states, len(rows), generator)
        parts.append(draw_targets(policy, context, chunks, FLOW_STEPS, generator))
    names = [field.name for field in fields(PosteriorTargets)]
    return PosteriorTargets(*(torch.cat([getattr(part, name) for part in parts]) for name in names))


@torch.no_grad()
def agreement(
    net: PosteriorNet, policy: Denoiser, context: Any, chunks: Tensor, generator: torch.Generator
) -> dict[str, dict[str, float]]:
    """How well the net's draws agree with the frozen policy's posterior at t = 0.2, 0.5 and 0.8.

    `context` (B rows) and `chunks` (B, H, D): states, and clean chunks that the policy drew there. `mean_gap`: how far
    the net's mean lies from the denoiser's posterior mean, in units of the posterior's spread; `spread`: the net's own
    in these units. All are root mean squares over all entries; the posterior's spread is that of draws of the policy's
    own posterior flow.
    """
    found: dict[str, dict[str, float]] = {"mean_gap": {}, "spread": {}}
    for t in (0.2, 0.5, 0.8):
        alpha, sigma = policy.schedule.alpha(t), policy.schedule.sigma(t)
        x = alpha * chunks + sigma * torch.randn(chunks.shape, generator=generator).to(chunks)
        z = torch.randn((512, *chunks.shape), generator=generator).to(chunks)
        clean = policy.clean(x, t, context)
        draws = net.draw(z, x, t, clean, context)
        exact = torch.stack([posterior_flow(policy, draw, x, t, context, 20) for draw in z[:48]])
        spread = _root_mean_square(exact.std(0))
        found["mean_gap"][f"{t}"] = _root_mean_square(draws.mean(0) - clean) / spread
        found["spread"][f"{t}"] = _root_mean_square(draws.std(0)) / spread
    return found


def _root_mean_square(values: Tensor) -> float:
    return float(values.square().mean().sqrt())
