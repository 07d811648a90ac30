"""A policy of your own: every sampler needs only the posterior mean of its clean action chunk.

    sim-eval task=lift policy=examples/own_policy.py:build policy.spread=0.3 critic=examples/own_critic.py:build \
        sampler.qpilots_u.strength=1 samplers=unsteered,qpilots_u episodes=20
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from sim_eval import Denoiser, LinearPath, ObservationRequest


class ReachAndLift(Denoiser):
    """Normally distributed chunks around a rule: above the cube, down, close, up. A network would replace the rule."""

    request = ObservationRequest(names=("object", "robot0_eef_pos", "robot0_gripper_qpos"))
    horizon, execute, action_dim, schedule = 8, 8, 7, LinearPath()

    def __init__(self, spread: float = 0.2) -> None:
        self.spread = spread

    def encode(self, observation: Mapping[str, Any]) -> Tensor:
        """Observations of B episodes to the mean action in each, (B, 7)."""
        offset = torch.from_numpy(observation["object"][:, :3] - observation["robot0_eef_pos"])
        fingers = torch.from_numpy(observation["robot0_gripper_qpos"])
        beside = offset[:, :2].norm(dim=1) > 0.015
        around = ~beside & (offset[:, 2].abs() < 0.015)
        offset[beside, 2] += 0.08
        action = torch.zeros(len(offset), 7)
        action[:, :3] = (offset * 5).clamp(-1, 1)
        action[:, 6] = torch.where(around, 1.0, -1.0)
        action[around & (fingers[:, 0] - fingers[:, 1] < 0.06), 2] = 0.5
        return action

    def repeat(self, context: Tensor, copies: int) -> Tensor:
        return context.repeat_interleave(copies, dim=0)

    def clean(self, x: Tensor, t: float | Tensor, context: Tensor) -> Tensor:
        """E[a given x_t = x] for normally distributed actions, (B, H, D)."""
        alpha, sigma, mean = self.schedule.alpha(t), self.schedule.sigma(t), context[:, None]
        return mean + alpha * self.spread**2 / (alpha**2 * self.spread**2 + sigma**2) * (x - alpha * mean)


def build(spread: float = 0.2) -> ReachAndLift:
    return ReachAndLift(spread)
