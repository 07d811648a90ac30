"""The learned one-step posterior net of QPILOTS-M: z ~ N(0, I) to a sample of the clean action given a noisy one."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor, nn

from policies.denoiser import Denoiser
from policies.network import ChunkNetwork
from policies.posterior_flow import posterior_flow
from policies.schedule import Schedule


@dataclass(frozen=True)
class PosteriorConfig:
    """What rebuilds the net, beside the policy that it belongs to. `context_dim` is the width of its context."""

    context_dim: int
    action_dim: int
    horizon: int
    width: int = 224
    depth: int = 3


class PosteriorNet(nn.Module):
    """One small network pass a draw, differentiable in x, conditioned on the frozen policy's observation embedding.

    The net adds to the denoiser's own posterior mean: X = clean(x, t) + spread(t) * r(z, x, t), where spread(t) =
    sigma / sqrt(alpha^2 + sigma^2) is the posterior's for actions of unit variance. So it learns the shape of the
    posterior around a mean that the policy already knows far better than a small net could.
    """

    def __init__(self, config: PosteriorConfig, schedule: Schedule) -> None:
        super().__init__()
        self.config = config
        self.schedule = schedule
        self.network = ChunkNetwork(
            config.context_dim, config.horizon, config.action_dim, config.width, config.depth, inputs=2
        )

    def forward(self, z: Tensor, x: Tensor, t: float | Tensor, clean: Tensor, context: Tensor) -> Tensor:
        """z, x, clean (B, H, D), t a number or (B, 1, 1), context (B, context_dim) to (B, H, D)."""
        times = torch.as_tensor(t, dtype=x.dtype, device=x.device).expand(len(x), 1, 1).flatten()
        shape = self.network((z, x), times, self.network.embed(context))
        return clean + gaussian_spread(self.schedule, t) * shape

    def draw(self, z: Tensor, x: Tensor, t: float, clean: Tensor, context: Tensor) -> Tensor:
        k = len(z)
        x, clean, context = x.repeat(k, 1, 1), clean.repeat(k, 1, 1), context.repeat(k, 1)
        return self(z.flatten(0, 1), x, t, clean, context).unflatten(0, (k, -1))


def gaussian_spread(schedule: Schedule, t: float | Tensor) -> Tensor:
    """The posterior's standard deviation at t if clean actions were N(0, I)."""
    alpha, sigma = schedule.alpha(t), schedule.sigma(t)
    return sigma / (alpha**2 + sigma**2).sqrt()


@dataclass(frozen=True)
class Lesson:
    """Rows that the net learns from: z, x, clean and sample (N, H, D), t (N, 1, 1), context (N, C)."""

    z: Tensor
    x: Tensor
    t: Tensor
    clean: Tensor
    context: Tensor
    sample: Tensor

    def __getitem__(self, rows: Tensor) -> Lesson:
        return Lesson(*(getattr(self, field.name)[rows] for field in fields(self)))


#: Draws of z for each noisy action that the net learns from.
GROUP = 8


@torch.no_grad()
def teach(policy: Denoiser, context: Tensor, chunks: Tensor, steps: int, generator: torch.Generator) -> Lesson:
    """Where the frozen policy's own posterior flow carries GROUP z each, for a random noisy view x_t of each chunk.

    `context` (N, C) and `chunks` (N, H, D) are states and clean actions that the policy drew in them, so that
    (chunk, x_t) are exact pairs of its joint law; the flow takes `steps` denoiser passes. A network is not exactly
    consistent with itself: the mean of the flow's samples is off the denoiser's posterior mean by up to a third of the
    spread. The samples of a group are therefore moved onto the denoiser's mean; GROUP / (GROUP - 1) makes up for the
    share of each sample in its group's mean. Returns N * GROUP rows.
    """
    t = torch.rand((len(chunks), 1, 1), generator=generator) * 0.99  # no sampler asks for t = 1
    x = policy.schedule.alpha(t) * chunks + policy.schedule.sigma(t) * torch.randn(chunks.shape, generator=generator)
    clean = policy.clean(x, t, context)
    x, t, clean, context = (rows.repeat_interleave(GROUP, dim=0) for rows in (x, t, clean, context))
    z = torch.randn(x.shape, generator=generator)
    group = posterior_flow(policy, z, x, t, context, steps).unflatten(0, (-1, GROUP))
    offset = (group - group.mean(1, keepdim=True)).flatten(0, 1) * (GROUP / (GROUP - 1))
    return Lesson(z, x, t, clean, context, clean + offset)


def distillation_loss(net: PosteriorNet, lesson: Lesson) -> Tensor:
    """Squared error of the one-step net, in units of the Gaussian posterior's spread.

    The flow's end is a deterministic function of (z, x, t): a plain regression learns it, and keeps its mean over z
    even where the net cannot follow its detail.
    """
    error = net(lesson.z, lesson.x, lesson.t, lesson.clean, lesson.context) - lesson.sample
    return (error / gaussian_spread(net.schedule, lesson.t)).square().mean()
