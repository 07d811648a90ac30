"""Edit: a learned actor moves the policy's chunk a little; the critic picks the chunk or its edit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from policies.from_host import to_device
from policies.policy import Observations
from sim_eval.samplers.denoise import draw_unsteered
from sim_eval.samplers.sampler import Models, at_least_one, encode_for_critic, required_actor, required_critic


@dataclass(frozen=True)
class Edit:
    """The better by Q of an unsteered chunk and the same chunk plus a draw of `edit_actor` (EXPO, Dong et al. 2025,
    arXiv 2507.07986).
    """

    steps: int = 10

    needs: ClassVar[frozenset[str]] = frozenset({"critic", "edit_actor"})

    def __post_init__(self) -> None:
        at_least_one(self, "steps")

    @torch.no_grad()
    def __call__(self, models: Models, observation: Observations, generators: Sequence[torch.Generator]) -> Tensor:
        critic, actor = required_critic(models), required_actor(models, "edit_actor")
        chunks, context = draw_unsteered(models.policy, observation, generators, self.steps)
        encoded = encode_for_critic(models, observation, context)
        normal = [torch.randn(chunks.shape[1:], generator=g) for g in generators]
        z = to_device(torch.stack(normal), chunks.device)
        edits, _ = actor.draw(torch.cat([encoded, chunks.flatten(1)], dim=1), z)
        both = torch.stack([chunks, chunks + edits])  # (2, B, H, D)
        q = torch.stack([critic.q(candidates, encoded) for candidates in both])
        return both[q.argmax(dim=0), torch.arange(len(chunks), device=chunks.device)]
