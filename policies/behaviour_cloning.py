"""Behaviour cloning of a chunk policy: the denoising regression loss on demonstrated chunks."""

from __future__ import annotations

import torch
from torch import Tensor

from policies.chunk_policy import ChunkPolicy
from policies.cloned_policy import ClonedPolicy

#: Least standard deviation of an action dimension: dimensions that barely move are not scaled up to unit variance.
STD_FLOOR = 0.05


def fit_normalisation(policy: ChunkPolicy, observations: Tensor, actions: Tensor) -> None:
    """Set the policy's normalisation from observations (N, n) and actions (N, D) of the demonstrations."""
    policy.observation_mean.copy_(observations.mean(0))
    policy.observation_std.copy_(observations.std(0).clamp_min(1e-3))
    policy.action_mean.copy_(actions.mean(0))
    policy.action_std.copy_(actions.std(0).clamp_min(STD_FLOOR))


def behaviour_cloning_loss(
    policy: ClonedPolicy, embedding: Tensor, chunks: Tensor, generator: torch.Generator
) -> Tensor:
    """Mean squared error of the network's prediction at a random time in [0, 1), a scalar.

    `embedding` (B, C) of the observations and normalised `chunks` (B, H, D). The minimiser is the conditional mean of
    the target, hence of the clean action (Lipman et al. 2023, arXiv 2210.02747; Ho et al. 2020, arXiv 2006.11239).
    """
    t = torch.rand((len(chunks), 1, 1), generator=generator, device=chunks.device)
    eps = torch.randn(chunks.shape, generator=generator, device=chunks.device)
    alpha, sigma = policy.family.schedule.alpha(t), policy.family.schedule.sigma(t)
    prediction = policy.predict(alpha * chunks + sigma * eps, t, embedding)
    return (prediction - policy.family.target(chunks, eps, alpha, sigma)).square().mean()
