"""Implicit value learning of a critic V(f(s, a)): what a good policy would return, from data of any policy.

GCIVL of OGBench (Park et al. 2025, arXiv 2410.20092) with one goal: V is an expectile of what followed the states of
the data, as in implicit Q-learning (Kostrikov et al. 2022, arXiv 2110.06169), and no action enters. What a chunk does
is f's to say, the dynamics that every control step teaches.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from critics.backup import OWN, Backup
from critics.bootstrapping import Bootstrapping
from critics.dynamics import dynamics_loss, explained_changes, held_out_of_dynamics, set_change_scale
from critics.ensemble import EnsembleCritic
from critics.outcome import OutcomeCritic
from critics.replay import Replay

#: The name of this objective, in `CriticConfig.method`.
IVL = "ivl"


class ImplicitValue(Bootstrapping):
    """V(s_t) <- the expectile of R_{t:t+k} + gamma^k V'(s_{t+k}), with k drawn from `AHEAD`; f from all transitions.

    V starts near the least return, so that values grow where rewards are found. From the middle of the range they would
    have to sink everywhere else, which takes as many updates as the return is long.
    """

    learning_rate, weight_decay, steady_rate = 1e-3, 1e-3, 1e-3
    DISCOUNT = 0.99
    EXPECTILE, STATE_NOISE = 0.8, 0.1
    AHEAD = (5, 10, 20, 40)  # control steps, rounded up to chunks
    FIRST_LOGIT = -6.0  # of V
    tasks_apart = False

    def __init__(self, critic: EnsembleCritic, replay: Replay, backup: Backup = OWN) -> None:
        assert isinstance(critic, OutcomeCritic)
        set_change_scale(critic.dynamics, replay)
        with torch.no_grad():
            critic.network.bias.fill_(self.FIRST_LOGIT)
        super().__init__(critic, replay, backup)
        self.dynamics, self.horizon = critic.dynamics, replay.chunks.shape[1]
        chunks = [-(-steps // self.horizon) for steps in self.AHEAD]
        self._ahead, self._furthest = torch.tensor(chunks, device=critic.device), max(chunks)
        self.see(replay)

    def see(self, replay: Replay) -> None:
        super().see(replay)
        every = torch.arange(len(replay), device=self.critic.device)
        self._found = _Found(
            following=self.replay.following(),
            received=self.replay.chunk_return(every, self.discount),
            ended=self.replay.ends(every),
        )
        self._held_out = held_out_of_dynamics(self.replay.episode)

    def loss(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        value_loss = self._value_loss(rows, generator)
        return value_loss + self._dynamics_loss(rows) / value_loss.numel()  # f is one for all tasks

    def finish(self) -> dict[str, float | None]:
        return explained_changes(self.dynamics, self.replay, self._held_out)

    def _dynamics_loss(self, rows: Tensor) -> Tensor:
        return dynamics_loss(self.dynamics, self.replay, rows, ~self._held_out[rows], self._found.following[rows])

    def _value_loss(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        states = self.replay.observations[rows]
        noisy = states + self.STATE_NOISE * torch.randn(states.shape, generator=generator, device=states.device)
        target = self.critic.shares(self._target(rows, generator)).unsqueeze(-2)
        logits = self._logits(self.critic, noisy)
        higher = target > logits.detach().sigmoid()
        weights = torch.where(higher, self.EXPECTILE, 1 - self.EXPECTILE)
        errors = F.binary_cross_entropy_with_logits(logits, target.expand_as(logits), reduction="none")
        return self.replay.mean(weights * errors, rows)

    @torch.no_grad()
    def _target(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        """Returns of up to `AHEAD` steps and the value of the state there, (..., B)."""
        found, discount = self._found, self.discount**self.horizon
        drawn = torch.randint(len(self._ahead), rows.shape, generator=generator, device=rows.device)
        ahead, at = self._ahead[drawn], rows
        returned, factor = torch.zeros_like(found.received[..., rows]), torch.ones_like(found.received[..., rows])
        for chunk in range(self._furthest):
            following, ended = found.following[at], found.ended[..., at]
            steps = (chunk < ahead) & (ended | (following >= 0))  # of a chunk that a time limit cuts nothing is known
            returned = returned + steps * factor * found.received[..., at]
            factor = torch.where(steps, factor * discount * ~ended, factor)
            at = torch.where((chunk < ahead) & (following >= 0), following, at)
        values = self.backup.join(
            self.target.returns(self._logits(self.target, self.replay.observations[at]).sigmoid())
        )
        return returned + factor * values

    def _logits(self, critic: EnsembleCritic, states: Tensor) -> Tensor:
        assert isinstance(critic, OutcomeCritic)
        return critic.state_logits(states)


class _Found(NamedTuple):
    """Of all N rows: the row at its chunk's end, -1 if unknown, (N,); its chunk's discounted reward, and whether the
    return ends within it, both (..., N).
    """

    following: Tensor
    received: Tensor
    ended: Tensor
