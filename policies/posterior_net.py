"""The one-step posterior net of QPILOTS-M, which maps z ~ N(0, I) to a sample of the clean action given a noisy one."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor, nn

from policies.network import ChunkNetwork
from policies.policy import Denoiser
from policies.posterior_flow import posterior_flow
from policies.schedule import Schedule


@dataclass(frozen=True)
class PosteriorConfig:
    """What the net is rebuilt from, together with its policy. `context_dim`: C, the length of the policy's features."""

    context_dim: int
    action_dim: int
    horizon: int
    width: int = 224
    depth: int = 3


class PosteriorNet(nn.Module):
    """One small network pass per draw, differentiable in x and conditioned on the frozen policy's features.

    A draw is X = clean(x, t) + spread(t) * r(z, x, t): the denoiser's posterior mean, plus a learned residual r scaled
    by spread(t) = sigma / sqrt(alpha^2 + sigma^2), the posterior's spread for actions of unit variance. So the net
    learns only the posterior's shape around a mean that the policy knows far better than a small net could.
    """

    def __init__(self, config: PosteriorConfig, denoiser: Denoiser) -> None:
        super().__init__()
        self.config = config
        self.schedule = denoiser.schedule
        self._features = denoiser.features
        self.network = ChunkNetwork(
            config.context_dim, config.horizon, config.action_dim, config.width, config.depth, inputs=2
        )

    def forward(self, z: Tensor, x: Tensor, t: float | Tensor, clean: Tensor, features: Tensor) -> Tensor:
        """z, x, clean (B, H, D), t a number or (B, 1, 1), features (B, context_dim) to (B, H, D)."""
        times = torch.as_tensor(t, dtype=x.dtype, device=x.device).expand(len(x), 1, 1).flatten()
        shape = self.network((z, x), times, self.network.embed(features))
        return clean + gaussian_spread(self.schedule, t) * shape

    def draw(self, z: Tensor, x: Tensor, t: float, clean: Tensor, context: Any) -> Tensor:
        k, features = len(z), offered_features(self._features(context))
        x, clean, features = x.repeat(k, 1, 1), clean.repeat(k, 1, 1), features.repeat(k, 1)
        return self(z.flatten(0, 1), x, t, clean, features).unflatten(0, (k, -1))


def offered_features(features: Tensor | None) -> Tensor:
    """The features. Raises ValueError if the policy offers none."""
    if features is None:
        raise ValueError("the policy offers no features: its method features(context) returns None")
    return features


def gaussian_spread(schedule: Schedule, t: float | Tensor) -> Tensor:
    """The posterior's standard deviation at t if clean actions were N(0, I): a scalar, or (B, 1, 1) as `t`."""
    alpha, sigma = schedule.alpha(t), schedule.sigma(t)
    return sigma / (alpha**2 + sigma**2).sqrt()


@dataclass(frozen=True)
class PosteriorTargets:
    """The net's training data: z, x, clean and sample (N, H, D), t (N, 1, 1), features (N, C)."""

    z: Tensor
    x: Tensor
    t: Tensor
    clean: Tensor
    features: Tensor
    sample: Tensor

    def __getitem__(self, rows: Tensor) -> PosteriorTargets:
        return PosteriorTargets(*(getattr(self, field.name)[rows] for field in fields(self)))


#: Draws of z per noisy action in the training data.
GROUP = 8


@torch.no_grad()
def draw_targets(
    policy: Denoiser, context: Any, chunks: Tensor, steps: int, generator: torch.Generator
) -> PosteriorTargets:
    """Training data from the frozen policy's posterior flow, N * GROUP rows. Raises ValueError without features.

    `context` (N rows) and `chunks` (N, H, D): states, and clean actions that the policy drew in them, so that each
    chunk and its random noisy view x_t are an exact draw from their joint distribution. The flow carries GROUP draws
    of z per chunk, in `steps` denoiser passes.

    The policy's network is not exactly self-consistent: the mean of the flow's samples is off the denoiser's posterior
    mean by up to a third of the spread. Each group is therefore centred on the denoiser's mean; GROUP / (GROUP - 1)
    compensates for each sample's share in its group's mean.
    """
    t = (torch.rand((len(chunks), 1, 1), generator=generator) * 0.99).to(chunks)  # no sampler asks for t = 1
    noise = torch.randn(chunks.shape, generator=generator).to(chunks)
    x = policy.schedule.alpha(t) * chunks + policy.schedule.sigma(t) * noise
    clean = policy.clean(x, t, context)
    context = policy.repeat(context, GROUP)
    x, t, clean = (rows.repeat_interleave(GROUP, dim=0) for rows in (x, t, clean))
    z = torch.randn(x.shape, generator=generator).to(chunks)
    group = posterior_flow(policy, z, x, t, context, steps).unflatten(0, (-1, GROUP))
    offset = (group - group.mean(1, keepdim=True)).flatten(0, 1) * (GROUP / (GROUP - 1))
    return PosteriorTargets(z, x, t, clean, offered_features(policy.features(context)), clean + offset)


def distillation_loss(net: PosteriorNet, targets: PosteriorTargets) -> Tensor:
    """Mean squared error of the one-step net, in units of the Gaussian posterior's spread; a scalar.

    The flow's end point is a deterministic function of (z, x, t), so plain regression learns it, and gets its mean
    over z right even where the net cannot follow the details.
    """
    error = net(targets.z, targets.x, targets.t, targets.clean, targets.features) - targets.sample
    return (error / gaussian_spread(net.schedule, targets.t)).square().mean()
