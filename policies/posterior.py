"""The learned one-step posterior net of QPILOTS-M: z ~ N(0, I) to a sample of the clean action given a noisy one."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor, nn

from policies.network import ChunkNetwork
from policies.denoiser import Denoiser
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
    """One network pass a draw, differentiable in x, conditioned on the frozen policy's own observation embedding.

    The output is preconditioned as if actions were N(0, I): the net learns what differs from the Gaussian posterior
    x alpha / (alpha^2 + sigma^2) + z sigma / sqrt(alpha^2 + sigma^2), in units of that posterior's spread.
    """

    def __init__(self, config: PosteriorConfig, schedule: Schedule) -> None:
        super().__init__()
        self.config = config
        self.schedule = schedule
        self.network = ChunkNetwork(
            config.context_dim, config.horizon, config.action_dim, config.width, config.depth, inputs=2
        )

    def forward(self, z: Tensor, x: Tensor, t: float | Tensor, context: Tensor) -> Tensor:
        """z, x (B, H, D), t a number or (B, 1, 1), context (B, context_dim) to (B, H, D)."""
        alpha, sigma = self.schedule.alpha(t), self.schedule.sigma(t)
        norm = alpha**2 + sigma**2
        times = torch.as_tensor(t, dtype=x.dtype, device=x.device).expand(len(x), 1, 1).flatten()
        correction = self.network((z, x), times, self.network.embed(context))
        return alpha / norm * x + sigma / norm.sqrt() * (z + correction)

    def draw(self, z: Tensor, x: Tensor, t: float, context: Tensor) -> Tensor:
        """z (K, B, H, D), x (B, H, D), context (B, context_dim): samples of a given x_t = x, (K, B, H, D)."""
        k = len(z)
        x, context = x.repeat(k, 1, 1), context.repeat(k, 1)
        return self(z.flatten(0, 1), x, t, context).unflatten(0, (k, -1))


@dataclass(frozen=True)
class Lesson:
    """Rows that the net learns from: z, x and sample (N, H, D), t (N, 1, 1), context (N, C)."""

    z: Tensor
    x: Tensor
    t: Tensor
    context: Tensor
    sample: Tensor

    def __getitem__(self, rows: Tensor) -> Lesson:
        return Lesson(*(getattr(self, field.name)[rows] for field in fields(self)))


@torch.no_grad()
def teach(policy: Denoiser, context: Tensor, chunks: Tensor, steps: int, generator: torch.Generator) -> Lesson:
    """Where the frozen policy's own posterior flow carries z, for a random noisy view x_t of each chunk.

    `context` (N, C) and `chunks` (N, H, D) are states and clean actions that the policy drew in them, so that
    (chunk, x_t) are exact pairs of its joint law; the flow takes `steps` denoiser passes.
    """
    t = torch.rand((len(chunks), 1, 1), generator=generator) * 0.99  # no sampler asks for t = 1
    eps, z = (torch.randn(chunks.shape, generator=generator) for _ in range(2))
    x = policy.schedule.alpha(t) * chunks + policy.schedule.sigma(t) * eps
    return Lesson(z, x, t, context, posterior_flow(policy, z, x, t, context, steps))


def distillation_loss(net: PosteriorNet, lesson: Lesson) -> Tensor:
    """Squared error of the one-step net, in units of the Gaussian posterior's spread.

    The flow's end is a deterministic function of (z, x, t): a plain regression learns it, and keeps its mean over z
    even where the net cannot follow its detail.
    """
    alpha, sigma = net.schedule.alpha(lesson.t), net.schedule.sigma(lesson.t)
    spread = sigma / (alpha**2 + sigma**2).sqrt()
    return ((net(lesson.z, lesson.x, lesson.t, lesson.context) - lesson.sample) / spread).square().mean()
