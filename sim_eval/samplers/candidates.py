"""Chunks and their Q, for samplers that choose among them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from critics.critic import Critic
from policies.policy import Observations
from sim_eval.samplers.denoise import draw_unsteered
from sim_eval.samplers.sampler import Models, encode_for_critic, required_critic


def draw_candidates(
    models: Models, observation: Observations, generators: Sequence[torch.Generator], n: int, steps: int
) -> tuple[Tensor, Tensor]:
    """`n` chunks of the frozen policy per row, (B, n, H, D), and the critic's Q of each, (B, n)."""
    critic = required_critic(models)
    chunks, context = draw_unsteered(models.policy, observation, generators, steps, copies=n)
    encoded = encode_for_critic(models, observation, context).repeat_interleave(n, dim=0)
    with torch.no_grad():
        q = critic.q(chunks, encoded).view(-1, n)
    return chunks.view(len(q), n, *chunks.shape[1:]), q


@torch.no_grad()
def keep_better(critic: Critic, encoded: Tensor, steered: Tensor, unsteered: Tensor) -> Tensor:
    """Each row's steered chunk where its Q is above that of the unsteered one, else the latter; all (B, H, D).

    `encoded`: the critic's, of B rows. A steered chunk of NaN is kept: it is an error, which must be seen.
    """
    no_better = critic.q(unsteered, encoded) >= critic.q(steered, encoded)
    return torch.where(no_better[:, None, None], unsteered, steered)
