"""Training of the one-step posterior net from the frozen policy alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields

import torch
from torch import Tensor
from tqdm import tqdm

from policies.policy import ChunkPolicy
from policies.posterior import Lesson, PosteriorConfig, PosteriorNet, distillation_loss, teach
from policies.posterior_flow import PosteriorFlow
from sim_eval.checkpoints import load_policy, save_checkpoint
from sim_eval.files import sha256
from sim_eval.samplers import Models
from sim_eval.training.fit import fit
from sim_eval.training.trajectories import Trajectory
from sim_eval.training.workspace import Workshop, random_rows, sample_policy, seeded_weights, visited_states

#: Steps of the posterior flow that teaches the net.
FLOW_STEPS = 10


def train_posterior(
    shop: Workshop, policy_name: str, states: Sequence[Trajectory], samples: int, steps: int, batch: int
) -> dict[str, dict[str, float]]:
    """Distil the frozen policy's posterior flow into one step, on chunks that it draws in the visited `states`.

    Returns the net's `agreement` with the policy, which its card holds.
    """
    policy = load_policy(shop.task, policy_name, shop.checkpoints)
    generator = torch.Generator().manual_seed(shop.seed)
    lessons = _lessons(policy, states, samples, generator)
    config = PosteriorConfig(lessons.context.shape[1], policy.action_dim, policy.horizon)
    with seeded_weights(shop.seed):
        net = PosteriorNet(config, policy.schedule)

    def loss() -> Tensor:
        return distillation_loss(net, lessons[random_rows(len(lessons.t), batch, generator)])

    history = fit(net, loss, steps, name=f"{shop.task} {policy_name} posterior")
    agreed = agreement(net, policy, *_policy_samples(policy, states, 64, generator), generator)
    card = shop.card(
        "posterior",
        [shop.rollouts],
        policy_sha256=sha256(shop.checkpoints / shop.task / f"{policy_name}.safetensors"),
        training={"steps": steps, "batch": batch, "samples": samples, "last_logged_loss": history[-1]},
        **agreed,
    )
    save_checkpoint(shop.checkpoints / shop.task, f"posterior_{policy_name}", net, card)
    return agreed


def _policy_samples(
    policy: ChunkPolicy, states: Sequence[Trajectory], count: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """`count` visited states as the policy's embeddings (count, C), and the chunk that it draws in each."""
    visited = visited_states(states, list(policy.observation_sizes), count, generator)
    return policy.encode(visited), sample_policy(Models(policy), visited, generator)


def _lessons(policy: ChunkPolicy, states: Sequence[Trajectory], count: int, generator: torch.Generator) -> Lesson:
    """Rows to learn from, drawn once: GROUP for each of `count` chunks of the policy."""
    parts = []
    for start in tqdm(range(0, count, 512), desc="posterior flow", disable=None):
        contexts, chunks = _policy_samples(policy, states, min(512, count - start), generator)
        parts.append(teach(policy, contexts, chunks, FLOW_STEPS, generator))
    return Lesson(*(torch.cat([getattr(part, field.name) for part in parts]) for field in fields(Lesson)))


@torch.no_grad()
def agreement(
    net: PosteriorNet, policy: ChunkPolicy, context: Tensor, chunks: Tensor, generator: torch.Generator
) -> dict[str, dict[str, float]]:
    """How well the net's draws agree with the frozen policy's posterior at t = 0.2, 0.5 and 0.8.

    `context` (B, C) and `chunks` (B, H, D): states, and clean chunks that the policy drew there. `mean_gap`: how far
    the net's mean lies from the denoiser's posterior mean, in units of the posterior's spread; `spread`: the net's own
    in these units. All are root mean squares over all entries; the posterior's spread is that of draws of the policy's
    own posterior flow.
    """
    found: dict[str, dict[str, float]] = {"mean_gap": {}, "spread": {}}
    for t in (0.2, 0.5, 0.8):
        alpha, sigma = policy.schedule.alpha(t), policy.schedule.sigma(t)
        x = alpha * chunks + sigma * torch.randn(chunks.shape, generator=generator)
        z = torch.randn((512, *chunks.shape), generator=generator)
        clean = policy.clean(x, t, context)
        draws = net.draw(z, x, t, clean, context)
        spread = _root_mean_square(PosteriorFlow(policy, 20).draw(z[:48], x, t, clean, context).std(0))
        found["mean_gap"][f"{t}"] = _root_mean_square(draws.mean(0) - clean) / spread
        found["spread"][f"{t}"] = _root_mean_square(draws.std(0)) / spread
    return found


def _root_mean_square(values: Tensor) -> float:
    return float(values.square().mean().sqrt())
