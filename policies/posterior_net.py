"""The one-step posterior net of QPILOTS-M, which maps z ~ N(0, I) to a sample of the clean action given a noisy one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
    """The configuration that the net is rebuilt from, beside its policy.

    context_dim: C, the length of the policy's features.
    preconditioned: see `PosteriorNet`; False in cards without it, of nets that were trained on draws alone.
    """

    context_dim: int
    action_dim: int
    horizon: int
    width: int = 224
    depth: int = 3
    preconditioned: bool = False


class PosteriorNet(nn.Module):
    """One small network pass per draw, differentiable in x and conditioned on the frozen policy's features.

    A draw is X = c clean(x, t) + spread(t) * r(z, m, t). If actions were N(0, I), their posterior given x would be
    N(m, spread^2 I) with m = alpha x / (alpha^2 + sigma^2), spread = sigma / sqrt(alpha^2 + sigma^2). c = 1 - spread^2,
    and r reads m instead of x (preconditioning, Karras et al. 2022, arXiv 2206.00364, section 5). At small t, x says
    little of the action, and both let the net depend on it little: the Jacobian of a policy's network there is mostly
    error (Can's flow policy at t = 0.02: five times as long as that of its posterior flow).

    Between modes that lie far apart the draws' gradient is heavy-tailed, see `QPilotsM`; the net smooths it.

    Nets that are not `preconditioned` have c = 1 and read x: their gradient at t = 0.1 is 2.5 to 2.7 times as long as
    the flow's, at a cosine of 0.54 to 0.58.
    """

    def __init__(self, config: PosteriorConfig, denoiser: Denoiser) -> None:
        super().__init__()
        self.config = config
        self.schedule = denoiser.schedule
        self._features = denoiser.features
        self._embedded: tuple[int, Tensor, Tensor] | None = None
        self.network = ChunkNetwork(
            config.context_dim, config.horizon, config.action_dim, config.width, config.depth, inputs=2
        )

    def forward(self, z: Tensor, x: Tensor, t: float | Tensor, clean: Tensor, features: Tensor) -> Tensor:
        """z, x, clean (B, H, D), t a number or (B, 1, 1), features (B, context_dim) to (B, H, D)."""
        share, spread, slope = self._factors(t)
        seen = x if slope is None else slope * x
        return share * clean + spread * self.network((z, seen), t, self.network.embed(features))

    def _factors(self, t: float | Tensor) -> tuple[float | Tensor, Tensor, Tensor | None]:
        """c, the spread, and m / x, None where the network reads x."""
        spread = gaussian_spread(self.schedule, t)
        if not self.config.preconditioned:
            return 1.0, spread, None
        return 1 - spread**2, spread, gaussian_slope(self.schedule, t)

    def draw(self, z: Tensor, x: Tensor, t: float, clean: Tensor, context: Any) -> Tensor:
        k, features = len(z), offered_features(self._features(context))
        x, clean, features = x.repeat(k, 1, 1), clean.repeat(k, 1, 1), features.repeat(k, 1)
        return self(z.flatten(0, 1), x, t, clean, features).unflatten(0, (k, -1))

    @torch.no_grad()
    def draw_with_pullback(
        self, z: Tensor, x: Tensor, t: float, clean: Tensor, context: Any
    ) -> tuple[Tensor, Callable[[Tensor], tuple[Tensor, Tensor]]]:
        """`draw`, and what maps a gradient in it, (K, B, H, D), to those in x and `clean`, both (B, H, D)."""
        k, embedding = len(z), self._embedding(len(z), offered_features(self._features(context)))
        share, spread, slope = self._factors(t)
        seen = x if slope is None else slope * x
        residual, network_pullback = self.network.with_pullback((z.flatten(0, 1), seen.repeat(k, 1, 1)), t, embedding)

        def pullback(gradient: Tensor) -> tuple[Tensor, Tensor]:
            gradient = gradient.flatten(0, 1)
            _, of_seen = network_pullback(gradient * spread)
            of_x = of_seen if slope is None else of_seen * slope
            return of_x.unflatten(0, (k, -1)).sum(0), (gradient * share).unflatten(0, (k, -1)).sum(0)

        return (share * clean.repeat(k, 1, 1) + spread * residual).unflatten(0, (k, -1)), pullback

    def _embedding(self, copies: int, features: Tensor) -> Tensor:
        """Of `copies` of the features (B, C), one after the other. Kept, for it is the same at each denoising step."""
        kept = self._embedded
        if kept is None or kept[0] != copies or kept[1] is not features:
            self._embedded = kept = copies, features, self.network.embed(features.repeat(copies, 1))
        return kept[2]


def offered_features(features: Tensor | None) -> Tensor:
    """The features. Raises ValueError if the policy offers none."""
    if features is None:
        raise ValueError("the policy offers no features: its method features(context) returns None")
    return features


def gaussian_spread(schedule: Schedule, t: float | Tensor) -> Tensor:
    """The posterior's standard deviation at t if clean actions were N(0, I): a scalar, or (B, 1, 1) as `t`."""
    alpha, sigma = schedule.alpha(t), schedule.sigma(t)
    return sigma / (alpha**2 + sigma**2).sqrt()


def gaussian_slope(schedule: Schedule, t: float | Tensor) -> Tensor:
    """The derivative of the posterior mean in x at t if clean actions were N(0, I): a scalar, or (B, 1, 1) as `t`."""
    alpha, sigma = schedule.alpha(t), schedule.sigma(t)
    return alpha / (alpha**2 + sigma**2)


@dataclass(frozen=True)
class PosteriorTargets:
    """The training data of a preconditioned net: t (N, 1, 1), features (N, C), all others (N, H, D).

    `gradient`: what the gradient of sum(draw * cotangent) in x must be if `clean` is held constant.
    """

    z: Tensor
    x: Tensor
    t: Tensor
    clean: Tensor
    features: Tensor
    sample: Tensor
    cotangent: Tensor
    gradient: Tensor

    def __getitem__(self, rows: Tensor | slice) -> PosteriorTargets:
        return PosteriorTargets(*(getattr(self, field.name)[rows] for field in fields(self)))

    def to(self, device: torch.device) -> PosteriorTargets:
        """All rows on this device."""
        return PosteriorTargets(*(getattr(self, field.name).to(device) for field in fields(self)))


#: Draws of z per noisy action in the training data.
GROUP = 8

#: The gradient's error is measured in units of `gaussian_slope`, but not of less than this: the slope is 0 at t = 0.
_LEAST_SLOPE = 0.05


def draw_targets(
    policy: Denoiser, context: Any, chunks: Tensor, steps: int, generator: torch.Generator
) -> PosteriorTargets:
    """Training data from the frozen policy's posterior flow, N * GROUP rows. Raises ValueError without features.

    `context` (N rows) and `chunks` (N, H, D): states, and clean actions that the policy drew in them, so that each
    chunk and its random noisy view x_t are an exact draw from their joint distribution. The flow carries GROUP draws
    of z per chunk, in `steps` denoiser passes and as many backward passes, each for one random cotangent.

    The policy's network is not exactly self-consistent: the mean of the flow's samples is off the denoiser's posterior
    mean by up to a third of the spread. Up to t = 0.5 the flow's mean predicts the policy's own chunks better (Can: at
    0.1 its squared error is 8 % smaller), at 0.8 the denoiser's does (by 3 %). The net learns from the flow's samples
    as they are, so that its draws and their Jacobian belong to one another.
    """
    features = offered_features(policy.features(context))
    t = (torch.rand((len(chunks), 1, 1), generator=generator) * 0.99).to(chunks)  # no sampler asks for t = 1
    noise = torch.randn(chunks.shape, generator=generator).to(chunks)
    x = policy.schedule.alpha(t) * chunks + policy.schedule.sigma(t) * noise
    share = 1 - gaussian_spread(policy.schedule, t) ** 2
    groups = []
    for _ in range(GROUP):
        z, cotangent = torch.randn((2, *chunks.shape), generator=generator).to(chunks)
        with torch.enable_grad():
            at = x.clone().requires_grad_()
            clean, sample = policy.clean(at, t, context), posterior_flow(policy, z, at, t, context, steps)
            (gradient,) = torch.autograd.grad(((sample - share * clean) * cotangent).sum(), at)
        groups.append(PosteriorTargets(z, x, t, clean.detach(), features, sample.detach(), cotangent, gradient))
    return joined(groups)


def joined(parts: Sequence[PosteriorTargets]) -> PosteriorTargets:
    """The rows of all parts, one part after the other."""
    names = [field.name for field in fields(PosteriorTargets)]
    return PosteriorTargets(*(torch.cat([getattr(part, name) for part in parts]) for name in names))


def distillation_loss(net: PosteriorNet, targets: PosteriorTargets, gradient_weight: float = 1.0) -> Tensor:
    """Mean squared error of the one-step net, in units of the Gaussian posterior's spread; a scalar.

    The flow's end point is a deterministic function of (z, x, t), so plain regression learns it, and gets its mean
    over z right even where the net cannot follow the details.

    QPILOTS-M differentiates the draws in x, so the first half of the rows adds, with `gradient_weight`, the squared
    error of the gradient for a random cotangent (Sobolev training with random projections, Czarnecki et al. 2017, arXiv
    1706.04859). Its unit is the Gaussian posterior's; the error of a longer gradient is relative, or the few draws near
    a boundary between two modes would be all that the net learns.
    """
    half = (len(targets.t) + 1) // 2
    first, others = targets[:half], targets[half:]
    x = first.x.clone().requires_grad_()
    draws = net(first.z, x, first.t, first.clean, first.features)
    (gradient,) = torch.autograd.grad((draws * first.cotangent).sum(), x, create_graph=True)
    draws = torch.cat([draws, net(others.z, others.x, others.t, others.clean, others.features)])
    error = ((draws - targets.sample) / gaussian_spread(net.schedule, targets.t)).square().mean()
    unit = gaussian_slope(net.schedule, first.t).clamp_min(_LEAST_SLOPE)
    size = 1 + (first.gradient / unit).square().mean((1, 2), keepdim=True)
    return error + gradient_weight * (((gradient - first.gradient) / unit).square() / size).mean()
