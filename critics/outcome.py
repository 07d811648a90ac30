"""The outcome critic, Q(s, a) = V(f(s, a)): the value of the state to which a chunk leads.

What limits a critic of chunks is how little it knows within one state: a single chunk explains hardly anything of an
episode's return. A value of states is easy to learn across states, and what a chunk does to the state is easy to learn
from every control step. The gradient with respect to the chunk flows through both.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from critics.backup import OWN, Backup
from critics.dynamics import (
    ChunkDynamics,
    dynamics_loss,
    explained_changes,
    held_out_of_dynamics,
    set_change_scale,
)
from critics.ensemble import CriticConfig, EnsembleCritic
from critics.network import Pullback
from critics.replay import Replay

#: The name of this objective, in `CriticConfig.method`.
OUTCOME = "outcome"


@dataclass(frozen=True, kw_only=True)
class OutcomeConfig(CriticConfig):
    """V is a network of its own size, and reads no chunk. Raises ValueError as its base, and if it is to read one."""

    execute: int
    width: int = 128
    depth: int = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.actions_everywhere:
            raise ValueError("actions_everywhere is true: accepted is false, for V reads states")


class OutcomeCritic(EnsembleCritic):
    """Log-odds of V(f(s, a)) in units of `scale`. V: the probability of success, discounted by the time it takes."""

    config: OutcomeConfig

    def __init__(self, config: OutcomeConfig) -> None:
        super().__init__(config)
        states = sum(config.observation_sizes.values())
        self.dynamics = ChunkDynamics(states, config.execute * config.action_dim)

    def network_inputs(self, observed: int) -> int:
        return observed

    def logits(self, actions: Tensor, encoded: Tensor) -> Tensor:
        return self.state_logits(self.dynamics(encoded, self.executed(actions)))

    def logits_with_pullback(self, executed: Tensor, encoded: Tensor) -> tuple[Tensor, Pullback]:
        following, dynamics_pullback = self.dynamics.with_pullback(encoded, executed)
        logits, network_pullback = self.network.with_pullback(following)
        return logits, lambda gradient: dynamics_pullback(network_pullback(gradient))

    def state_logits(self, encoded: Tensor) -> Tensor:
        """Each head's log-odds of V, (E, B), of normalised states (B, n)."""
        values: Tensor = self.network(encoded)
        return values

    @torch.no_grad()
    def explained_value(self, replay: Replay, held_out: Tensor) -> float | None:
        """R^2 of V's change over a chunk, in log-odds of the heads' mean, on the rows `held_out`, (N,) bool.

        It counts what f misses by what V makes of it: f may miss how a can rolls, if V does not depend on it. None if
        no chunk of theirs ends within its episode, or all change V alike.
        """
        rows = (held_out & (replay.next_index >= 0)).nonzero()[:, 0]
        start, end = replay.observations[rows], replay.observations[replay.next_index[rows]]
        predicted = self.dynamics(start, replay.chunks[rows])
        before, after, expected = (self.state_logits(states).mean(0) for states in (start, end, predicted))
        change = after - before
        spread = (change - change.mean()).square().sum()
        return float(1 - (after - expected).square().sum() / spread) if spread > 0 else None


class Outcome:
    """Trains f on all transitions, and V on a mixture of the discounted return and of V itself some steps ahead.

    V(s_t) <- .3 R_t + .7 gamma^k V'(s_{t+k}), with k drawn from `AHEAD` and V' the average of V's weights; R_t alone at
    first, and where k passes the episode's end. Each head sees episodes drawn with replacement, so that heads differ
    where labels are few. V overfits early: kept is the average that predicts R best on the episodes that a head has
    not seen (Breiman 1996, out-of-bag estimation).

    The numbers of draws of an episode come from torch's global generator, as initial weights do.
    """

    learning_rate, weight_decay = 1e-3, 1e-3
    DISCOUNT, RETURN_SHARE, STATE_NOISE = 0.99, 0.3, 0.1  # of which an option changes the first
    AHEAD = (8, 16, 32, 64)  # control steps
    RETURN_ALONE = 300  # updates
    CHECK_EVERY = 100  # updates

    def __init__(self, critic: EnsembleCritic, replay: Replay, backup: Backup = OWN) -> None:
        assert isinstance(critic, OutcomeCritic)
        self.discount = self.DISCOUNT if backup.discount is None else backup.discount
        self.module, self.critic = critic, critic
        self.average = copy.deepcopy(critic.network).requires_grad_(False)
        self._best, self._best_error = copy.deepcopy(self.average), float("inf")
        self._updates = 0
        executed, device = replay.cut(critic.config.execute), critic.device
        self.replay, episodes = executed.to(device), int(executed.episode[-1]) + 1
        self._draws = torch.poisson(torch.ones(critic.config.heads, episodes)).to(device)
        self._held_out = held_out_of_dynamics(self.replay.episode)  # (N,)
        self._ahead, self._bootstraps = torch.tensor(self.AHEAD, device=device), torch.tensor(False, device=device)
        set_change_scale(critic.dynamics, executed)

    def loss(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        return self._dynamics_loss(rows) + self._value_loss(rows, generator)

    def _dynamics_loss(self, rows: Tensor) -> Tensor:
        dynamics, shown = self.critic.dynamics, ~self._held_out[rows]
        if rows.device.type == "cpu":  # saves a tenth of the rows; elsewhere the host would wait for their number
            return dynamics_loss(dynamics, self.replay, rows[shown])
        return dynamics_loss(dynamics, self.replay, rows, shown)

    def after_step(self) -> None:
        decay = min(0.995, (1 + self._updates) / (10 + self._updates))
        trained = [fast.detach() for fast in self.critic.network.parameters()]
        torch._foreach_lerp_(list(self.average.parameters()), trained, 1 - decay)
        self._updates += 1
        self._bootstraps.fill_(self._updates >= self.RETURN_ALONE)
        if self._updates % self.CHECK_EVERY == 0:
            self._keep_if_better()

    def finish(self) -> dict[str, float | None]:
        """Leave the best V in the critic.

        The figures: V's cross-entropy on unseen episodes, and on those that f has not seen R^2 of f by chunks and of
        V's change.
        """
        self._keep_if_better()
        self.critic.network.load_state_dict(self._best.state_dict())
        return {
            "value_cross_entropy": self._best_error,
            **explained_changes(self.critic.dynamics, self.replay, self._held_out),
            "value_r2": self.critic.explained_value(self.replay, self._held_out),
        }

    def _value_loss(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        replay = self.replay
        states = replay.observations[rows]
        noisy = states + self.STATE_NOISE * torch.randn(states.shape, generator=generator, device=states.device)
        target = self.target(rows, generator)
        draws = self._draws[:, replay.episode[rows]]  # (E, B)
        logits = self.critic.state_logits(noisy)
        errors = F.binary_cross_entropy_with_logits(logits, target.expand_as(logits), reduction="none")
        return (draws * errors).mean()

    @torch.no_grad()
    def target(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        """What V is to predict for the replay's `rows`, (B,) in [0, 1]."""
        replay, achieved = self.replay, self.replay.success_return(rows, self.discount)
        drawn = torch.randint(len(self.AHEAD), rows.shape, generator=generator, device=rows.device)
        ahead = self._ahead[drawn]
        ahead_rows = -(-ahead // replay.stride)  # with a stride, the first row that is so many steps later or more
        inside = ahead_rows * replay.stride < replay.steps_left[rows]
        later = torch.where(inside, rows + ahead_rows, rows)
        value = self.average(replay.observations[later]).sigmoid().mean(0)
        carried = self.discount ** (ahead_rows * replay.stride) * value
        mixed = self.RETURN_SHARE * achieved + (1 - self.RETURN_SHARE) * carried
        return torch.where(inside & self._bootstraps, mixed, achieved)

    @torch.no_grad()
    def _keep_if_better(self) -> None:
        """Keep the average, if it predicts R better than what was kept on the episodes that a head has not seen."""
        some = slice(None, None, 1 + len(self.replay) // 20_000)
        logits = self.average(self.replay.observations[some])
        unseen = self._draws[:, self.replay.episode[some]] == 0
        if not unseen.any():
            unseen = torch.ones_like(unseen)
        target = self.replay.success_return(some, self.discount).expand_as(logits)
        error = F.binary_cross_entropy_with_logits(logits[unseen], target[unseen]).item()
        if error < self._best_error:
            self._best_error = error
            self._best.load_state_dict(self.average.state_dict())
