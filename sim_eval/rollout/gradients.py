"""Whether a policy's posterior mean can be differentiated, which qpilots_u and qpilots_m do at every denoising step."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from policies.policy import Denoiser, Observations
from sim_eval.samplers.denoise import initial_noise


@dataclass(frozen=True)
class Gradient:
    """What was found of the gradient of `clean` in x, and what to do about it; `advice` is empty if it is sound."""

    found: str
    advice: str = ""


def gradient_of(policy: Denoiser, observation: Observations) -> Gradient:
    """The gradient of `clean` in x in the middle of the denoising, for a batch of one observation."""
    times = policy.times(10)
    t = times[len(times) // 2]
    context = policy.encode(observation)
    x = initial_noise(policy, [torch.Generator().manual_seed(0)]).requires_grad_()
    clean = policy.clean(x, t, context)
    advice = "take `torch.no_grad` and `detach` out of `clean`; qpilots_u and qpilots_m differentiate it"
    if not clean.requires_grad:
        return Gradient("`clean` does not depend on x: it runs under no_grad or detaches x", advice)
    direction = torch.randn(clean.shape, generator=torch.Generator().manual_seed(1)).to(clean)
    (gradient,) = torch.autograd.grad((clean * direction).sum(), x, allow_unused=True)
    if gradient is None or not gradient.any():
        return Gradient("the gradient of `clean` with respect to x is zero", advice)
    if not torch.isfinite(gradient).all():
        return Gradient("the gradient of `clean` has NaN or infinity", "check its square roots and norms")
    ratio = float((gradient / direction).median())
    if torch.allclose(gradient, ratio * direction, rtol=1e-4, atol=1e-7):
        found = f"the gradient of `clean` is {ratio:.3g} times the identity: only x itself is differentiated"
        return Gradient(found, f"unless the policy is that simple, {advice}")
    length = float(gradient.norm() / direction.norm())
    return Gradient(f"of `clean` in x at t = {t:.2g}: finite, {length:.3g} times as long as its argument")
