"""The critics of several tasks on the same states as one module, so that one update of all takes the kernels of one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from critics.ensemble import EnsembleCritic
from critics.network import EnsembleMLP


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


def clip_each(parameters: Iterable[Tensor], most: float) -> None:
    """Shrink each task's gradient of `parameters` (tasks, ...) to a norm of at most `most`, as it would be alone."""
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    norms = torch.stack([gradient.flatten(1).square().sum(1) for gradient in gradients]).sum(0).sqrt()
    factors = (most / (norms + 1e-6)).clamp_max(1.0)
    for gradient in gradients:
        gradient.mul_(factors.view(-1, *(1,) * (gradient.ndim - 1)))
