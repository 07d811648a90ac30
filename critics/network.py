"""The critics' networks: ensembles of MLPs, evaluated in one batched product per layer."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F


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
    """The hidden layers of `heads` MLPs with LayerNorm and GELU that share one input."""

    def __init__(self, heads: int, inputs: int, width: int, depth: int) -> None:
        super().__init__()
        self.heads = heads
        sizes = [inputs] + [width] * depth
        self.layers = nn.ModuleList(EnsembleLinear(heads, a, b) for a, b in pairwise(sizes))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(depth))

    def hidden(self, x: Tensor) -> Tensor:
        """(B, inputs) to (E, B, width)."""
        h = x.expand(self.heads, *x.shape)
        for layer, norm in zip(self.layers, self.norms, strict=True):
            h = F.gelu(norm(layer(h)), approximate="tanh")
        return h


class EnsembleMLP(EnsembleTrunk):
    """`heads` MLPs that each give one number."""

    def __init__(self, heads: int, inputs: int, width: int, depth: int) -> None:
        super().__init__(heads, inputs, width, depth)
        self.output = nn.Parameter(torch.zeros(heads, 1, width))
        self.bias = nn.Parameter(torch.zeros(heads, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs) to (E, B)."""
        return (self.hidden(x) * self.output).sum(-1) + self.bias
