"""A critic of your own: any differentiable value of an action chunk. It may read the simulator's state.

sim-eval task=lift critic=examples/own_critic.py:build samplers=best_of_n episodes=20
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from sim_eval import Critic

METRES = 0.05  # distance that an action of 1 moves the gripper


class NearTheCube(Critic):
    """Minus the distance from the cube to where the chunk moves the gripper, in units of `scale` metres."""

    observations = ("object", "robot0_eef_pos")

    def __init__(self, scale: float = 0.02) -> None:
        self.scale = scale

    def encode(self, observation: Mapping[str, Any], features: Tensor | None) -> Tensor:
        """The vector from gripper to cube, (B, 3), metres."""
        return torch.from_numpy(observation["object"][:, :3] - observation["robot0_eef_pos"])

    def q(self, actions: Tensor, encoded: Tensor) -> Tensor:
        """Chunks (B, H, 7) to values (B,)."""
        reached = METRES * actions[:, :, :3].sum(dim=1)
        return -(encoded - reached).norm(dim=1) / self.scale


def build(scale: float = 0.02) -> NearTheCube:
    return NearTheCube(scale)
