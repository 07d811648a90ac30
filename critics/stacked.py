"""The critics of several tasks on the same states as one module, so that one update of all takes the kernels of one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from critics.ensemble import EnsembleCritic
from critics.network import EnsembleLinear, EnsembleMLP, EnsembleTrunk
from critics.outcome import OutcomeCritic


class StackedMLP(nn.Module):
    """Ensembles of equal size, one a task, that share one input: (B, inputs) to (tasks, E, B).

    `stacked`: each parameter of the ensembles, (tasks, ...), under its name with _ for dots.
    """

    def __init__(self, networks: Sequence[EnsembleMLP]) -> None:
        super().__init__()
        first = networks[0]
        self.tasks, self.heads, self.depth = len(networks), first.heads, len(first.layers)
        self.repeated = first.repeated
        states = [network.state_dict() for network in networks]
        self.stacked = nn.ParameterDict(
            {_key(name): nn.Parameter(torch.stack([state[name] for state in states])) for name in states[0]}
        )

    def forward(self, x: Tensor) -> Tensor:
        p, shape = self.stacked, (self.tasks, self.heads)
        h = x.expand(self.tasks * self.heads, *x.shape)
        again = h[..., h.shape[-1] - self.repeated :]
        for layer in range(self.depth):
            if layer and self.repeated:
                h = torch.cat([h, again], dim=-1)
            weight, bias = (p[f"layers_{layer}_{name}"].flatten(0, 1) for name in ("weight", "bias"))
            scale, shift = (p[f"norms_{layer}_{name}"][:, None, None] for name in ("weight", "bias"))
            u = torch.baddbmm(bias, h, weight)
            u = F.layer_norm(u, u.shape[-1:]).unflatten(0, shape)  # its scale and shift are the task's
            h = F.gelu(torch.addcmul(shift, u, scale), approximate="tanh").flatten(0, 1)
        return (h.unflatten(0, shape) * p["output"]).sum(-1) + p["bias"]

    def of_task(self, number: int, names: Iterable[str]) -> dict[str, Tensor]:
        """The parameters of one task's ensemble, by the `names` that they have there."""
        return {name: self.stacked[_key(name)][number].detach() for name in names}


def _key(name: str) -> str:
    return name.replace(".", "_")


class SharedTrunk(EnsembleTrunk):
    """Ensembles of equal size, one a task, that share their hidden layers: (B, inputs) to (tasks, E, B).

    Where few states of the data tell a task from another, each task learns from the others' what states are like.
    """

    def __init__(self, network: EnsembleMLP, tasks: int) -> None:
        width = network.output.shape[-1]
        first = network.layers[0]
        assert isinstance(first, EnsembleLinear)
        super().__init__(network.heads, first.weight.shape[1], width, len(network.layers), network.repeated)
        self.output = nn.Parameter(torch.empty(tasks, network.heads, 1, width))
        self.bias = nn.Parameter(torch.empty(tasks, network.heads, 1))
        stacked = {name: getattr(network, name).expand_as(getattr(self, name)) for name in ("output", "bias")}
        self.load_state_dict({**network.state_dict(), **stacked})

    def forward(self, x: Tensor) -> Tensor:
        return (self.hidden(x) * self.output).sum(-1) + self.bias

    def of_task(self, number: int, names: Iterable[str]) -> dict[str, Tensor]:
        """As of a `StackedMLP`."""
        state = {**self.state_dict(), "output": self.output[number].detach(), "bias": self.bias[number].detach()}
        return {name: state[name] for name in names}


class StackedCritic(EnsembleCritic):
    """Critics of equal configuration, one a task: its log-odds are (tasks, E, B). For training alone.

    Each is a copy of `critic`, so that each task starts with the weights that it has alone.
    """

    def __init__(self, critic: EnsembleCritic, tasks: int) -> None:
        super().__init__(critic.config)
        self.tasks = tasks
        self.load_state_dict(critic.state_dict())
        self.network: Any = self.beside(self.network)
        self.to(critic.device)

    def beside(self, network: EnsembleMLP) -> nn.Module:
        return StackedMLP([network] * self.tasks)

    def copy_to(self, critic: EnsembleCritic, number: int) -> None:
        """Give `critic`, of the same configuration, the weights and the normalisation of task `number`."""
        critic.network.load_state_dict(self.network.of_task(number, critic.network.state_dict()))
        for own, theirs in zip(critic.buffers(), self.buffers(), strict=True):
            own.copy_(theirs)


class StackedOutcomeCritic(StackedCritic, OutcomeCritic):
    """Critics V(f(s, a)) of several tasks: f and the hidden layers of V are one for all."""

    def beside(self, network: EnsembleMLP) -> nn.Module:
        return SharedTrunk(network, self.tasks)

    def copy_to(self, critic: EnsembleCritic, number: int) -> None:
        super().copy_to(critic, number)
        assert isinstance(critic, OutcomeCritic)
        critic.dynamics.load_state_dict(self.dynamics.state_dict())


def stacked(critic: EnsembleCritic, tasks: int) -> StackedCritic:
    """So many copies of the critic, as one module."""
    return (StackedOutcomeCritic if isinstance(critic, OutcomeCritic) else StackedCritic)(critic, tasks)


def clip_each(parameters: Iterable[Tensor], most: float) -> None:
    """Shrink each task's gradient of `parameters` (tasks, ...) to a norm of at most `most`, as it would be alone."""
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    norms = torch.stack([gradient.flatten(1).square().sum(1) for gradient in gradients]).sum(0).sqrt()
    factors = (most / (norms + 1e-6)).clamp_max(1.0)
    for gradient in gradients:
        gradient.mul_(factors.view(-1, *(1,) * (gradient.ndim - 1)))
