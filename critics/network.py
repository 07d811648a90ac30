"""The critics' networks: ensembles of MLPs, evaluated in one batched product per layer.

Their pullbacks are written by hand, for autograd takes as long to note a small layer as the layer takes to compute. The
operations are autograd's own, so that the gradients are equal bit for bit.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_gelu_backward = torch.ops.aten.gelu_backward.default
_norm_backward = torch.ops.aten.native_layer_norm_backward.default

#: Maps the gradient of a number in a function's result to that in its argument.
Pullback = Callable[[Tensor], Tensor]


class EnsembleLinear(nn.Module):
    """`heads` independent linear layers: (E, B, inputs) to (E, B, outputs)."""

    def __init__(self, heads: int, inputs: int, outputs: int) -> None:
        super().__init__()
        bound = 1 / math.sqrt(inputs)
        self.weight = nn.Parameter(torch.empty(heads, inputs, outputs).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.zeros(heads, 1, outputs))

    def forward(self, x: Tensor) -> Tensor:
        return torch.baddbmm(self.bias, x, self.weight)


class EnsembleTrunk(nn.Module):
    """The hidden layers of `heads` MLPs with LayerNorm and GELU that share one input.

    repeated: how many of the inputs, the last ones, every later layer reads too, as in D2RL (Sinha et al. 2020, arXiv
    2010.09163).
    """

    def __init__(self, heads: int, inputs: int, width: int, depth: int, repeated: int = 0) -> None:
        super().__init__()
        self.heads, self.repeated = heads, repeated
        sizes = [inputs, *[width + repeated] * (depth - 1)]
        self.layers = nn.ModuleList(EnsembleLinear(heads, size, width) for size in sizes)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(depth))

    def hidden(self, x: Tensor) -> Tensor:
        """(B, inputs) to (E, B, width)."""
        return self.hidden_with_pullback(x)[0]

    def hidden_with_pullback(self, x: Tensor) -> tuple[Tensor, Pullback]:
        """`hidden`, and what maps a gradient in it to that in x."""
        h = first = x.expand(self.heads, *x.shape)
        again = first[..., first.shape[-1] - self.repeated :]
        pullbacks = []
        for number, (layer, norm) in enumerate(zip(self.layers, self.norms, strict=True)):
            inputs = torch.cat([h, again], dim=-1) if number and self.repeated else h
            h, pullback = _hidden_layer(layer, norm, inputs)
            pullbacks.append(pullback)

        def pullback_of_all(gradient: Tensor) -> Tensor:
            *later, earliest = reversed(pullbacks)
            of_again: Tensor | None = None
            for pullback in later:
                gradient = pullback(gradient)
                if self.repeated:
                    gradient, more = gradient.split([gradient.shape[-1] - self.repeated, self.repeated], dim=-1)
                    of_again = more if of_again is None else of_again + more
            gradient = earliest(gradient)
            if of_again is not None:
                gradient = gradient + F.pad(of_again, (gradient.shape[-1] - self.repeated, 0))
            return gradient.sum(0)

        return h, pullback_of_all


def _hidden_layer(layer: Any, norm: Any, h: Tensor) -> tuple[Tensor, Pullback]:
    """GELU of the norm of the layer, (E, B, inputs) to (E, B, width), with the pullback."""
    u, shape = layer(h), norm.normalized_shape
    normed, mean, deviation = torch.native_layer_norm(u, shape, norm.weight, norm.bias, norm.eps)

    def pullback(gradient: Tensor) -> Tensor:
        gradient = _gelu_backward(gradient, normed, approximate="tanh")
        wanted = [True, False, False]  # the gradient in u, not in weight and bias
        of_u = _norm_backward(gradient, u, shape, mean, deviation, norm.weight, norm.bias, wanted)[0]
        return torch.bmm(of_u, layer.weight.transpose(1, 2))

    return F.gelu(normed, approximate="tanh"), pullback


class EnsembleMLP(EnsembleTrunk):
    """`heads` MLPs that each give one number."""

    def __init__(self, heads: int, inputs: int, width: int, depth: int, repeated: int = 0) -> None:
        super().__init__(heads, inputs, width, depth, repeated)
        self.output = nn.Parameter(torch.zeros(heads, 1, width))
        self.bias = nn.Parameter(torch.zeros(heads, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs) to (E, B)."""
        return (self.hidden(x) * self.output).sum(-1) + self.bias

    def with_pullback(self, x: Tensor) -> tuple[Tensor, Pullback]:
        """As `forward`, and what maps a gradient in the result to that in x."""
        h, hidden_pullback = self.hidden_with_pullback(x)
        output = self.output
        return (h * output).sum(-1) + self.bias, lambda gradient: hidden_pullback(gradient[..., None] * output)
