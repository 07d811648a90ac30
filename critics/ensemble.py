"""The ensemble critic: Q(s, a_{1:h}) on normalised chunks, the log-odds of success or of a share of the return."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from critics.critic import Critic
from critics.network import EnsembleMLP, Pullback

#: Name of the input that holds the policy's features instead of an observation.
FEATURES = "features"


@dataclass(frozen=True)
class CriticConfig:
    """What the critic is rebuilt from. `method`: the objective that trained it.

    observation_sizes: length of each input, in order; the entry "features" stands for the policy's features.
    pessimism: Q is the heads' mean minus this many of their standard deviations. execute: h, the first entries of a
    chunk that the policy executes; the critic looks at no others. None: all H. low, high: the least and the largest
    return; 0 and 1 are those of success. actions_everywhere: every layer reads the chunk, not the first alone, as in
    Q-VGM (arXiv 2606.08015). Raises ValueError for an empty range.
    """

    method: str
    observation_sizes: dict[str, int]
    action_dim: int
    horizon: int
    heads: int = 4
    width: int = 192
    depth: int = 3
    pessimism: float = 0.0
    execute: int | None = None
    low: float = 0.0
    high: float = 1.0
    actions_everywhere: bool = False

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise ValueError(f"low={self.low} and high={self.high}: accepted is low < high")


class EnsembleCritic(nn.Module, Critic):
    """Log-odds in units of `scale`, their spread over policy samples within one state.

    The probability that they stand for is that of success, or the share (return - low) / (high - low) of a return: the
    cross-entropy against such a share is least at the mean return, as it is at the probability of success.
    """

    observation_mean: Tensor
    observation_std: Tensor
    scale: Tensor

    def __init__(self, config: CriticConfig) -> None:
        super().__init__()
        self.config = config
        self._inputs = dict(config.observation_sizes)
        self.observation_sizes = {name: size for name, size in self._inputs.items() if name != FEATURES}
        self.observations = tuple(self.observation_sizes)
        self.uses_features = FEATURES in self._inputs
        n = sum(self._inputs.values())
        self.network = EnsembleMLP(config.heads, self.network_inputs(n), config.width, config.depth, self._repeated())
        self.register_buffer("observation_mean", torch.zeros(n))
        self.register_buffer("observation_std", torch.ones(n))
        self.register_buffer("scale", torch.ones(()))

    @property
    def device(self) -> torch.device:
        return self.scale.device

    def network_inputs(self, observed: int) -> int:
        """How many numbers `network` reads, of which `observed` are the observation's."""
        return observed + self._entries

    @property
    def _entries(self) -> int:
        """Of a chunk that is executed."""
        return (self.config.execute or self.config.horizon) * self.config.action_dim

    def _repeated(self) -> int:
        return self._entries if self.config.actions_everywhere else 0

    def beside(self, network: EnsembleMLP) -> nn.Module:
        """A further network that is trained with this critic, as the objective needs it."""
        return network

    def normalise(self, observations: Tensor) -> Tensor:
        """Raw observation vectors (B, n) to normalised ones."""
        return (observations - self.observation_mean) / self.observation_std

    @torch.no_grad()
    def encode(self, observation: Mapping[str, Any], features: Tensor | None) -> Tensor:
        return self.normalise(self.inputs(observation, features))

    def inputs(self, observation: Mapping[str, Any], features: Tensor | None) -> Tensor:
        """Concatenate the arrays (B, n) that the critic reads, in its own order, not normalised: (B, sum of n)."""
        columns = [
            features if name == FEATURES else torch.from_numpy(np.asarray(observation[name], np.float32))
            for name in self._inputs
        ]
        # A copy that waits would wait for all that the policy is computing.
        return torch.cat([c.to(self.device, non_blocking=True) for c in columns if c is not None], dim=1)

    def logits(self, actions: Tensor, encoded: Tensor) -> Tensor:
        """Each head's log-odds, (E, B), of normalised chunks (B, H, D), or (B, h, D), and normalised inputs (B, n)."""
        return self.network(torch.cat([encoded, self.executed(actions).flatten(1)], dim=1))

    def executed(self, actions: Tensor) -> Tensor:
        """The entries of chunks (B, H, D) that the critic looks at, (B, h, D)."""
        return actions[:, : self.config.execute]

    def returns(self, shares: Tensor) -> Tensor:
        """Shares of the range, in [0, 1], to returns."""
        return self.config.low + (self.config.high - self.config.low) * shares

    def shares(self, returns: Tensor) -> Tensor:
        """Returns to shares of the range; those outside count as its ends."""
        return ((returns - self.config.low) / (self.config.high - self.config.low)).clamp(0.0, 1.0)

    def q(self, actions: Tensor, encoded: Tensor) -> Tensor:
        """The heads' log-odds, as `pessimism` joins them, in units of `scale`: (B, H, D) to (B,).

        Differentiable in the actions.
        """
        return self.joined(self.logits(actions, encoded))

    def joined(self, logits: Tensor) -> Tensor:
        """The heads' log-odds (E, B), as `pessimism` joins them, in units of `scale`, (B,)."""
        value = logits.mean(0)
        if self.config.pessimism:
            spread = (logits.var(0, correction=0) + 1e-12).sqrt()  # a gradient even where all heads agree
            value = value - self.config.pessimism * spread
        return value / self.scale

    @torch.no_grad()
    def q_with_pullback(self, actions: Tensor, encoded: Tensor) -> tuple[Tensor, Pullback]:
        """`q`, and what maps a gradient in it, (B,), to that in the actions."""
        logits, logits_pullback = self.logits_with_pullback(self.executed(actions), encoded)

        def pullback(gradient: Tensor) -> Tensor:
            of_executed = logits_pullback(self._joined_pullback(logits, gradient))
            return F.pad(of_executed, (0, 0, 0, actions.shape[1] - of_executed.shape[1]))

        return self.joined(logits), pullback

    def logits_with_pullback(self, executed: Tensor, encoded: Tensor) -> tuple[Tensor, Pullback]:
        """`logits` of executed entries (B, h, D), and what maps a gradient in it, (E, B), to that in these entries."""
        logits, network_pullback = self.network.with_pullback(torch.cat([encoded, executed.flatten(1)], dim=1))
        return logits, lambda gradient: network_pullback(gradient)[:, encoded.shape[1] :].view_as(executed)

    def _joined_pullback(self, logits: Tensor, gradient: Tensor) -> Tensor:
        """What maps a gradient (B,) in what `joined` gives to that in the log-odds, (E, B)."""
        if not self.config.pessimism:
            return (gradient / self.scale).expand_as(logits) / len(logits)
        with torch.enable_grad():
            point = logits.detach().requires_grad_()
            (found,) = torch.autograd.grad(self.joined(point), point, gradient)
        return found
