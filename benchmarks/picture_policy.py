"""A policy with pictures: a tiny convolutional flow policy with random weights, from outside the suite.

It imports the public API alone, as a user's file does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from sim_eval import Denoiser, LinearPath, ObservationRequest

CAMERAS = ("agentview_image", "robot0_eye_in_hand_image")


class PicturePolicy(nn.Module, Denoiser):
    """Two cameras, proprioception and the length of the instruction to a velocity, 25 thousand weights."""

    horizon, execute, action_dim = 8, 8, 7
    schedule = LinearPath()

    def __init__(self, seed: int = 0, size: int = 32) -> None:
        super().__init__()
        self.request = ObservationRequest(
            (*CAMERAS, "robot0_eef_pos", "instruction"), image_size=size, reflections=False, multisampling=False
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.eyes = nn.Sequential(nn.Conv2d(6, 8, 5, 4), nn.GELU(), nn.Conv2d(8, 8, 3, 2), nn.AdaptiveAvgPool2d(2))
            self.velocity = nn.Sequential(nn.Linear(32 + 3 + 1 + 56 + 1, 128), nn.GELU(), nn.Linear(128, 56))

    @torch.no_grad()
    def encode(self, observation: Mapping[str, Any]) -> Tensor:
        pictures = torch.cat([torch.from_numpy(observation[name]).permute(0, 3, 1, 2) for name in CAMERAS], dim=1)
        words = torch.tensor([[len(text) / 50] for text in observation["instruction"]])
        position = torch.from_numpy(observation["robot0_eef_pos"])
        return torch.cat([self.eyes(pictures / 255 - 0.5).flatten(1), position, words], dim=1)

    def repeat(self, context: Tensor, copies: int) -> Tensor:
        return context.repeat_interleave(copies, dim=0)

    def features(self, context: Tensor) -> Tensor:
        return context

    def clean(self, x: Tensor, t: float | Tensor, context: Tensor) -> Tensor:
        time = torch.as_tensor(t).expand(len(x), 1, 1).reshape(-1, 1).to(x)
        velocity = self.velocity(torch.cat([context, x.flatten(1), time], dim=1)).view_as(x)
        return x + (1 - torch.as_tensor(t)) * velocity


def build(seed: int = 0, size: int = 32) -> PicturePolicy:
    return PicturePolicy(seed, size)
