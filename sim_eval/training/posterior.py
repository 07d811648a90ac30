"""Training of the one-step posterior net from the frozen policy alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from policies.policy import Denoiser
from policies.posterior_flow import posterior_flow
from policies.posterior_net import (
    PosteriorConfig,
    PosteriorNet,
    PosteriorTargets,
    distillation_loss,
    draw_targets,
    joined,
)
from sim_eval.models import store
from sim_eval.models.checkpoints import save_checkpoint
from sim_eval.rollout.inference import stacked
from sim_eval.samplers.denoise import draw_unsteered
from sim_eval.training.fit import fit
from sim_eval.training.trajectories import Trajectory
from sim_eval.training.workspace import (
    Workspace,
    fit_generator,
    random_rows,
    row_blocks,
    seeded_weights,
    trained_on,
    visited_rows,
)

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
    config = PosteriorConfig(targets.features.shape[1], policy.action_dim, policy.horizon, preconditioned=True)
    with seeded_weights(workspace.seed):
        net = PosteriorNet(config, policy).to(workspace.device)
    targets, rows_from = targets.to(workspace.device), fit_generator(generator, workspace.device)

    def loss() -> Tensor:
        return distillation_loss(net, targets[random_rows(len(targets.t), recipe.batch, rows_from)])

    history = fit(net, loss, recipe.steps, name=f"{workspace.task} {label} posterior", generator=rows_from)
    net.to(policy.device)
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
            **trained_on(workspace.device),
        },
        **agreed,
    )
    save_checkpoint(workspace.folder, store.posterior_of(label), net, card)
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
    return joined(parts)


def agreement(
    net: PosteriorNet, policy: Denoiser, context: Any, chunks: Tensor, generator: torch.Generator
) -> dict[str, dict[str, float]]:
    """How well the net's draws agree with the frozen policy's posterior at t = 0.1, 0.2, 0.5 and 0.8.

    `context` (B rows) and `chunks` (B, H, D): states, and clean chunks that the policy drew there. The posterior's
    draws are those of the policy's own posterior flow in 20 steps. Spreads and gaps are root mean squares over all
    entries.

    mean_gap: how far the net's mean lies from the denoiser's posterior mean, in units of the posterior's spread.
    mean_error: how far the chunks lie from the net's mean, over how far they lie from the denoiser's posterior mean;
        below 1, the net's mean is the truer.
    spread: the net's own, in units of the posterior's.
    gradient_cosine: between the gradients in x of sum(draw * w) of net and flow, at the same z and random w; the mean.
    gradient_length: of the net's gradient, over that of the flow's; the median. The mean is the matter of a few draws
        near a boundary between two modes.
    """
    found: dict[str, dict[str, float]] = {
        key: {} for key in ("mean_gap", "mean_error", "spread", "gradient_cosine", "gradient_length")
    }
    for t in (0.1, 0.2, 0.5, 0.8):
        alpha, sigma = policy.schedule.alpha(t), policy.schedule.sigma(t)
        x = alpha * chunks + sigma * torch.randn(chunks.shape, generator=generator).to(chunks)
        z = torch.randn((512, *chunks.shape), generator=generator).to(chunks)
        with torch.no_grad():
            clean = policy.clean(x, t, context)
            draws = net.draw(z, x, t, clean, context)
            exact = torch.stack([posterior_flow(policy, draw, x, t, context, 20) for draw in z[:48]])
        spread, mean = _root_mean_square(exact.std(0)), draws.mean(0)
        cosine, length = _gradient_agreement(net, policy, context, z[:16], x, t, generator)
        found["mean_gap"][f"{t}"] = _root_mean_square(mean - clean) / spread
        found["mean_error"][f"{t}"] = _root_mean_square(chunks - mean) / _root_mean_square(chunks - clean)
        found["spread"][f"{t}"] = _root_mean_square(draws.std(0)) / spread
        found["gradient_cosine"][f"{t}"], found["gradient_length"][f"{t}"] = cosine, length
    return found


def _gradient_agreement(
    net: PosteriorNet, policy: Denoiser, context: Any, z: Tensor, x: Tensor, t: float, generator: torch.Generator
) -> tuple[float, float]:
    """Mean cosine, and median ratio of lengths, of the net's and the flow's gradients in x for each z of (K, B, H, D).

    The net's includes the gradient through the denoiser's posterior mean, as QPILOTS-M takes it.
    """
    cosines, lengths = [], []
    for draw in z:
        cotangent = torch.randn(x.shape, generator=generator).to(x)
        with torch.enable_grad():
            at = x.detach().requires_grad_()
            of_net = net.draw(draw[None], at, t, policy.clean(at, t, context), context)[0]
            of_flow = posterior_flow(policy, draw, at, t, context, 20)
            first, second = (
                torch.autograd.grad((drawn * cotangent).sum(), at)[0].flatten(1) for drawn in (of_net, of_flow)
            )
        cosines.append(torch.cosine_similarity(first, second))
        lengths.append(first.norm(dim=1) / second.norm(dim=1))
    return float(torch.cat(cosines).mean()), float(torch.cat(lengths).median())


def _root_mean_square(values: Tensor) -> float:
    return float(values.square().mean().sqrt())
