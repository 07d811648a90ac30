"""The network of the small policies: a residual MLP over the flattened chunk, conditioned on time and observation.

Its pullback is written by hand: autograd takes as long to note a small layer, and to find its way back, as the layer
takes to compute. The operations are autograd's own, in its order, so that the gradients are equal bit for bit.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

FREQUENCIES = 16

_gelu_backward = torch.ops.aten.gelu_backward.default
_norm_backward = torch.ops.aten.native_layer_norm_backward.default

#: Maps the gradient of a number in a function's result to that in its argument.
Pullback = Callable[[Tensor], Tensor]


def time_features(t: Tensor) -> Tensor:
    """t (B,) in [0, 1] to sines and cosines (B, 2 * FREQUENCIES), periods from 4 down to about 0.02."""
    angle = t[:, None] * _frequencies(t.dtype, t.device)
    return torch.cat([angle.sin(), angle.cos()], dim=1)


@lru_cache(maxsize=16)
def _frequencies(dtype: torch.dtype, device: torch.device) -> Tensor:
    """(FREQUENCIES,), computed on the CPU for every device, and copied once."""
    with torch.inference_mode(False), torch.no_grad():
        return torch.exp(torch.linspace(math.log(math.pi / 2), math.log(300.0), FREQUENCIES)).to(device, dtype)


@lru_cache(maxsize=256)
def _features_at(t: float, rows: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """As `time_features`, of equal times: those of the denoising steps, which recur at every decision."""
    with torch.inference_mode(False), torch.no_grad():
        return time_features(torch.full((rows,), t, dtype=dtype, device=device))


class Block(nn.Module):
    """Pre-norm residual layer of width `width`."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.linear = nn.Linear(width, width)

    def forward(self, h: Tensor) -> tuple[Tensor, Pullback]:
        """h (B, width) to the next layer's, with the pullback."""
        weight = self.linear.weight
        normed, norm_pullback = normalised(self.norm, h)
        u = F.linear(normed, weight, self.linear.bias)

        def pullback(gradient: Tensor) -> Tensor:
            return gradient + norm_pullback(_gelu_backward(gradient, u, approximate="tanh").mm(weight))

        return h + F.gelu(u, approximate="tanh"), pullback


def normalised(norm: nn.LayerNorm, h: Tensor) -> tuple[Tensor, Pullback]:
    """What the norm makes of h (B, width), with the pullback."""
    shape, weight, bias = norm.normalized_shape, norm.weight, norm.bias
    normed, mean, deviation = torch.native_layer_norm(h, shape, weight, bias, norm.eps)

    def pullback(gradient: Tensor) -> Tensor:
        wanted = [True, False, False]  # the gradient in h, not in weight and bias
        found: Tensor = _norm_backward(gradient, h, shape, mean, deviation, weight, bias, wanted)[0]
        return found

    return normed, pullback


class ChunkNetwork(nn.Module):
    """Maps (inputs, t, observation embedding) to a chunk.

    `embed` runs once per chunk, the trunk once per denoising step. `inputs`: how many (B, H, D) tensors the trunk
    reads, 1 for a policy (x), 2 for a posterior net (z and x).
    """

    def __init__(
        self, observation_dim: int, horizon: int, action_dim: int, width: int, depth: int, inputs: int = 1
    ) -> None:
        super().__init__()
        self.shape = (horizon, action_dim)
        chunk = horizon * action_dim
        self.observation = nn.Sequential(
            nn.Linear(observation_dim, width), nn.GELU(approximate="tanh"), nn.Linear(width, width)
        )
        self.inputs = nn.Linear(inputs * chunk + 2 * FREQUENCIES, width)
        self.blocks = nn.ModuleList(Block(width) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.output = nn.Linear(width, chunk)
        nn.init.zeros_(self.output.weight)

    def embed(self, observation: Tensor) -> Tensor:
        """Normalised observations (B, n) to their embeddings (B, width)."""
        return self.observation(observation)

    def forward(self, inputs: tuple[Tensor, ...], t: float | Tensor, embedding: Tensor) -> Tensor:
        """`inputs` (B, H, D) each, `t` in [0, 1], a number or (B, 1, 1), `embedding` (B, width) to (B, H, D)."""
        return self.with_pullback(inputs, t, embedding)[0]

    def with_pullback(
        self, inputs: tuple[Tensor, ...], t: float | Tensor, embedding: Tensor
    ) -> tuple[Tensor, Callable[[Tensor], tuple[Tensor, ...]]]:
        """As `forward`, and what maps a gradient (B, H, D) in the result to those in the `inputs`."""
        flat = [x.flatten(1) for x in inputs]
        first, last = self.inputs.weight, self.output.weight
        h = F.linear(torch.cat([*flat, self._time(t, inputs[0])], dim=1), first, self.inputs.bias) + embedding
        pullbacks = []
        for block in self.blocks:
            h, block_pullback = block(h)
            pullbacks.append(block_pullback)
        normed, norm_pullback = normalised(self.norm, h)

        def pullback(gradient: Tensor) -> tuple[Tensor, ...]:
            gradient = norm_pullback(gradient.flatten(1).mm(last))
            for block_pullback in reversed(pullbacks):
                gradient = block_pullback(gradient)
            parts = gradient.mm(first).split(math.prod(self.shape), dim=1)
            return tuple(part.unflatten(1, self.shape) for part in parts[: len(flat)])

        return F.linear(normed, last, self.output.bias).unflatten(1, self.shape), pullback

    @staticmethod
    def _time(t: float | Tensor, x: Tensor) -> Tensor:
        """The features of `t` for each row of x (B, H, D)."""
        if isinstance(t, float):
            return _features_at(t, len(x), x.dtype, x.device)
        return time_features(torch.as_tensor(t, dtype=x.dtype, device=x.device).expand(len(x), 1, 1).flatten())
