"""Chunks that the frozen policy draws in visited states: critics are scaled by them, and actors learn from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from tqdm import tqdm

from critics.ensemble import EnsembleCritic
from policies.policy import Denoiser, Policy
from sim_eval.foundation.errors import RunError
from sim_eval.rollout.inference import stacked
from sim_eval.samplers.denoise import denoise, draw_unsteered, initial_noise
from sim_eval.samplers.sampler import Models, encode_for_critic
from sim_eval.training.trajectories import Trajectory
from sim_eval.training.workspace import row_blocks, visited_rows

#: Draws in each state.
DRAWS = 8
_STEPS = 10  # of denoising
_COMPARED_STATES = 8
_ROUNDING = 1e-5  # in units of the actions' deviation, by which two rows of a batch may differ


@dataclass(frozen=True)
class PolicyDraws:
    """`DRAWS` adjacent rows for each state, R in all.

    encoded: what the critic reads, (R, m). chunks: normalised, (R, H, D). noise: what each chunk was denoised from,
    (R, H, D), or (R, 0) for a `Policy`, which does not show its noise.
    """

    encoded: Tensor
    chunks: Tensor
    noise: Tensor

    def __len__(self) -> int:
        return len(self.encoded)

    def __getitem__(self, rows: Tensor) -> PolicyDraws:
        """The rows (B,)."""
        return PolicyDraws(self.encoded[rows], self.chunks[rows], self.noise[rows])


def joined(parts: Sequence[PolicyDraws]) -> PolicyDraws:
    """The rows of all parts, in order."""
    return PolicyDraws(
        torch.cat([part.encoded for part in parts]),
        torch.cat([part.chunks for part in parts]),
        torch.cat([part.noise for part in parts]),
    )


def policy_draws(
    models: Models, critic: EnsembleCritic, trajectories: Sequence[Trajectory], states: int, generator: torch.Generator
) -> PolicyDraws:
    """The frozen policy's draws in `states` visited states."""
    visits = visited_rows(trajectories, states, generator)
    return joined(
        [
            _drawn(models, critic, visits[rows.start : rows.stop], generator)
            for rows in row_blocks(states, models.policy.request)
        ]
    )


@torch.no_grad()
def _drawn(
    models: Models, critic: EnsembleCritic, visits: Sequence[tuple[Trajectory, int]], generator: torch.Generator
) -> PolicyDraws:
    policy, generators = models.policy, [generator] * len(visits)
    seen = stacked([trajectory.decision(row) for trajectory, row in visits])
    state = stacked([trajectory.state(row) for trajectory, row in visits])
    if isinstance(policy, Denoiser):
        context, noise = policy.encode(seen), initial_noise(policy, generators, DRAWS)
        chunks = denoise(policy, noise, policy.repeat(context, DRAWS), _STEPS)
    else:
        chunks, context = draw_unsteered(policy, seen, generators, _STEPS, DRAWS)
        noise = chunks.new_empty(len(chunks), 0)
    encoded = encode_for_critic(Models(policy, critic), state, context).repeat_interleave(DRAWS, dim=0)
    return PolicyDraws(encoded, chunks.to(encoded), noise.to(encoded))


@torch.no_grad()
def draws_everywhere(
    policy: Policy | Denoiser, trajectories: Sequence[Trajectory], copies: int, generator: torch.Generator, name: str
) -> Tensor:
    """What the policy would execute at every control step, `copies` draws of it: (steps, copies, h, D) float16.

    A policy is frozen, so its draws are made once, and not at every update.
    """
    steps = [(trajectory, step) for trajectory in trajectories for step in range(len(trajectory.actions))]
    found = []
    for rows in tqdm(row_blocks(len(steps), policy.request), desc=name, disable=None):
        seen = stacked([trajectory.state(step) for trajectory, step in steps[rows.start : rows.stop]])
        chunks, _ = draw_unsteered(policy, seen, [generator] * len(rows), _STEPS, copies)
        found.append(chunks.view(len(rows), copies, *chunks.shape[1:])[:, :, : policy.execute].cpu().half())
    return torch.cat(found)


@torch.no_grad()
def check_draws_vary(policy: Policy | Denoiser, label: str, trajectories: Sequence[Trajectory], seed: int) -> None:
    """Raise RunError if the policy called `label` draws the same chunk every time in each of a few visited states."""
    generator = torch.Generator().manual_seed(seed)
    visits = visited_rows(trajectories, _COMPARED_STATES, generator)
    seen = stacked([trajectory.decision(row) for trajectory, row in visits])
    chunks, _ = draw_unsteered(policy, seen, [generator] * len(visits), _STEPS, DRAWS)
    by_state = chunks.reshape(len(visits), DRAWS, -1)
    if (by_state - by_state[:, :1]).abs().max() < _ROUNDING:
        raise RunError(
            f"policy {label} draws the same chunk every time in a state, and a critic has nothing to choose from; "
            "accepted: a policy that draws at random"
        )


@torch.no_grad()
def q_spread(critic: EnsembleCritic, draws: PolicyDraws) -> Tensor:
    """The mean over states of the standard deviation of Q over the draws in a state."""
    return critic.q(draws.chunks, draws.encoded).view(-1, DRAWS).std(dim=1).mean()
